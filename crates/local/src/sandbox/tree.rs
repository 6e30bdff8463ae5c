//! Reading an image's tree without ever leaving it: every path is resolved by the kernel as if the tree were `/`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat, openat2};

/// More than any sane `/etc/passwd`; a hostile image may hold anything.
const LARGEST_TABLE: u64 = 4 << 20;

/// An extracted image tree.
pub(crate) struct Tree {
    root: OwnedFd,
}

impl Tree {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(path, flags, Mode::empty())? })
    }

    fn at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let relative = path.trim_start_matches('/');
        let relative = if relative.is_empty() { "." } else { relative };
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.root, relative, flags | OFlags::CLOEXEC, Mode::empty(), inside)?)
    }

    /// What is at the path, symbolic links followed within the tree.
    pub(crate) fn stat(&self, path: &str) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.at(path, OFlags::PATH)?)?)
    }

    /// Where a path that does not exist would be, once the symbolic links among its parents are followed within the
    /// tree: `/var/run/app` is at `/run/app` where `/var/run` leads to `/run`.
    pub(crate) fn real(&self, path: &str) -> String {
        let mut rest = Vec::new();
        let mut parent = path.trim_end_matches('/');
        let mut start = String::new();
        while let Some((above, name)) = parent.rsplit_once('/') {
            rest.push(name);
            parent = above;
            if let Some(found) = self.resolved(parent) {
                start = found;
                break;
            }
        }
        let parts = start.split('/').chain(rest.into_iter().rev()).filter(|part| !part.is_empty());
        parts.fold(String::new(), |path, part| path + "/" + part)
    }

    /// The path of something that exists, without symbolic links.
    fn resolved(&self, path: &str) -> Option<String> {
        let name = |fd: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok();
        let found = name(&self.at(path, OFlags::PATH).ok()?)?;
        Some(found.strip_prefix(name(&self.root)?).ok()?.to_string_lossy().into_owned())
    }

    /// Whether there is a folder at the path.
    pub(crate) fn is_folder(&self, path: &str) -> bool {
        self.stat(path).is_ok_and(|stat| file_type(&stat).is_dir())
    }

    /// A small text file's content; empty when there is none.
    pub(crate) fn table(&self, path: &str) -> io::Result<String> {
        let file = match self.at(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => File::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Ok(String::new());
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_TABLE).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The first bytes of a file.
    pub(crate) fn head(&self, path: &str, length: usize) -> io::Result<Vec<u8>> {
        let file = File::from(self.at(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        let mut bytes = Vec::with_capacity(length);
        file.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The kind of file that a `stat` speaks of.
pub(crate) fn file_type(stat: &Stat) -> rustix::fs::FileType {
    rustix::fs::FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_never_lead_out_and_parents_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("var")).unwrap();
        std::fs::create_dir_all(root.join("run")).unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("/run", root.join("var/run")).unwrap();
        std::os::unix::fs::symlink("../../secret", root.join("passwd")).unwrap();
        let tree = Tree::open(&root).unwrap();
        assert_eq!(tree.real("/var/run/app/x"), "/run/app/x");
        assert_eq!(tree.real("/srv/app"), "/srv/app");
        assert_eq!(tree.real("/top"), "/top");
        assert_eq!(tree.table("/passwd").unwrap(), "");
        assert_eq!(tree.table("/../secret").unwrap(), "");
        assert!(tree.is_folder("/var/run") && !tree.is_folder("/passwd"));
    }
}
