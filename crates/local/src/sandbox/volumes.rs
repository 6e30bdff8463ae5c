//! The folders behind an instance's durable places.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use super::user::User;
use crate::intent::{Volume, VolumeSource};

/// Why a volume is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("cannot make the folder {folder} of the volume at {path}")]
    Make {
        path: String,
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the folder {folder} for the volume at {path} does not exist on this machine: make it, or leave host_path out"
    )]
    NoHostFolder { path: String, folder: PathBuf },
}

/// Makes the folders that Kiln keeps; new and empty ones are given to the image's user.
pub(crate) fn prepare(volumes: &[Volume], user: &User) -> Result<(), VolumeError> {
    for volume in volumes {
        let path = volume.path.clone();
        match &volume.source {
            VolumeSource::Kept { folder } => {
                let wrap = |source| VolumeError::Make { path: path.clone(), folder: folder.clone(), source };
                fs::create_dir_all(folder).map_err(wrap)?;
                if is_empty(folder).map_err(wrap)? {
                    chown(folder, Some(user.uid), Some(user.gid)).map_err(wrap)?;
                }
            }
            VolumeSource::Host { folder } if !folder.is_dir() => {
                return Err(VolumeError::NoHostFolder { path, folder: folder.clone() });
            }
            VolumeSource::Host { .. } | VolumeSource::Memory { .. } => {}
        }
    }
    Ok(())
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}
