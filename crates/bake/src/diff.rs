//! What a command changed, as a tree: from the upper folder of an overlay, or from a changed copy.
//!
//! Only true changes count. A file that was opened for writing, touched, or given the owner it already had is
//! the same file; a folder is there when something in it changed. Times are left to the layer writer, which
//! clamps them. Sockets, pipes and devices are not part of images, and neither is what lies where the sandbox
//! mounts its own. What is gone is told by name, never by an opaque folder, so that both kinds of folder give
//! the same tree.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_store::{Content, Contents, EntryKind, Kind, Node, Tree};

use crate::skeleton::join;

/// Mount points of the sandbox.
const NOT_OURS: [&[u8]; 5] = [b"dev", b"proc", b"run", b"sys", b"tmp"];
const NOT_OURS_EITHER: [&[u8]; 3] = [b"etc/hostname", b"etc/hosts", b"etc/resolv.conf"];

/// An error with the file it is about.
pub(crate) type Fault = (PathBuf, io::Error);

/// Finds the changes. `owners` is what the layers say about the tree below, when its own owners are not to be
/// trusted because an ordinary user extracted it.
pub(crate) fn changes(
    changed: &Path,
    whole: bool,
    lower: &Path,
    owners: Option<&Contents>,
) -> Result<Tree, Fault> {
    let mut finder = Finder { lower, copied: whole, owners, links: HashMap::new(), tree: Tree::default() };
    finder.folder(changed, b"", whole)?;
    finder.link(changed)?;
    Ok(finder.tree)
}

/// One name of a file: path, node, whether it is a change.
type Named = (Vec<u8>, Node, bool);

struct Finder<'a> {
    lower: &'a Path,
    /// Whether the changed folder is a copy of the tree, with mount points.
    copied: bool,
    owners: Option<&'a Contents>,
    /// Files with several names by device and inode: the names, and whether each is a change.
    links: HashMap<(u64, u64), Vec<Named>>,
    tree: Tree,
}

