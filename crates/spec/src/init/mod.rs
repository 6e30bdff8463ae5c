//! `kiln init`: a first spec for a folder, made from what is in it.

mod detect;
mod write;

use std::path::{Path, PathBuf};

pub use self::detect::{App, Finding};
use crate::language::fit_name;

/// A spec that fits a folder, before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitPlan {
    /// The file to write: `kiln.hcl` in the folder.
    pub path: PathBuf,
    /// Its text; it validates in this folder.
    pub text: String,
    /// What was recognised.
    pub app: App,
    /// One sentence for each thing that was found, and what was made of it.
    pub findings: Vec<Finding>,
    /// Files that the spec refers to and that the folder lacks, with a text to write; none overwrites another.
    pub companions: Vec<(PathBuf, String)>,
}

/// Why no spec can be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one.
    #[error("{0} exists already: it is never overwritten; take it away first to start anew")]
    Exists(PathBuf),
    /// The folder cannot be read.
    #[error("cannot read the folder {path}")]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Looks at a folder and plans a spec for it. Nothing is written.
///
/// # Errors
/// The folder has a spec or cannot be read.
pub fn init(dir: &Path) -> Result<InitPlan, InitError> {
    let path = dir.join("kiln.hcl");
    if path.symlink_metadata().is_ok() {
        return Err(InitError::Exists(path));
    }
    let read = |source| InitError::Read { path: dir.to_path_buf(), source };
    let (app, findings) = detect::detect(dir).map_err(read)?;
    let full = dir.canonicalize().map_err(read)?;
    let folder = full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fit = fit_name(&folder);
    let needs_name = fit.is_none();
    let name = fit.map_or_else(|| "app".to_owned(), |name| name.to_string());
    let text = write::spec(&app, &name, needs_name);
    let companions = write::companions(&app).into_iter().map(|(file, text)| (dir.join(file), text)).collect();
    Ok(InitPlan { path, text, app, findings, companions })
}

impl InitPlan {
    /// Writes the spec and what it needs. A file that appeared in the meantime is left as it is.
    ///
    /// # Errors
    /// A file exists or cannot be written.
    pub fn write(&self) -> Result<(), InitError> {
        let spec = (&self.path, &self.text);
        let others = self.companions.iter().map(|(path, text)| (path, text));
        others.chain([spec]).try_for_each(|(path, text)| write_new(path, text))
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), InitError> {
    use std::io::Write as _;
    let error = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => InitError::Exists(path.to_path_buf()),
        _ => InitError::Write { path: path.to_path_buf(), source },
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(error)?;
    }
    let mut file = std::fs::File::create_new(path).map_err(error)?;
    file.write_all(text.as_bytes()).map_err(error)
}
