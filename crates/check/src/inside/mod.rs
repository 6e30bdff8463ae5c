//! A running instance as the machine sees it: its files, processes, sockets and mounts, without executing anything in
//! it. Needs an instance on this machine, and its first process.

pub(crate) mod connector;
pub(crate) mod mounts;
pub(crate) mod processes;
pub(crate) mod sockets;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat, openat2};

/// An instance's inside.
pub(crate) struct Inside {
    /// Its first process.
    pub(crate) pid: u32,
    root: OwnedFd,
    /// Paths of its volumes.
    pub(crate) volumes: Vec<String>,
    pub(crate) users: IdMap,
    pub(crate) groups: IdMap,
}

/// What was found at a path.
pub(crate) struct Found {
    pub(crate) stat: Stat,
    /// Target of a link.
    pub(crate) link: Option<String>,
}

/// How the numbers of users, or groups, outside are called inside (user_namespaces(7)).
#[derive(Clone, Debug, Default)]
pub(crate) struct IdMap(Vec<(u32, u32, u32)>);

impl IdMap {
    fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut numbers = line.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// The number inside; 65534, as the kernel shows it, for what has none.
    pub(crate) fn inner(&self, outer: u32) -> u32 {
        let within = self.0.iter().find(|(_, first, count)| outer >= *first && outer - first < *count);
        within.map_or(65_534, |(inner, first, _)| inner.saturating_add(outer - first))
    }
}

impl Inside {
    /// Of the instance with this first process.
    pub(crate) fn open(pid: u32, volumes: Vec<String>) -> io::Result<Self> {
        let process = Path::new("/proc").join(pid.to_string());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(process.join("root"), flags, Mode::empty())?;
        let (users, groups) = (IdMap::read(&process.join("uid_map")), IdMap::read(&process.join("gid_map")));
        Ok(Self { pid, root, volumes, users, groups })
    }

    fn at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let relative = path.trim_start_matches('/');
        let relative = if relative.is_empty() { "." } else { relative };
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.root, relative, flags | OFlags::CLOEXEC, Mode::empty(), inside)?)
    }

    /// What is at a path; `None` when nothing is.
    pub(crate) fn stat(&self, path: &str, follow: bool) -> io::Result<Option<Found>> {
        let flags = if follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW };
        let file = match self.at(path, flags) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(&file)?;
        let is_link = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink();
        let link = if is_link { Some(rustix::fs::readlinkat(&file, c"", Vec::new())?) } else { None };
        Ok(Some(Found { stat, link: link.map(|link| link.to_string_lossy().into_owned()) }))
    }

    /// A file for reading.
    pub(crate) fn open_file(&self, path: &str) -> io::Result<File> {
        Ok(self.at(path, OFlags::RDONLY | OFlags::NONBLOCK)?.into())
    }

    /// Tries to make a file, which is removed again at once. `Ok` says that it could be made.
    pub(crate) fn try_to_write(&self, folder: &str, name: &str) -> io::Result<()> {
        let folder = self.at(folder, OFlags::PATH | OFlags::DIRECTORY)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        drop(rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o600))?);
        Ok(rustix::fs::unlinkat(&folder, name, rustix::fs::AtFlags::empty())?)
    }

    /// A folder, to be listed.
    pub(crate) fn folder(&self, path: &str) -> io::Result<rustix::fs::Dir> {
        let folder = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(rustix::fs::Dir::read_from(folder)?)
    }

    /// Something of `/proc/PID`.
    pub(crate) fn proc(&self, file: &str) -> io::Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid))
    }
}

/// Opens a file of an extracted tree; links do not lead out of it.
pub(crate) fn open_below(root: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(root, flags, Mode::empty())?;
    let relative = path.strip_prefix(root).unwrap_or(path);
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(openat2(&folder, relative, flags, Mode::empty(), inside)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_are_told_as_inside() {
        let map =
            IdMap::parse("         0       1000          1\n         1     100000      65536\nbroken\n");
        assert_eq!((map.inner(1000), map.inner(100_032), map.inner(5)), (0, 33, 65_534));
    }

    #[test]
    fn the_own_process_can_be_looked_into() {
        let inside = Inside::open(std::process::id(), Vec::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        assert_eq!(inside.stat(&at("link"), true).unwrap().unwrap().stat.st_size, 5);
        assert_eq!(inside.stat(&at("link"), false).unwrap().unwrap().link.unwrap(), "file");
        assert!(inside.stat(&at("none"), true).unwrap().is_none());
        assert!(
            inside.try_to_write(&at(""), "probe").is_ok()
                && inside.stat(&at("probe"), true).unwrap().is_none()
        );
        assert!(inside.try_to_write("/proc", "probe").is_err());
    }
}
