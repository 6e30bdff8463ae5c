//! Laying layers over each other, as far as findings go: what a runtime would not see is gone.
//!
//! The rules are those of the OCI image specification (layer.md) as [`kiln_store::Contents`] applies them, kept
//! only for files that tell something and for symbolic links, through which paths of later layers lead.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_store::{LayerRef, Marker, Store};

use super::layers::{self, Layer, What};
use super::wanted::Kind;
use super::{Findings, ScanError};

/// As many links as Linux follows in one path.
const LINK_LIMIT: usize = 40;

/// All files that tell something, by their path in the root file system.
#[derive(Default)]
pub(crate) struct Overlay {
    pub files: BTreeMap<Vec<u8>, Told>,
    pub links: BTreeMap<Vec<u8>, Vec<u8>>,
    /// About the whole.
    pub problems: Vec<String>,
    /// The folder that was resolved last and where it leads: entries of one folder follow each other.
    last: Option<(Vec<u8>, Vec<u8>)>,
}

/// What a file tells.
pub(crate) struct Told {
    /// Number of the layer it is in; 0 for a folder.
    pub layer: usize,
    pub kind: Kind,
    pub findings: Arc<Findings>,
    /// The other name under which its content is to be read yet.
    pending: Option<Vec<u8>>,
}

impl Told {
    pub(crate) fn new(layer: usize, kind: Kind, findings: Arc<Findings>) -> Self {
        Self { layer, kind, findings, pending: None }
    }
}

/// Lays layers over each other, lowest first.
pub(crate) fn lay_over(store: &Store, refs: &[LayerRef], layers: Vec<Layer>) -> Result<Overlay, ScanError> {
    let mut overlay = Overlay::default();
    for (number, layer) in layers.into_iter().enumerate() {
        overlay.apply(number, layer);
    }
    overlay.read_pending(store, refs)?;
    Ok(overlay)
}

impl Overlay {
    /// Whiteouts hide what is below the layer, wherever they stand in it: they come first.
    fn apply(&mut self, number: usize, layer: Layer) {
        for marker in layer.markers {
            match marker {
                Marker::Gone(path) => {
                    let path = self.resolve(&path);
                    self.remove(&path);
                }
                Marker::Opaque(folder) => self.clear(&folder),
                Marker::Ignored => {}
            }
        }
        for line in layer.lines {
            let path = self.resolve(&line.path);
            if !matches!(line.what, What::Folder) {
                self.clear(&path);
                self.remove(&path);
            }
            match line.what {
                What::Folder => {
                    // Over a folder it changes nothing.
                    self.files.remove(&path);
                    if self.links.remove(&path).is_some() {
                        self.last = None;
                    }
                }
                What::File => {}
                What::Symlink(target) => {
                    self.links.insert(path, target);
                    self.last = None;
                }
                What::Hardlink(target, kind) => self.hardlink(number, path, target, kind),
                What::Findings(kind, findings) => {
                    self.files.insert(path, Told::new(number, kind, findings));
                }
            }
        }
    }

    fn hardlink(&mut self, layer: usize, path: Vec<u8>, target: Vec<u8>, kind: Option<Kind>) {
        let other = self.resolve(&target);
        let known = self.files.get(&other).filter(|told| kind.is_none_or(|kind| kind == told.kind));
        let told = match (known, kind) {
            (Some(told), _) => Told {
                layer,
                kind: told.kind,
                findings: told.findings.clone(),
                pending: told.pending.clone(),
            },
            (None, Some(kind)) => Told { layer, kind, findings: Arc::default(), pending: Some(target) },
            (None, None) => return,
        };
        self.files.insert(path, told);
    }

    /// Content of a link may be in its own layer or in one below.
    fn read_pending(&mut self, store: &Store, refs: &[LayerRef]) -> Result<(), ScanError> {
        for number in (0..refs.len()).rev() {
            let open = self.files.values().filter(|told| told.layer >= number);
            let wanted: BTreeMap<_, _> =
                open.filter_map(|told| Some((told.pending.clone()?, told.kind))).collect();
            if wanted.is_empty() {
                continue;
            }
            let found = layers::read_some(store, &refs[number], &wanted)?;
            for told in self.files.values_mut().filter(|told| told.layer >= number) {
                if let Some(findings) = told.pending.as_ref().and_then(|target| found.get(target)) {
                    (told.findings, told.pending) = (findings.clone(), None);
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: &[u8]) {
        self.clear(path);
        self.files.remove(path);
        if self.links.remove(path).is_some() {
            self.last = None;
        }
    }

    /// Removes what is below a folder.
    fn clear(&mut self, folder: &[u8]) {
        clear(&mut self.files, folder);
        if clear(&mut self.links, folder) {
            self.last = None;
        }
    }

    /// The path with the symbolic links of its folders followed. A loop leads nowhere: the path stays.
    pub(crate) fn resolve(&mut self, path: &[u8]) -> Vec<u8> {
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { return path.to_vec() };
        let (folder, name) = (&path[..slash], &path[slash + 1..]);
        if self.last.as_ref().is_none_or(|(from, _)| from != folder) {
            let to = self.resolve_folder(folder).unwrap_or_else(|| folder.to_vec());
            self.last = Some((folder.to_vec(), to));
        }
        let folder = self.last.as_ref().map_or(folder, |(_, to)| to);
        if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
    }

    /// Where a folder really is; `None` when its links go in circles.
    pub(crate) fn resolve_folder(&self, folder: &[u8]) -> Option<Vec<u8>> {
        let mut todo: Vec<Vec<u8>> = parts(folder).rev().collect();
        let mut done: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                let parent = done.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                done.truncate(parent);
                continue;
            }
            let length = done.len();
            if !done.is_empty() {
                done.push(b'/');
            }
            done.extend_from_slice(&part);
            if let Some(target) = self.links.get(&done) {
                links += 1;
                if links > LINK_LIMIT {
                    return None;
                }
                done.truncate(if target.starts_with(b"/") { 0 } else { length });
                todo.extend(parts(target).rev());
            }
        }
        Some(done)
    }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

/// Whether there was anything.
fn clear<T>(map: &mut BTreeMap<Vec<u8>, T>, folder: &[u8]) -> bool {
    if folder.is_empty() {
        let any = !map.is_empty();
        map.clear();
        return any;
    }
    let prefix = [folder, b"/"].concat();
    let below = map.range(prefix.clone()..).map(|(path, _)| path);
    let gone: Vec<_> = below.take_while(|path| path.starts_with(&prefix)).cloned().collect();
    for path in &gone {
        map.remove(path);
    }
    !gone.is_empty()
}
