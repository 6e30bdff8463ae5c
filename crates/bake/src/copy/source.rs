//! What `from` stands for: files below the folder of the spec, or in another image.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use kiln_model::CopyStep;
use kiln_store::{Content, Kind, Node, Tree};

use super::CopyError;
use super::pick::Patterns;
use crate::skeleton::join;

/// One file or folder that a step copies.
#[derive(Debug)]
pub(crate) struct Picked {
    /// Its own name; for a match of a pattern the path below the pattern's fixed part.
    name: Vec<u8>,
    how: How,
    pub(crate) found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// `app` or `file`.
    Named,
    /// `app/`.
    Content,
    /// `app/*.py`.
    Match,
}

/// A file, link or folder with all that is to be copied from it. From another image it carries its node there.
#[derive(Debug)]
pub(crate) enum Found {
    /// A regular file on this machine.
    File { path: PathBuf, executable: bool, meta: Option<Node> },
    /// A symbolic link.
    Link { target: Vec<u8>, meta: Option<Node> },
    /// A folder.
    Folder { children: BTreeMap<Vec<u8>, Found>, meta: Option<Node> },
}

impl Picked {
    /// The path in the image, before its links are followed.
    pub(crate) fn place(&self, target: &[u8], slash: bool) -> Vec<u8> {
        match self.how {
            How::Content => target.to_vec(),
            How::Named if !slash => target.to_vec(),
            How::Named | How::Match => join(target, &self.name),
        }
    }
}

/// Finds what a step copies from the folder of the spec.
pub(crate) fn from_source(root: &Path, step: &CopyStep) -> Result<Vec<Picked>, CopyError> {
    let root = fs::canonicalize(root).map_err(fault("find", root))?;
    let outside = || CopyError::Outside { from: step.from.clone() };
    let relative = Path::new(&step.from);
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let path = root.join(relative);
    if has_pattern(&step.from) && fs::symlink_metadata(&path).is_err() {
        return matches(&root, step);
    }
    let real = fs::canonicalize(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CopyError::Absent { from: step.from.clone(), source_dir: root.clone() },
        _ => fault("find", &path)(error),
    })?;
    if !real.starts_with(&root) {
        return Err(outside());
    }
    let content = step.from.ends_with('/') || real == root;
    let walk = Walk { root: &root };
    let patterns = Patterns::new(&root, &real, &step.exclude)?;
    let found = walk.find(&real, &patterns)?;
    if matches!(&found, Found::Folder { children, .. } if children.is_empty()) && holds_any(&real) {
        return Err(CopyError::Nothing { from: step.from.clone() });
    }
    let how = if content && matches!(found, Found::Folder { .. }) { How::Content } else { How::Named };
    let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
    Ok(vec![Picked { name, how, found }])
}

fn holds_any(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

fn has_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The components before the first with a pattern.
fn fixed_part(pattern: &str) -> PathBuf {
    Path::new(pattern)
        .components()
        .filter(|part| *part != Component::CurDir)
        .take_while(|part| !has_pattern(&part.as_os_str().to_string_lossy()))
        .collect()
}

fn matcher(pattern: &str) -> Result<GlobMatcher, CopyError> {
    let plain = pattern.trim_start_matches("./").trim_end_matches('/');
    let glob = GlobBuilder::new(plain).literal_separator(true).build();
    let glob =
        glob.map_err(|source| CopyError::Pattern { pattern: pattern.into(), source: source.into() })?;
    Ok(glob.compile_matcher())
}

fn matches(root: &Path, step: &CopyStep) -> Result<Vec<Picked>, CopyError> {
    let matcher = matcher(&step.from)?;
    let fixed = fixed_part(&step.from);
    let base = fs::canonicalize(root.join(&fixed))
        .map_err(|_| CopyError::Absent { from: step.from.clone(), source_dir: root.into() })?;
    if !base.starts_with(root) {
        return Err(CopyError::Outside { from: step.from.clone() });
    }
    let patterns = Patterns::new(root, &base, &step.exclude)?;
    let mut picked = Vec::new();
    let walk = Walk { root };
    walk.search(&base, &fixed, Path::new(""), &matcher, &patterns, &mut picked)?;
    if picked.is_empty() {
        return Err(CopyError::Nothing { from: step.from.clone() });
    }
    Ok(picked)
}

struct Walk<'a> {
    root: &'a Path,
}

