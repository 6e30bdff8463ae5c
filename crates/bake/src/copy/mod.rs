//! `copy` steps: from source files to a tree.
//!
//! Nothing about the source but names, bytes, the executable bit and links reaches the image: owners, times,
//! modes, xattrs and the order of the file system do not.

mod owner;
mod pick;
mod source;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_model::{CopyStep, Digest};
use kiln_store::{Content, Kind, Node, Tree};

use crate::hash::FileHashes;
use crate::skeleton::{Skeleton, join};

pub(crate) use source::{Found, Picked, from_image, from_source};

/// Why a copy step cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The system refused.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was being done.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Nothing is there.
    #[error("{from:?} does not exist below {}", source_dir.display())]
    Absent {
        /// As the spec has it.
        from: String,
        /// The spec's folder.
        source_dir: PathBuf,
    },
    /// Nothing is left to copy.
    #[error("{from:?} matches no file; look at the pattern, at `exclude` and at .kilnignore")]
    Nothing {
        /// As the spec has it.
        from: String,
    },
    /// The path leads out of the source folder.
    #[error("{from:?} leads out of the folder of the spec; copy it there, or move the spec up")]
    Outside {
        /// As the spec has it.
        from: String,
    },
    /// A link leads out of the source.
    #[error(
        "the symbolic link {} points to {target:?}, outside the source; replace it by the file, or exclude it",
        path.display()
    )]
    LinkOut {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: String,
    },
    /// A socket, pipe or device.
    #[error("{} is a socket, pipe or device and cannot be copied; exclude it", path.display())]
    Special {
        /// The file.
        path: PathBuf,
    },
    /// A pattern that cannot be read.
    #[error("the pattern {pattern:?} cannot be understood")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `to` is no absolute path.
    #[error("{to:?} is not an absolute path inside the image; begin it with `/` and use no `..`")]
    Target {
        /// As the spec has it.
        to: String,
    },
    /// Two sources for one path.
    #[error("two files would be copied to /{path}; copy them to different names")]
    Clash {
        /// The path in the image.
        path: String,
    },
    /// A mode that is no octal number.
    #[error("{mode:?} is not a file mode; write four octal digits such as \"0644\"")]
    Mode {
        /// As the spec has it.
        mode: String,
    },
    /// An owner that the image does not know.
    #[error(
        "the image has no {what} {name:?}; use numbers, or add it before this step (for instance with a package)"
    )]
    Owner {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The links of the image go in circles.
    #[error("/{path} leads through symbolic links of the image that go in circles")]
    Circle {
        /// The path in the image.
        path: String,
    },
    /// Written to all the time.
    #[error("{} is written to while it is copied; bake again when it is at rest", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

/// A copy step worked out: the layer's tree, and the digests that its files must still have when they are read.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) tree: Tree,
    pub(crate) digests: BTreeMap<Vec<u8>, Digest>,
}

/// Works out a copy step on top of `below`. `picked` is what `from` stands for.
pub(crate) fn plan(
    step: &CopyStep,
    picked: &[Picked],
    below: &Skeleton,
    hashes: &mut FileHashes,
    epoch: i64,
) -> Result<Plan, CopyError> {
    let target = target(&step.to)?;
    let owner = owner::find(step.owner.as_deref(), below)?;
    let mut planner = Planner {
        below,
        hashes,
        owner,
        mode: step.mode.as_deref().map(mode).transpose()?,
        epoch,
        plan: Plan { tree: Tree::default(), digests: BTreeMap::new() },
    };
    for one in picked {
        let wanted = one.place(&target, step.to.ends_with('/'));
        planner.add(&wanted, &one.found)?;
    }
    Ok(planner.plan)
}

fn target(to: &str) -> Result<Vec<u8>, CopyError> {
    let wrong = || CopyError::Target { to: to.into() };
    let inside = to.strip_prefix('/').ok_or_else(wrong)?;
    let mut path = Vec::new();
    for part in inside.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." || part.contains('\0') || part.len() > 255 {
            return Err(wrong());
        }
        path = join(&path, part.as_bytes());
    }
    Ok(path)
}

fn mode(text: &str) -> Result<u32, CopyError> {
    let wrong = || CopyError::Mode { mode: text.into() };
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(wrong)
}

struct Planner<'a> {
    below: &'a Skeleton,
    hashes: &'a mut FileHashes,
    owner: Option<(u32, u32)>,
    mode: Option<u32>,
    epoch: i64,
    plan: Plan,
}

