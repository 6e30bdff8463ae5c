//! Putting one layer into a tree.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::folders::{Folders, Meta};
use super::resolve::{Root, failed, join};
use crate::layer_show as show;
use crate::{Entry, EntryKind, LayerError, Limits, Marker, TarReader, clean_link, clean_path, marker};

/// A tree in the making.
#[derive(Debug)]
pub(super) struct Extractor {
    root: Root,
    pub(super) folders: Folders,
    /// Whether owners can be kept: only root may give files away.
    owners: bool,
    seen: HashSet<Vec<u8>>,
    seen_folders: HashSet<Vec<u8>>,
    open: Option<(Vec<u8>, Vec<u8>, OwnedFd)>,
    buffer: Vec<u8>,
}

/// Where an entry goes: the real path of its folder, the folder, and its name in it.
struct Place {
    path: Vec<u8>,
    name: Vec<u8>,
    folder: OwnedFd,
}

impl Extractor {
    pub(super) fn new(path: &std::path::Path) -> Result<Self, LayerError> {
        let root = Root::open(path).map_err(|error| failed("open", b"/", error))?;
        Ok(Self {
            root,
            folders: Folders::default(),
            owners: rustix::process::geteuid().is_root(),
            seen: HashSet::new(),
            seen_folders: HashSet::new(),
            open: None,
            buffer: vec![0; 1 << 17],
        })
    }

