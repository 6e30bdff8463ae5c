//! Opening folders of a tree by paths that a layer names.
//!
//! The kernel does the walking (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`), so no path leads
//! out. Where a lower layer has a symbolic link on the way it is followed as the running image would follow it,
//! inside the tree; a link of the same layer, or one with more `..` than folders, is refused.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::LayerError;
use crate::layer_show as show;

/// As many links as Linux follows in one path.
const LINK_LIMIT: usize = 40;

/// Is told of each folder that was made.
pub(super) type Made<'a> = &'a mut dyn FnMut(&[u8]);

/// A tree's root, and which symbolic links the present layer made.
#[derive(Debug)]
pub(super) struct Root {
    handle: OwnedFd,
    pub(super) own_links: HashSet<Vec<u8>>,
}

fn strict() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

impl Root {
    pub(super) fn open(path: &std::path::Path) -> Result<Self, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let handle = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { handle, own_links: HashSet::new() })
    }

    /// Opens a folder without following any link.
    pub(super) fn folder(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        rustix::fs::openat2(self.handle.as_fd(), path, flags, Mode::empty(), strict())
    }

    /// Opens the folder that is to hold `entry`, following links of lower layers. With `make`, missing folders
    /// are made (0755) and reported. `None`: a folder is missing.
    pub(super) fn parent(
        &self,
        entry: &[u8],
        make: Option<Made<'_>>,
    ) -> Result<Option<(Vec<u8>, OwnedFd)>, LayerError> {
        let parent = entry.iter().rposition(|b| *b == b'/').map_or(&[][..], |slash| &entry[..slash]);
        match self.folder(parent) {
            Ok(handle) => Ok(Some((parent.to_vec(), handle))),
            Err(Errno::NOENT | Errno::LOOP) => self.walk(entry, parent, make),
            Err(Errno::NOTDIR) => Err(LayerError::BelowFile { path: show(entry) }),
            Err(error) => Err(failed("open the folder of", entry, error)),
        }
    }

    fn walk(
        &self,
        entry: &[u8],
        parent: &[u8],
        mut make: Option<Made<'_>>,
    ) -> Result<Option<(Vec<u8>, OwnedFd)>, LayerError> {
        let mut todo: Vec<Vec<u8>> = components(parent).rev().collect();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        let mut last_link = Vec::new();
        while let Some(part) = todo.pop() {
            if part == b".." {
                if done.pop().is_none() {
                    return Err(LayerError::Escape { path: show(entry), link: show(&last_link) });
                }
                continue;
            }
            let here = done.join(&b'/');
            let folder = self.folder(&here).map_err(|error| failed("open the folder of", entry, error))?;
            match rustix::fs::readlinkat(folder.as_fd(), part.as_slice(), Vec::new()) {
                Ok(target) => {
                    let link = join(&here, &part);
                    links += 1;
                    self.check_link(entry, &link, links)?;
                    if target.as_bytes().starts_with(b"/") {
                        done.clear();
                    }
                    todo.extend(components(target.as_bytes()).rev());
                    last_link = link;
                    continue;
                }
                Err(Errno::INVAL) => {}
                Err(Errno::NOENT) => {
                    let Some(report) = make.as_mut() else { return Ok(None) };
                    rustix::fs::mkdirat(folder.as_fd(), part.as_slice(), Mode::from_raw_mode(0o755))
                        .map_err(|error| failed("make the folder of", entry, error))?;
                    report(&join(&here, &part));
                }
                Err(error) => return Err(failed("look for the folder of", entry, error)),
            }
            done.push(part);
        }
        let path = done.join(&b'/');
        match self.folder(&path) {
            Ok(handle) => Ok(Some((path, handle))),
            Err(Errno::NOTDIR) => Err(LayerError::BelowFile { path: show(entry) }),
            Err(error) => Err(failed("open the folder of", entry, error)),
        }
    }

    fn check_link(&self, entry: &[u8], link: &[u8], followed: usize) -> Result<(), LayerError> {
        if self.own_links.contains(link) {
            return Err(LayerError::BelowLink { path: show(entry), link: show(link) });
        }
        if followed > LINK_LIMIT {
            return Err(LayerError::Name {
                path: show(entry),
                reason: "lies below a loop of symbolic links",
            });
        }
        Ok(())
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

pub(super) fn failed(act: &'static str, path: &[u8], error: Errno) -> LayerError {
    LayerError::Io { act, path: show(path), source: error.into() }
}
