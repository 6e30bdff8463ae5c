//! What later steps must know about the layers below them without reading those: folders, symbolic links, users
//! and groups. So that `copy` follows `/bin -> usr/bin` as the running image would, gives parents their own
//! modes, and finds `www-data`, while its layer stays independent of the content of the others.

use std::collections::BTreeMap;

use kiln_store::{Kind, Marker, Tree, marker};
use serde::{Deserialize, Serialize};

/// As many links as Linux follows in one path.
const LINK_LIMIT: usize = 40;

/// What one layer adds to the skeleton.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bones {
    /// Folders and links, in the order of their paths.
    set: Vec<(Path, Bone)>,
    /// Paths that are gone, or are files now. Taken away before the others are added.
    gone: Vec<Path>,
    /// `/etc/passwd`, when the layer has one.
    passwd: Option<String>,
    /// `/etc/group`, when the layer has one.
    group: Option<String>,
}

/// A folder or a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Bone {
    /// Mode, owner, group.
    Folder(u32, u32, u32),
    /// Target.
    Link(Path),
}

/// A path as JSON: text, or `\0` and hex digits where it is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(crate) struct Path(Vec<u8>);

impl From<Path> for String {
    fn from(path: Path) -> Self {
        Self::from_utf8(path.0).unwrap_or_else(|error| format!("\0{}", hex::encode(error.as_bytes())))
    }
}

impl From<String> for Path {
    fn from(text: String) -> Self {
        let bytes = text.strip_prefix('\0').and_then(|digits| hex::decode(digits).ok());
        Self(bytes.unwrap_or_else(|| text.into_bytes()))
    }
}

/// All the layers so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skeleton {
    bones: BTreeMap<Vec<u8>, Bone>,
    passwd: String,
    group: String,
}

impl Bones {
    /// What a tree adds on top of `below`. Whiteouts are told by their names.
    pub(crate) fn of(tree: &Tree, below: &Skeleton) -> Self {
        let mut bones = Self::default();
        for (path, node) in &tree.nodes {
            match marker(path) {
                Ok(None) => {}
                Ok(Some(Marker::Gone(target))) => {
                    bones.gone.push(Path(target));
                    continue;
                }
                Ok(Some(Marker::Opaque(folder))) => {
                    bones.gone.extend(below.below(&folder).map(|path| Path(path.clone())));
                    continue;
                }
                Ok(Some(Marker::Ignored)) | Err(_) => continue,
            }
            match &node.kind {
                Kind::Folder => {
                    bones.set.push((Path(path.clone()), Bone::Folder(node.mode, node.uid, node.gid)));
                }
                Kind::Symlink(target) => {
                    bones.set.push((Path(path.clone()), Bone::Link(Path(target.clone()))));
                }
                Kind::File(_) | Kind::Hardlink(_) if below.bones.contains_key(path) => {
                    bones.gone.push(Path(path.clone()));
                }
                Kind::File(_) | Kind::Hardlink(_) => {}
            }
        }
        bones.passwd = text_of(tree, b"etc/passwd");
        bones.group = text_of(tree, b"etc/group");
        bones
    }
}

impl Bones {
    /// Puts those of another layer on top, for a step that makes two layers.
    pub(crate) fn extend(&mut self, upper: Self) {
        self.set.retain(|(path, _)| !upper.gone.iter().any(|gone| path.is_at_or_below(gone)));
        self.set.extend(upper.set);
        self.gone.extend(upper.gone);
        self.passwd = upper.passwd.or(self.passwd.take());
        self.group = upper.group.or(self.group.take());
    }
}

impl Path {
    fn is_at_or_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.0.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

fn text_of(tree: &Tree, path: &[u8]) -> Option<String> {
    let Kind::File(content) = &tree.nodes.get(path)?.kind else { return None };
    Some(String::from_utf8_lossy(&content.read().ok()?).into_owned())
}

impl Skeleton {
    /// Puts a layer on top.
    pub(crate) fn add(&mut self, bones: &Bones) {
        for Path(path) in &bones.gone {
            let below: Vec<Vec<u8>> = self.below(path).cloned().collect();
            self.bones.remove(path);
            for path in below {
                self.bones.remove(&path);
            }
        }
        for (Path(path), bone) in &bones.set {
            self.bones.insert(path.clone(), bone.clone());
        }
        if let Some(passwd) = &bones.passwd {
            self.passwd.clone_from(passwd);
        }
        if let Some(group) = &bones.group {
            self.group.clone_from(group);
        }
    }

    /// The content of the image's `/etc/passwd`; empty when it has none.
    pub(crate) fn passwd(&self) -> &str {
        &self.passwd
    }

    /// The content of the image's `/etc/group`; empty when it has none.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// Mode, owner and group of a folder of the image.
    pub(crate) fn folder(&self, path: &[u8]) -> Option<(u32, u32, u32)> {
        match self.bones.get(path)? {
            Bone::Folder(mode, uid, gid) => Some((*mode, *uid, *gid)),
            Bone::Link(_) => None,
        }
    }

    /// Where a folder really is, following the links of the image; `None` when they go in circles. More `..`
    /// than folders stop at the root, as they do in the running image.
    pub(crate) fn resolve(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut todo: Vec<Vec<u8>> = parts(path).rev().collect();
        let mut done: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                let parent = done.iter().rposition(|b| *b == b'/').unwrap_or(0);
                done.truncate(parent);
                continue;
            }
            let here = join(&done, &part);
            match self.bones.get(&here) {
                Some(Bone::Link(Path(target))) => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        done.clear();
                    }
                    todo.extend(parts(target).rev());
                }
                _ => done = here,
            }
        }
        Some(done)
    }

    fn below(&self, path: &[u8]) -> impl Iterator<Item = &Vec<u8>> {
        let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        let first = prefix.clone();
        self.bones.range(first..).map(|(path, _)| path).take_while(move |path| path.starts_with(&prefix))
    }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

/// `parent/name`, or `name` in the root.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_store::Node;

    fn tree(nodes: &[(&str, Kind)]) -> Tree {
        let node = |kind: &Kind| Node {
            kind: kind.clone(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: BTreeMap::new(),
        };
        Tree { nodes: nodes.iter().map(|(path, kind)| (path.as_bytes().to_vec(), node(kind))).collect() }
    }

    #[test]
    fn links_are_followed_as_the_image_would() {
        let mut skeleton = Skeleton::default();
        let link = |to: &str| Kind::Symlink(to.as_bytes().to_vec());
        let base = tree(&[
            ("bin", link("usr/bin")),
            ("loop", link("loop")),
            ("usr/lib/x", link("../../etc")),
            ("var/run", link("/run")),
        ]);
        skeleton.add(&Bones::of(&base, &skeleton));
        assert_eq!(skeleton.resolve(b"bin/sub").unwrap(), b"usr/bin/sub");
        assert_eq!(skeleton.resolve(b"usr/lib/x/y").unwrap(), b"etc/y");
        assert_eq!(skeleton.resolve(b"var/run").unwrap(), b"run");
        assert_eq!(skeleton.resolve(b"loop/x"), None);
        let gone = tree(&[(".wh.bin", Kind::File(kiln_store::Content::Bytes([].into())))]);
        let bones = Bones::of(&gone, &skeleton);
        let text = serde_json::to_string(&bones).unwrap();
        skeleton.add(&serde_json::from_str(&text).unwrap());
        assert_eq!(skeleton.resolve(b"bin/sub").unwrap(), b"bin/sub");
    }
}