impl Finder<'_> {
    /// Adds what changed below a folder; one that is `whole` hides all that the lower one has. Returns whether
    /// anything did change.
    fn folder(&mut self, folder: &Path, path: &[u8], whole: bool) -> Result<bool, Fault> {
        let mut any = false;
        let mut names: Vec<Vec<u8>> = list(folder)?;
        names.sort_unstable();
        for name in &names {
            let child = join(path, name);
            if !NOT_OURS.contains(&child.as_slice()) {
                any |= self.entry(&folder.join(std::ffi::OsStr::from_bytes(name)), &child, whole)?;
            }
        }
        if whole {
            any |= self.removed(path, &names)?;
        }
        Ok(any)
    }

    /// Whiteouts for what only the lower folder has.
    fn removed(&mut self, path: &[u8], names: &[Vec<u8>]) -> Result<bool, Fault> {
        let below = self.below(path);
        if !fs::symlink_metadata(&below).is_ok_and(|found| found.is_dir()) {
            return Ok(false);
        }
        let mut any = false;
        for name in list(&below)?.into_iter().filter(|name| names.binary_search(name).is_err()) {
            let child = join(path, &name);
            if !NOT_OURS.contains(&child.as_slice()) {
                self.whiteout(path, &name);
                any = true;
            }
        }
        Ok(any)
    }

    fn below(&self, path: &[u8]) -> PathBuf {
        self.lower.join(std::ffi::OsStr::from_bytes(path))
    }

    fn whiteout(&mut self, folder: &[u8], name: &[u8]) {
        let marker = join(folder, &[b".wh.", name].concat());
        let kind = Kind::File(Content::Bytes(Arc::from([])));
        let node = Node { kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() };
        self.tree.nodes.insert(marker, node);
    }

    fn entry(&mut self, file: &Path, path: &[u8], whole: bool) -> Result<bool, Fault> {
        let found = fs::symlink_metadata(file).map_err(at(file))?;
        let kind = found.file_type();
        let (folder, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&[][..], path),
        };
        if kind.is_char_device() && found.rdev() == 0 {
            self.whiteout(folder, name);
            return Ok(true);
        }
        if kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
            return Ok(false);
        }
        let below = fs::symlink_metadata(self.below(path)).ok();
        if NOT_OURS_EITHER.contains(&path) && found.len() == 0 && below.is_none() {
            return Ok(false);
        }
        if kind.is_dir() {
            return self.subfolder(file, path, &found, below.as_ref(), whole);
        }
        self.leaf(file, path, &found, below.as_ref())
    }

    fn subfolder(
        &mut self,
        file: &Path,
        path: &[u8],
        found: &Metadata,
        below: Option<&Metadata>,
        whole: bool,
    ) -> Result<bool, Fault> {
        readable(file, found, 0o500).map_err(at(file))?;
        // What lies in a folder that was made anew was made anew too.
        let whole = whole || is_opaque(file);
        let replaced = below.is_some_and(|below| !below.is_dir());
        let node = self.node(Kind::Folder, file, path, found)?;
        let ours = self.copied && below.is_none() && path == b"etc";
        let same = ours || below.is_some_and(|below| below.is_dir() && self.same_meta(&node, below, path));
        // Its place in the map is before its content; taken back when nothing changed.
        self.tree.nodes.insert(path.to_vec(), node);
        let inside = self.folder(file, path, whole)?;
        if same && !inside && !replaced {
            self.tree.nodes.remove(path);
            return Ok(false);
        }
        Ok(true)
    }

    fn leaf(
        &mut self,
        file: &Path,
        path: &[u8],
        found: &Metadata,
        below: Option<&Metadata>,
    ) -> Result<bool, Fault> {
        let kind = if found.is_symlink() {
            let target = fs::read_link(file).map_err(at(file))?;
            Kind::Symlink(target.into_os_string().into_vec())
        } else {
            readable(file, found, 0o400).map_err(at(file))?;
            Kind::File(Content::Slice { path: Arc::new(file.into()), offset: 0, len: found.len() })
        };
        let node = self.node(kind, file, path, found)?;
        let same = below.is_some_and(|below| {
            self.same_meta(&node, below, path) && same_bytes(file, found, &self.below(path), below)
        });
        if found.nlink() > 1 && found.is_file() {
            let names = self.links.entry((found.dev(), found.ino())).or_default();
            names.push((path.to_vec(), node.clone(), !same));
        }
        if !same {
            self.tree.nodes.insert(path.to_vec(), node);
        }
        Ok(!same)
    }

    /// Makes hard links of files with several names. When one name is new all of them are in the layer, since
    /// engines that unpack it alone cannot link to a file below.
    fn link(&mut self, root: &Path) -> Result<(), Fault> {
        let groups = std::mem::take(&mut self.links).into_values();
        for mut names in groups.filter(|names| names.iter().any(|(_, _, changed)| *changed)) {
            names.sort_by(|one, other| one.0.cmp(&other.0));
            let first = names[0].0.clone();
            for (path, node, _) in names {
                let kind = if path == first { node.kind.clone() } else { Kind::Hardlink(first.clone()) };
                self.parents(root, &path)?;
                self.tree.nodes.insert(path, Node { kind, ..node });
            }
        }
        Ok(())
    }

    /// Adds the folders above a path that are not there because nothing in them changed.
    fn parents(&mut self, root: &Path, path: &[u8]) -> Result<(), Fault> {
        for (end, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            let parent = &path[..end];
            if !self.tree.nodes.contains_key(parent) {
                let file = root.join(std::ffi::OsStr::from_bytes(parent));
                let found = fs::symlink_metadata(&file).map_err(at(&file))?;
                let node = self.node(Kind::Folder, &file, parent, &found)?;
                self.tree.nodes.insert(parent.to_vec(), node);
            }
        }
        Ok(())
    }

    fn node(&self, kind: Kind, file: &Path, path: &[u8], found: &Metadata) -> Result<Node, Fault> {
        // A folder's time says when something in it was made: by the person's program, or by whoever extracted the
        // tree below. The layer writer turns it into the image's epoch.
        let mtime = if matches!(kind, Kind::Folder) { i64::MAX } else { found.mtime() };
        let mut node = Node {
            kind,
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            mtime,
            xattrs: xattrs(file).map_err(at(file))?,
        };
        if let Some(owners) = self.owners {
            (node.uid, node.gid) = (0, 0);
            let known = owners.items.get(path).map(|item| &item.entry);
            let folder = matches!(node.kind, Kind::Folder);
            if let Some(known) = known.filter(|known| (known.kind == EntryKind::Folder) == folder) {
                (node.uid, node.gid) = (known.uid, known.gid);
                let least = if folder { 0o500 } else { 0o400 };
                if node.mode == known.mode | least {
                    node.mode = known.mode;
                }
            }
        }
        Ok(node)
    }

    fn same_meta(&self, node: &Node, below: &Metadata, path: &[u8]) -> bool {
        let same_owner = match self.owners {
            Some(owners) => owners.items.get(path).is_some_and(|item| {
                item.entry.kind == EntryKind::Hardlink
                    || (item.entry.uid, item.entry.gid, item.entry.mode) == (node.uid, node.gid, node.mode)
                    || matches!(node.kind, Kind::Symlink(_))
            }),
            None => (below.uid(), below.gid(), below.mode() & 0o7777) == (node.uid, node.gid, node.mode),
        };
        same_owner && xattrs(&self.below(path)).is_ok_and(|below| below == node.xattrs)
    }
}