impl Planner<'_> {
    /// Adds a found file or folder at a path of the image, which may lead through links of the image.
    fn add(&mut self, wanted: &[u8], found: &Found) -> Result<(), CopyError> {
        if let Found::Folder { children, meta, .. } = found {
            let path = self.folder(wanted, meta.as_ref())?;
            for (name, child) in children {
                self.add(&join(&path, name), child)?;
            }
            return Ok(());
        }
        let (parent, name) = match wanted.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&wanted[..slash], &wanted[slash + 1..]),
            None => (&[][..], wanted),
        };
        let path = join(&self.parents(parent)?, name);
        let node = self.leaf(found, &path)?;
        match self.plan.tree.nodes.insert(path.clone(), node) {
            None => Ok(()),
            Some(_) => Err(CopyError::Clash { path: String::from_utf8_lossy(&path).into_owned() }),
        }
    }

    fn leaf(&mut self, found: &Found, path: &[u8]) -> Result<Node, CopyError> {
        let (kind, mode, meta) = match found {
            Found::Link { target, meta } => (Kind::Symlink(target.clone()), 0o777, meta),
            Found::File { path: source, executable, meta } => {
                let fault = |error| CopyError::Io { act: "read", path: source.clone(), source: error };
                let digest = self.hashes.digest(source).map_err(fault)?;
                let (digest, len) = digest.ok_or_else(|| CopyError::Busy { path: source.clone() })?;
                self.plan.digests.insert(path.to_vec(), digest);
                let content = Content::Slice { path: Arc::new(source.clone()), offset: 0, len };
                let usual = if *executable { 0o755 } else { 0o644 };
                let kept = meta.as_ref().map(|node| node.mode);
                (Kind::File(content), self.mode.or(kept).unwrap_or(usual), meta)
            }
            Found::Folder { meta, .. } => (Kind::Folder, 0o755, meta),
        };
        Ok(self.node(kind, mode, meta.as_ref()))
    }

    /// A node of this step; one from another image keeps what it had there, but for an owner that the step
    /// names.
    fn node(&self, kind: Kind, mode: u32, meta: Option<&Node>) -> Node {
        let kept = meta.map(|node| (node.uid, node.gid));
        let (uid, gid) = self.owner.or(kept).unwrap_or((0, 0));
        let mtime = meta.map_or(self.epoch, |node| node.mtime.min(self.epoch));
        let xattrs = meta.map(|node| node.xattrs.clone()).unwrap_or_default();
        Node { kind, mode, uid, gid, mtime, xattrs }
    }

    /// A folder that the step copies: kept as it is where the image has it, the step's own elsewhere.
    fn folder(&mut self, wanted: &[u8], meta: Option<&Node>) -> Result<Vec<u8>, CopyError> {
        let path = self.parents(wanted)?;
        if !path.is_empty() && self.below.folder(&path).is_none() {
            let mode = meta.map_or(0o755, |node| node.mode);
            let node = self.node(Kind::Folder, mode, meta);
            self.plan.tree.nodes.insert(path.clone(), node);
        }
        Ok(path)
    }

    /// Resolves a folder and puts it and its parents into the layer with the owners and modes that the image
    /// has for them: engines that unpack a layer alone would otherwise make them anew.
    fn parents(&mut self, wanted: &[u8]) -> Result<Vec<u8>, CopyError> {
        let circle = || CopyError::Circle { path: String::from_utf8_lossy(wanted).into_owned() };
        let path = self.below.resolve(wanted).ok_or_else(circle)?;
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for end in ends.chain((!path.is_empty()).then_some(path.len())) {
            let parent = &path[..end];
            match self.plan.tree.nodes.get(parent).map(|node| &node.kind) {
                Some(Kind::Folder) => continue,
                Some(_) => {
                    return Err(CopyError::Clash { path: String::from_utf8_lossy(parent).into_owned() });
                }
                None => {}
            }
            let (mode, uid, gid) = self.below.folder(parent).unwrap_or((0o755, 0, 0));
            let xattrs = BTreeMap::new();
            let node = Node { kind: Kind::Folder, mode, uid, gid, mtime: self.epoch, xattrs };
            self.plan.tree.nodes.insert(parent.to_vec(), node);
        }
        Ok(path)
    }
}
