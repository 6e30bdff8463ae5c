//! Why an instance did not start.

use std::error::Error;
use std::fs;
use std::io;
use std::path::PathBuf;

use libcontainer::error::LibcontainerError;

use crate::layout::InstanceDir;
use crate::sandbox::rootfs::RootfsError;
use crate::sandbox::user::UserError;
use crate::sandbox::userns::UserNamespaceError;
use crate::sandbox::volumes::VolumeError;

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("this instance has a supervisor already; nothing was started")]
    Supervised,
    #[error("this instance was started before; an instance is started only once")]
    StartedBefore,
    #[error("the instance is not running")]
    NotRunning,
    #[error("there is no {0}")]
    NoIntent(PathBuf),
    #[error("cannot {act}")]
    Step {
        act: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "this process may not make namespaces although it is root: a container or sandbox that it runs in forbids it; \
         run Kiln outside of it, or give it CAP_SYS_ADMIN"
    )]
    Forbidden(#[source] io::Error),
    #[error("the working folder {0} is not in the image: make it there, or choose another workdir")]
    NoWorkdir(String),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    UserNamespace(#[from] UserNamespaceError),
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("the instance's configuration cannot be built")]
    Configuration(#[from] oci_spec::OciSpecError),
    #[error("the system call filters cannot be built")]
    Filters(#[from] seccompiler::BackendError),
    #[error("the sandbox cannot be made: {complaint}")]
    Library {
        complaint: String,
        #[source]
        source: LibcontainerError,
    },
    #[error("{0}")]
    NotExecuted(String),
}

/// Names the step that an input or output error happened in.
pub(super) trait Doing<T> {
    fn doing(self, act: &'static str) -> Result<T, StartError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, act: &'static str) -> Result<T, StartError> {
        self.map_err(|source| StartError::Step { act, source: source.into() })
    }
}

/// Gives an error of the container library the detail that it only complained about.
pub(super) fn library(dir: &InstanceDir) -> impl FnOnce(LibcontainerError) -> StartError {
    let text = fs::read_to_string(dir.complaints()).unwrap_or_default();
    // The first complaint is the cause; later ones are those who passed it on.
    let complaint = text.lines().next().unwrap_or("it does not say why").to_owned();
    |source| StartError::Library { complaint, source }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}