    /// Puts all entries of a layer into the tree.
    pub(super) fn layer<R: Read>(
        &mut self,
        tar: &mut TarReader<R>,
        limits: &Limits,
    ) -> Result<(), LayerError> {
        self.seen.clear();
        self.seen_folders.clear();
        self.root.own_links.clear();
        let mut count = 0;
        while let Some(entry) = tar.next_entry()? {
            count += 1;
            if count > limits.layer_entries {
                return Err(LayerError::TooManyEntries { limit: limits.layer_entries });
            }
            self.entry(&entry, tar)?;
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: &Entry, tar: &mut TarReader<R>) -> Result<(), LayerError> {
        let path = clean_path(&entry.path)?;
        if path.is_empty() {
            return self.root_entry(entry);
        }
        match marker(&path)? {
            Some(Marker::Gone(target)) => return self.whiteout(&path, &target),
            Some(Marker::Opaque(folder)) => return self.opaque(&folder),
            Some(Marker::Ignored) => return Ok(()),
            None => {}
        }
        self.note(&path, entry.kind)?;
        let place = self.place(&path)?;
        match entry.kind {
            EntryKind::Folder => self.folder(&place, entry),
            EntryKind::File => self.file(&place, entry, tar),
            EntryKind::Symlink => self.symlink(&place, entry),
            EntryKind::Hardlink => self.hardlink(&place, entry),
            EntryKind::Device => Err(LayerError::Device { path: show(&path) }),
            EntryKind::Fifo => Err(LayerError::Fifo { path: show(&path) }),
        }
    }

    /// Refuses a name that the layer had before. A folder may be named again, as some writers do for parents.
    fn note(&mut self, path: &[u8], kind: EntryKind) -> Result<(), LayerError> {
        let again = !self.seen.insert(path.to_vec());
        let folder_before = self.seen_folders.contains(path);
        if kind == EntryKind::Folder {
            self.seen_folders.insert(path.to_vec());
        }
        if again && !(folder_before && kind == EntryKind::Folder) {
            return Err(LayerError::Duplicate { path: show(path) });
        }
        Ok(())
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != EntryKind::Folder {
            return Err(LayerError::Name {
                path: show(&entry.path),
                reason: "would replace the root folder",
            });
        }
        self.folders.set(b"", meta(entry));
        Ok(())
    }

    fn place(&mut self, path: &[u8]) -> Result<Place, LayerError> {
        let split = path.iter().rposition(|b| *b == b'/');
        let (parent, name) = split.map_or((&[][..], path), |slash| (&path[..slash], &path[slash + 1..]));
        let known = self.open.take_if(|(asked, _, _)| asked.as_slice() == parent);
        let (real, folder) = match known {
            Some((_, real, folder)) => (real, folder),
            None => self.open_parent(path)?,
        };
        let kept = folder.try_clone().map_err(|source| LayerError::Io {
            act: "hold the folder of",
            path: show(path),
            source,
        })?;
        self.open = Some((parent.to_vec(), real.clone(), kept));
        Ok(Place { path: join(&real, name), name: name.to_vec(), folder })
    }

    fn open_parent(&mut self, path: &[u8]) -> Result<(Vec<u8>, OwnedFd), LayerError> {
        let folders = &mut self.folders;
        let mut made = |folder: &[u8]| folders.set(folder, Meta { mode: 0o755, ..Meta::default() });
        let found = self.root.parent(path, Some(&mut made))?;
        found.ok_or_else(|| failed("open the folder of", path, Errno::NOENT))
    }

    fn folder(&mut self, place: &Place, entry: &Entry) -> Result<(), LayerError> {
        if kind_of(place)? != Some(FileType::Directory) {
            self.remove(place)?;
            rustix::fs::mkdirat(&place.folder, place.name.as_slice(), Mode::from_raw_mode(0o700))
                .map_err(|error| failed("make the folder", &place.path, error))?;
        }
        self.folders.set(&place.path, meta(entry));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        place: &Place,
        entry: &Entry,
        tar: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create =
            || rustix::fs::openat(&place.folder, place.name.as_slice(), flags, Mode::from_raw_mode(0o600));
        let handle = match create() {
            Err(Errno::EXIST) => {
                self.remove(place)?;
                create()
            }
            other => other,
        };
        let mut file = File::from(handle.map_err(|error| failed("make", &place.path, error))?);
        let wrong = |source| LayerError::Io { act: "write", path: show(&place.path), source };
        copy_exactly(tar, &mut file, &mut self.buffer).map_err(|fault| match fault {
            CopyFault::Source(source) => LayerError::Tar(crate::TarError::Read(source)),
            CopyFault::Sink(source) => wrong(source),
        })?;
        self.finish_node(file.as_fd(), &place.path, &meta(entry), false)
    }

    fn symlink(&mut self, place: &Place, entry: &Entry) -> Result<(), LayerError> {
        if entry.link.is_empty() {
            return Err(LayerError::Name {
                path: show(&place.path),
                reason: "is a symbolic link to nothing",
            });
        }
        self.remove(place)?;
        let wrong = |error| failed("make the link", &place.path, error);
        rustix::fs::symlinkat(entry.link.as_slice(), &place.folder, place.name.as_slice()).map_err(wrong)?;
        if self.owners {
            let (uid, gid) = owner(&meta(entry));
            rustix::fs::chownat(&place.folder, place.name.as_slice(), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(wrong)?;
        }
        rustix::fs::utimensat(
            &place.folder,
            place.name.as_slice(),
            &times(entry.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(wrong)?;
        self.root.own_links.insert(place.path.clone());
        Ok(())
    }

    fn hardlink(&mut self, place: &Place, entry: &Entry) -> Result<(), LayerError> {
        let refused = || LayerError::Hardlink { path: show(&place.path), target: show(&entry.link) };
        let target = clean_link(&place.path, &entry.link)?;
        let Some((real, folder)) = self.root.parent(&target, None)? else { return Err(refused()) };
        let name = target.rsplit(|b| *b == b'/').next().unwrap_or_default();
        if join(&real, name) == place.path {
            return Err(refused());
        }
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::Directory => {}
            Ok(_) | Err(Errno::NOENT) => return Err(refused()),
            Err(error) => return Err(failed("look at", &target, error)),
        }
        self.remove(place)?;
        rustix::fs::linkat(&folder, name, &place.folder, place.name.as_slice(), AtFlags::empty())
            .map_err(|error| failed("make the hard link", &place.path, error))
    }

    /// Removes what lower layers have under this name; what the same layer has stays.
    fn whiteout(&mut self, marker: &[u8], target: &[u8]) -> Result<(), LayerError> {
        if !self.seen.insert(marker.to_vec()) {
            return Err(LayerError::Duplicate { path: show(marker) });
        }
        if self.seen.contains(target) {
            return Ok(());
        }
        let Some((real, folder)) = self.root.parent(target, None)? else { return Ok(()) };
        let name = target.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
        self.remove(&Place { path: join(&real, &name), name, folder })
    }

    fn opaque(&mut self, folder: &[u8]) -> Result<(), LayerError> {
        let inside = join(folder, b"x");
        let Some((real, handle)) = self.root.parent(&inside, None)? else { return Ok(()) };
        self.clear(&real, &handle)
    }

    /// Removes the content of a folder but for what the present layer put there.
    fn clear(&mut self, path: &[u8], handle: &OwnedFd) -> Result<(), LayerError> {
        for name in names_in(handle).map_err(|error| failed("list", path, error))? {
            let child = join(path, &name);
            let place = Place { path: child.clone(), name, folder: dup(handle, path)? };
            if !self.seen.contains(&child) && !self.has_seen_below(&child) {
                self.remove(&place)?;
            } else if kind_of(&place)? == Some(FileType::Directory) {
                let inner = self.root.folder(&child).map_err(|error| failed("open", &child, error))?;
                self.clear(&child, &inner)?;
            }
        }
        Ok(())
    }

    fn has_seen_below(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        self.seen.iter().any(|seen| seen.starts_with(&below))
    }

    fn remove(&mut self, place: &Place) -> Result<(), LayerError> {
        self.open = None;
        match kind_of(place)? {
            None => return Ok(()),
            Some(FileType::Directory) => {
                self.folders.forget(&place.path);
                let wrong = |error| failed("remove", &place.path, error);
                let inner = self.root.folder(&place.path).map_err(wrong)?;
                for name in names_in(&inner).map_err(wrong)? {
                    let child =
                        Place { path: join(&place.path, &name), name, folder: dup(&inner, &place.path)? };
                    self.remove(&child)?;
                }
                rustix::fs::unlinkat(&place.folder, place.name.as_slice(), AtFlags::REMOVEDIR)
                    .map_err(wrong)?;
            }
            Some(_) => rustix::fs::unlinkat(&place.folder, place.name.as_slice(), AtFlags::empty())
                .map_err(|error| failed("remove", &place.path, error))?,
        }
        self.root.own_links.remove(&place.path);
        Ok(())
    }

    /// Gives folders their final owners, modes and times.
    pub(super) fn finish(mut self) -> Result<(), LayerError> {
        for (path, meta) in std::mem::take(&mut self.folders).finish() {
            let handle = self.root.folder(&path).map_err(|error| failed("open", &path, error))?;
            self.finish_node(handle.as_fd(), &path, &meta, true)?;
        }
        Ok(())
    }

    fn finish_node(
        &self,
        handle: BorrowedFd<'_>,
        path: &[u8],
        meta: &Meta,
        folder: bool,
    ) -> Result<(), LayerError> {
        let wrong = |act| move |error| failed(act, path, error);
        if self.owners {
            let (uid, gid) = owner(meta);
            rustix::fs::fchown(handle, uid, gid).map_err(wrong("give an owner to"))?;
        }
        // An ordinary user must be able to read his own trees, to share files between them and to copy from
        // them.
        let least = match (self.owners, folder) {
            (true, _) => 0,
            (false, true) => 0o500,
            (false, false) => 0o400,
        };
        rustix::fs::fchmod(handle, Mode::from_raw_mode(meta.mode | least))
            .map_err(wrong("set the mode of"))?;
        for (name, value) in &meta.xattrs {
            self.xattr(handle, path, name, value)?;
        }
        rustix::fs::futimens(handle, &times(meta.mtime)).map_err(wrong("set the time of"))
    }

    /// Sets an attribute that images need (capabilities, ACLs, the user's own). Others, such as those that
    /// steer overlayfs or SELinux, mean something to the host and are left out.
    fn xattr(&self, handle: BorrowedFd<'_>, path: &[u8], name: &str, value: &[u8]) -> Result<(), LayerError> {
        let wanted = name == "security.capability"
            || name.starts_with("system.posix_acl_")
            || (name.starts_with("user.") && !name.starts_with("user.overlay."));
        if !wanted {
            return Ok(());
        }
        match rustix::fs::fsetxattr(handle, name, value, rustix::fs::XattrFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => Ok(()),
            Err(Errno::PERM) if !self.owners => Ok(()),
            Err(error) => Err(failed("set an extended attribute of", path, error)),
        }
    }
}

fn kind_of(place: &Place) -> Result<Option<FileType>, LayerError> {
    match rustix::fs::statat(&place.folder, place.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(FileType::from_raw_mode(found.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(failed("look at", &place.path, error)),
    }
}

enum CopyFault {
    Source(io::Error),
    Sink(io::Error),
}

fn copy_exactly(source: &mut impl Read, sink: &mut File, buffer: &mut [u8]) -> Result<(), CopyFault> {
    loop {
        match source.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => io::Write::write_all(sink, &buffer[..read]).map_err(CopyFault::Sink)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyFault::Source(error)),
        }
    }
}

fn meta(entry: &Entry) -> Meta {
    Meta {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        xattrs: entry.xattrs.clone(),
    }
}

fn owner(meta: &Meta) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn names_in(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let fresh = rustix::fs::openat(folder.as_fd(), ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(fresh)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn dup(handle: &OwnedFd, path: &[u8]) -> Result<OwnedFd, LayerError> {
    handle.try_clone().map_err(|source| LayerError::Io { act: "hold", path: show(path), source })
}
