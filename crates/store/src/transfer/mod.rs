//! Images in and out: OCI layout folders, OCI archives (such a folder as a tar file) and Docker archives
//! (`docker save`). Evidence about an image goes with it, except into Docker archives, which have no place for it.

mod evidence;
mod export;
mod import;
mod source;

pub use export::{Exported, Format};

use std::path::{Path, PathBuf};

/// A name beside `path`, for writing what is renamed to it when it is whole.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.kiln-{}", std::process::id()))
}
