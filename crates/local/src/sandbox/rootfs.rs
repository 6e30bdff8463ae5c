//! The root file system of one instance: the image's shared tree with a skeleton laid over it.
//!
//! The tree is never written, and images need not have the folders that a container needs (a `scratch` image has
//! nothing at all). So each instance has a small `skeleton` folder with the mount points that the tree lacks and its
//! own `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`; an overlay without an upper layer puts it on top of the
//! tree. Nobody can write to that overlay, not even its root. It is mounted in the supervisor's private mount
//! namespace, so it is gone with the last process that sees it, however that one ends.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::mount::{MountFlags, mount};

use super::tree::Tree;

/// Why the root could not be put together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootfsError {
    #[error("cannot open the image's tree {path}: was it removed from the store?")]
    Tree {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make the mount point {path} for the instance")]
    Skeleton {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is in the image, but is not a folder: nothing can be mounted there")]
    NotAFolder { path: String },
    #[error("{path:?} is not a path that can be mounted: it must be absolute and without ..")]
    BadPath { path: String },
    #[error(
        "cannot lay the instance's mount points over the image's tree: the kernel needs overlay file systems \
         (modprobe overlay; as an ordinary user Linux 5.11 or newer)"
    )]
    Overlay(#[source] io::Error),
}

/// Folders that every instance gets a mount at.
const STANDARD: [&str; 5] = ["/proc", "/dev", "/sys", "/tmp", "/run"];

/// Fills the skeleton: mount points that the tree lacks, and the instance's own files below `/etc`.
pub(crate) fn build_skeleton(
    skeleton: &Path,
    tree: &Tree,
    mounts: &[String],
    files: &[(&str, String)],
) -> Result<(), RootfsError> {
    let at = |source| RootfsError::Skeleton { path: skeleton.into(), source };
    fs::create_dir_all(skeleton).map_err(at)?;
    copy_mode(tree, "/", skeleton).map_err(at)?;
    for path in STANDARD.iter().copied().chain(mounts.iter().map(String::as_str)) {
        mount_point(skeleton, tree, path)?;
    }
    for (path, content) in files {
        let real = tree.real(path);
        let target = skeleton.join(real.trim_start_matches('/'));
        let wrap = |source| RootfsError::Skeleton { path: target.clone(), source };
        make_parents(skeleton, tree, &real).map_err(wrap)?;
        fs::write(&target, content).map_err(wrap)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).map_err(wrap)?;
    }
    Ok(())
}

fn mount_point(skeleton: &Path, tree: &Tree, path: &str) -> Result<(), RootfsError> {
    let mut parts = Path::new(path).components();
    let good = parts.next() == Some(Component::RootDir)
        && parts.clone().next().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)));
    if !good {
        return Err(RootfsError::BadPath { path: path.into() });
    }
    if tree.is_folder(path) {
        return Ok(());
    }
    if tree.stat(path).is_ok() {
        return Err(RootfsError::NotAFolder { path: path.into() });
    }
    let real = tree.real(path);
    let target = skeleton.join(real.trim_start_matches('/'));
    let wrap = |source| RootfsError::Skeleton { path: target.clone(), source };
    make_parents(skeleton, tree, &real).map_err(wrap)?;
    match fs::create_dir(&target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(wrap(error)),
        _ => Ok(()),
    }
}

/// Makes the folders above `path`, with the modes and owners that the tree's have: an overlay shows the upper ones'.
fn make_parents(skeleton: &Path, tree: &Tree, path: &str) -> io::Result<()> {
    let mut sofar = PathBuf::from("/");
    let parents = Path::new(path).parent().into_iter().flat_map(Path::components);
    for part in parents.filter(|part| matches!(part, Component::Normal(_))) {
        sofar.push(part);
        let target = skeleton.join(sofar.strip_prefix("/").unwrap_or(&sofar));
        match fs::create_dir(&target) {
            Ok(()) => copy_mode(tree, &sofar.to_string_lossy(), &target)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn copy_mode(tree: &Tree, path: &str, target: &Path) -> io::Result<()> {
    let Ok(stat) = tree.stat(path) else {
        return fs::set_permissions(target, fs::Permissions::from_mode(0o755));
    };
    // Only root may give files away; an ordinary user's trees are its own already.
    let _ = std::os::unix::fs::chown(target, Some(stat.st_uid), Some(stat.st_gid));
    fs::set_permissions(target, fs::Permissions::from_mode(stat.st_mode & 0o7777))
}

/// Mounts the skeleton over the tree at `root`; the caller is in a private mount namespace.
pub(crate) fn assemble(skeleton: &Path, tree: &Path, root: &Path) -> Result<(), RootfsError> {
    fs::create_dir_all(root).map_err(RootfsError::Overlay)?;
    let mut options = b"lowerdir=".to_vec();
    options.extend(escape(skeleton));
    options.push(b':');
    options.extend(escape(tree));
    let options = CString::new(options).map_err(|error| RootfsError::Overlay(error.into()))?;
    // Set-user-id programs are harmless: every process has no_new_privs.
    mount("kiln", root, "overlay", MountFlags::NODEV | MountFlags::RDONLY, Some(options.as_c_str()))
        .map_err(|error| RootfsError::Overlay(error.into()))
}

/// Colons, commas and backslashes end a path in overlay's options unless escaped.
fn escape(path: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}