impl Walk<'_> {
    /// Adds what matches below `folder`; a folder that matches is taken whole.
    fn search(
        &self,
        folder: &Path,
        named: &Path,
        below: &Path,
        matcher: &GlobMatcher,
        patterns: &Patterns,
        picked: &mut Vec<Picked>,
    ) -> Result<(), CopyError> {
        for entry in sorted(folder)? {
            let path = folder.join(&entry);
            let kind = fs::symlink_metadata(&path).map_err(fault("look at", &path))?;
            if patterns.leave_out(&path, kind.is_dir()) {
                continue;
            }
            let (named, below) = (named.join(&entry), below.join(&entry));
            let mut inner = patterns.clone();
            if kind.is_dir() {
                inner.enter(&path)?;
            }
            if matcher.is_match(&named) {
                let found = self.find(&path, &inner)?;
                let name = below.into_os_string().into_vec();
                picked.push(Picked { name, how: How::Match, found });
            } else if kind.is_dir() {
                self.search(&path, &named, &below, matcher, &inner, picked)?;
            }
        }
        Ok(())
    }

    fn find(&self, path: &Path, patterns: &Patterns) -> Result<Found, CopyError> {
        let kind = fs::symlink_metadata(path).map_err(fault("look at", path))?;
        if kind.is_symlink() {
            return self.link(path);
        }
        if kind.is_file() {
            let executable = kind.permissions().mode() & 0o100 != 0;
            return Ok(Found::File { path: path.into(), executable, meta: None });
        }
        if !kind.is_dir() {
            return Err(CopyError::Special { path: path.into() });
        }
        let mut children = BTreeMap::new();
        for name in sorted(path)? {
            let child = path.join(&name);
            let folder = fs::symlink_metadata(&child).map_err(fault("look at", &child))?.is_dir();
            if patterns.leave_out(&child, folder) {
                continue;
            }
            let mut inner = patterns.clone();
            if folder {
                inner.enter(&child)?;
            }
            children.insert(name.into_vec(), self.find(&child, &inner)?);
        }
        Ok(Found::Folder { children, meta: None })
    }

    /// A link is kept when its target, read without looking at the disk, lies below the folder of the spec.
    fn link(&self, path: &Path) -> Result<Found, CopyError> {
        let target = fs::read_link(path).map_err(fault("read the link", path))?;
        let out = || CopyError::LinkOut { path: path.into(), target: target.to_string_lossy().into_owned() };
        let inside = path.strip_prefix(self.root).map_err(|_| out())?;
        let mut depth = inside.components().count().saturating_sub(1);
        for part in target.components() {
            match part {
                Component::Normal(_) => depth += 1,
                Component::ParentDir => depth = depth.checked_sub(1).ok_or_else(out)?,
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => return Err(out()),
            }
        }
        Ok(Found::Link { target: target.into_os_string().into_vec(), meta: None })
    }
}

fn sorted(folder: &Path) -> Result<Vec<std::ffi::OsString>, CopyError> {
    let entries = fs::read_dir(folder).map_err(fault("list", folder))?;
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let mut names = names.map_err(fault("list", folder))?;
    names.sort_unstable();
    Ok(names)
}

fn fault(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.to_owned();
    move |source| CopyError::Io { act, path, source }
}