fn same_bytes(file: &Path, found: &Metadata, lower: &Path, below: &Metadata) -> bool {
    if found.is_symlink() || below.is_symlink() {
        return found.is_symlink()
            && below.is_symlink()
            && fs::read_link(file).ok().is_some_and(|target| fs::read_link(lower).ok() == Some(target));
    }
    found.is_file() && below.is_file() && found.len() == below.len() && equal(file, lower).unwrap_or(false)
}

fn equal(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        if other.read_exact(&mut right[..read]).is_err() || left[..read] != right[..read] {
            return Ok(false);
        }
    }
}

/// What a command left unreadable its owner may still read, after saying so.
fn readable(file: &Path, found: &Metadata, least: u32) -> io::Result<()> {
    if found.mode() & least == least || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    fs::set_permissions(file, fs::Permissions::from_mode((found.mode() & 0o7777) | least))
}

fn list(folder: &Path) -> Result<Vec<Vec<u8>>, Fault> {
    let names = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name().into_vec())).collect());
    names.map_err(at(folder))
}

fn at(path: &Path) -> impl Fn(io::Error) -> Fault {
    let path = path.to_owned();
    move |error| (path.clone(), error)
}

fn is_opaque(folder: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = Vec::with_capacity(8);
        rustix::fs::lgetxattr(folder, *name, rustix::buffer::spare_capacity(&mut value)).is_ok()
            && value == b"y"
    })
}

/// The attributes that images carry.
fn xattrs(file: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut names = Vec::with_capacity(64 << 10);
    match rustix::fs::llistxattr(file, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(found),
        Err(error) => return Err(error.into()),
    }
    for name in names.split(|b| *b == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
        let carried = name == "security.capability"
            || name.starts_with("system.posix_acl_")
            || (name.starts_with("user.") && !name.starts_with("user.overlay."));
        if carried {
            let mut value = Vec::with_capacity(64 << 10);
            rustix::fs::lgetxattr(file, name, rustix::buffer::spare_capacity(&mut value))?;
            found.insert(name.into(), value);
        }
    }
    Ok(found)
}

/// Gives a copied file the owner (when allowed), mode, time and attributes of the original.
pub(crate) fn copy_meta(from: &Path, to: &Path, found: &Metadata) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(to, Some(found.uid()), Some(found.gid()))?;
    }
    if found.is_symlink() {
        return Ok(());
    }
    for (name, value) in xattrs(from)? {
        rustix::fs::lsetxattr(to, name.as_str(), &value, rustix::fs::XattrFlags::empty())?;
    }
    fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    let times = fs::FileTimes::new().set_modified(found.modified()?);
    if found.is_file() {
        File::open(to)?.set_times(times)?;
    }
    Ok(())
}
