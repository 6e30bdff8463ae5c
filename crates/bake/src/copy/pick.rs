//! Which files a step leaves out: `.kilnignore` files and the step's `exclude`, both with the meaning of
//! `.gitignore` lines.

use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::CopyError;

/// Left out unless a `.kilnignore` takes it back with `!`: what describes the image is no part of it (the lock
/// would otherwise change the layer that it locks), and what git keeps differs from checkout to checkout.
const USUAL: [&str; 4] = ["/kiln.hcl", "/kiln.lock", ".kilnignore", ".git"];

/// The name of the files with patterns.
const FILE: &str = ".kilnignore";

/// Patterns in force in one folder, the outermost first.
#[derive(Clone, Debug)]
pub(super) struct Patterns {
    exclude: Gitignore,
    layers: Vec<Gitignore>,
}

impl Patterns {
    /// The patterns of the source's root for a step that copies from `base`.
    pub(super) fn new(root: &Path, base: &Path, exclude: &[String]) -> Result<Self, CopyError> {
        let layers = vec![build(root, USUAL.iter().map(|line| (*line).to_owned()))?];
        let mut patterns = Self { exclude: build(base, exclude.iter().cloned())?, layers };
        // Every folder from the root down to (not with) the one copied from may have patterns.
        let inner = base.strip_prefix(root).unwrap_or(Path::new(""));
        let mut folder = root.to_owned();
        patterns.enter(&folder)?;
        for part in inner {
            folder.push(part);
            patterns.enter(&folder)?;
        }
        Ok(patterns)
    }

    /// Only the step's own `exclude`, for a copy from another image.
    pub(super) fn plain(base: &Path, exclude: &[String]) -> Result<Self, CopyError> {
        Ok(Self { exclude: build(base, exclude.iter().cloned())?, layers: Vec::new() })
    }

    /// Takes a folder's own patterns into force.
    pub(super) fn enter(&mut self, folder: &Path) -> Result<(), CopyError> {
        let file = folder.join(FILE);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(source) => return Err(CopyError::Io { act: "read", path: file, source }),
        };
        self.layers.push(build(folder, text.lines().map(str::to_owned))?);
        Ok(())
    }

    /// Whether a path is left out. The innermost pattern that says anything decides; `exclude` always excludes.
    pub(super) fn leave_out(&self, path: &Path, folder: bool) -> bool {
        if self.exclude.matched(path, folder).is_ignore() {
            return true;
        }
        for layer in self.layers.iter().rev() {
            match layer.matched(path, folder) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        false
    }
}

fn build(root: &Path, lines: impl Iterator<Item = String>) -> Result<Gitignore, CopyError> {
    let mut builder = GitignoreBuilder::new(root);
    for line in lines {
        builder
            .add_line(None, &line)
            .map_err(|source| CopyError::Pattern { pattern: line.clone(), source: source.into() })?;
    }
    builder
        .build()
        .map_err(|source| CopyError::Pattern { pattern: root.display().to_string(), source: source.into() })
}