/// Finds what a step copies from another image, whose whole tree this is. Its links are followed as it would.
pub(crate) fn from_image(tree: &Tree, step: &CopyStep) -> Result<Vec<Picked>, CopyError> {
    let absent = || CopyError::Absent { from: step.from.clone(), source_dir: "the image".into() };
    let bare = super::target(&step.from)?;
    let image = ImageTree { tree, exclude: Patterns::plain(Path::new("/"), &[])? };
    if has_pattern(&step.from) && !tree.nodes.contains_key(&bare) {
        return image.matches(step);
    }
    let mut skeleton = crate::skeleton::Skeleton::default();
    skeleton.add(&crate::skeleton::Bones::of(tree, &skeleton));
    let real = skeleton.resolve(&bare).ok_or_else(absent)?;
    let exclude = image.excluding(&real, step)?;
    let found = exclude.find(&real).ok_or_else(absent)?;
    let content = step.from.ends_with('/') || bare.is_empty();
    let how = if content && matches!(found, Found::Folder { .. }) { How::Content } else { How::Named };
    let name = bare.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
    Ok(vec![Picked { name, how, found }])
}

struct ImageTree<'a> {
    tree: &'a Tree,
    exclude: Patterns,
}

impl<'a> ImageTree<'a> {
    fn excluding(&self, base: &[u8], step: &CopyStep) -> Result<ImageTree<'a>, CopyError> {
        let base = Path::new("/").join(std::ffi::OsStr::from_bytes(base));
        Ok(ImageTree { tree: self.tree, exclude: Patterns::plain(&base, &step.exclude)? })
    }

    fn matches(&self, step: &CopyStep) -> Result<Vec<Picked>, CopyError> {
        let pattern = step.from.trim_start_matches('/');
        let matcher = matcher(pattern)?;
        let fixed = fixed_part(pattern).into_os_string().into_vec();
        let inner = self.excluding(&fixed, step)?;
        let mut picked: Vec<Picked> = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        for path in self.tree.nodes.keys() {
            let inside_last = last.as_ref().is_some_and(|last| path.starts_with(&[last, &b"/"[..]].concat()));
            if inside_last || !matcher.is_match(Path::new(std::ffi::OsStr::from_bytes(path))) {
                continue;
            }
            let Some(found) = inner.find(path) else { continue };
            let name = path[fixed.len()..].strip_prefix(b"/").unwrap_or(&path[fixed.len()..]).to_vec();
            picked.push(Picked { name, how: How::Match, found });
            last = Some(path.clone());
        }
        if picked.is_empty() {
            return Err(CopyError::Nothing { from: step.from.clone() });
        }
        Ok(picked)
    }

    /// `None`: nothing is there, or it is excluded.
    fn find(&self, path: &[u8]) -> Option<Found> {
        if path.is_empty() {
            return Some(Found::Folder { children: self.children(path), meta: None });
        }
        let node = self.tree.nodes.get(path)?;
        let full = Path::new("/").join(std::ffi::OsStr::from_bytes(path));
        if self.exclude.leave_out(&full, matches!(node.kind, Kind::Folder)) {
            return None;
        }
        let meta = Some(node.clone());
        match &node.kind {
            Kind::Folder => Some(Found::Folder { children: self.children(path), meta }),
            Kind::Symlink(target) => Some(Found::Link { target: target.clone(), meta }),
            Kind::File(Content::Slice { path, .. }) => {
                Some(Found::File { path: path.to_path_buf(), executable: false, meta })
            }
            Kind::File(Content::Bytes(_)) => None,
            Kind::Hardlink(target) => self.find(target),
        }
    }

    fn children(&self, path: &[u8]) -> BTreeMap<Vec<u8>, Found> {
        let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        let below = self.tree.nodes.range(prefix.clone()..).map(|(path, _)| path);
        let names = below.take_while(|path| path.starts_with(&prefix)).map(|path| &path[prefix.len()..]);
        names
            .filter(|name| !name.is_empty() && !name.contains(&b'/'))
            .filter_map(|name| Some((name.to_vec(), self.find(&[&prefix, name].concat())?)))
            .collect()
    }
}
