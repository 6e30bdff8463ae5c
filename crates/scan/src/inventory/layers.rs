//! Reading layers: each once, side by side.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_store::{
    Entry, EntryKind, LayerError, LayerRef, Marker, Store, StoreError, TarError, TarReader, clean_link,
    clean_path, marker,
};

use super::wanted::Kind;
use super::{Findings, ScanError, limits, read};

/// What a layer does to what is below it, and what it tells itself.
#[derive(Default)]
pub(crate) struct Layer {
    pub markers: Vec<Marker>,
    /// In the archive's order.
    pub lines: Vec<Line>,
}

/// One entry.
pub(crate) struct Line {
    /// Clean, as the archive has it.
    pub path: Vec<u8>,
    pub what: What,
}

/// What an entry is.
pub(crate) enum What {
    Folder,
    /// A file that tells nothing, but takes the place of what was there.
    File,
    Symlink(Vec<u8>),
    /// A link to a file that may have been read under its other name; if not, it is to be read as this.
    Hardlink(Vec<u8>, Option<Kind>),
    Findings(Kind, Arc<Findings>),
}

/// Reads all layers, as many at once as there are processors.
pub(crate) fn read_all(store: &Store, layers: &[LayerRef]) -> Result<Vec<Layer>, ScanError> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    // The largest first: it must not begin when the others are done.
    order.sort_by_key(|index| std::cmp::Reverse(layers[*index].blob.size));
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Result<Layer, ScanError>>> = Mutex::default();
    let work = || {
        while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = read_one(store, &layers[*index], *index == 0);
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(*index, result);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(layers.len());
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        work();
        let all = helpers.into_iter().map(|helper| helper.join().map_err(|_| died())).collect::<Vec<_>>();
        all.into_iter().collect::<Result<(), _>>()
    })?;
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

fn died() -> ScanError {
    ScanError::Died { what: "a layer".into() }
}

/// Goes through a layer's entries and checks its digests. `act` gets each entry with its clean path.
fn each(
    store: &Store,
    layer: &LayerRef,
    mut act: impl FnMut(Vec<u8>, &Entry, &mut dyn Read) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    let digest = layer.blob.digest;
    let mut tar = TarReader::new(store.open_layer(layer)?);
    let result = entries(&mut tar, layer, store.limits().layer_entries, &mut act);
    let mut stream = tar.into_inner();
    match (result, stream.tripped()) {
        // A limit of the layer shows as a failed read.
        (Err(_), Some(source)) => return Err(StoreError::Layer { digest, source }.into()),
        (result, _) => result?,
    }
    stream.finish(store, layer)?;
    Ok(())
}

fn entries<R: Read>(
    tar: &mut TarReader<R>,
    layer: &LayerRef,
    limit: u64,
    act: &mut impl FnMut(Vec<u8>, &Entry, &mut dyn Read) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    let digest = layer.blob.digest;
    let refuse = |source| ScanError::Layer { digest, source };
    let mut count = 0;
    while let Some(entry) = tar.next_entry().map_err(|error| refuse(error.into()))? {
        count += 1;
        if count > limit {
            return Err(refuse(LayerError::TooManyEntries { limit }));
        }
        let path = clean_path(&entry.path).map_err(refuse)?;
        if !path.is_empty() {
            act(path, &entry, tar)?;
        }
    }
    Ok(())
}

/// Nothing lies below the bottom layer: of it only what tells something and links are kept.
fn read_one(store: &Store, layer: &LayerRef, bottom: bool) -> Result<Layer, ScanError> {
    let digest = layer.blob.digest;
    let refuse = |source| ScanError::Layer { digest, source };
    let mut found = Layer::default();
    let mut packages = 0;
    each(store, layer, |path, entry, content| {
        if let Some(marker) = marker(&path).map_err(refuse)? {
            found.markers.push(marker);
            return Ok(());
        }
        let what = match entry.kind {
            EntryKind::Folder => What::Folder,
            EntryKind::Symlink => What::Symlink(entry.link.clone()),
            EntryKind::Hardlink => {
                let target = clean_link(&entry.path, &entry.link).map_err(refuse)?;
                What::Hardlink(target, super::wanted::by_path(&path))
            }
            EntryKind::Device | EntryKind::Fifo => What::File,
            EntryKind::File => {
                file(&path, entry, content).map_err(|error| refuse(TarError::Read(error).into()))?
            }
        };
        if let What::Findings(_, findings) = &what {
            packages += findings.packages.len() as u64;
            if packages > limits::PACKAGES {
                let what = format!("layer {digest}");
                return Err(ScanError::TooMany { what, things: "packages", limit: limits::PACKAGES });
            }
        }
        if !(bottom && matches!(what, What::Folder | What::File)) {
            found.lines.push(Line { path, what });
        }
        Ok(())
    })?;
    Ok(found)
}

fn file(path: &[u8], entry: &Entry, content: &mut dyn Read) -> std::io::Result<What> {
    let Some(kind) = read::kind(path, entry.mode, entry.size) else { return Ok(What::File) };
    let findings = read::file(kind, path, entry.size, content)?;
    Ok(if findings.is_empty() { What::File } else { What::Findings(kind, Arc::new(findings)) })
}

/// Reads some files of a layer again, each as the given kind: those that were first passed over because only
/// another name of theirs tells what they are.
pub(crate) fn read_some(
    store: &Store,
    layer: &LayerRef,
    files: &BTreeMap<Vec<u8>, Kind>,
) -> Result<BTreeMap<Vec<u8>, Arc<Findings>>, ScanError> {
    let mut found = BTreeMap::new();
    let digest = layer.blob.digest;
    each(store, layer, |path, entry, content| {
        if let Some(kind) = files.get(&path).filter(|_| entry.kind == EntryKind::File) {
            let findings = read::file(*kind, &path, entry.size, content)
                .map_err(|error| ScanError::Layer { digest, source: TarError::Read(error).into() })?;
            found.insert(path, Arc::new(findings));
        }
        Ok(())
    })?;
    Ok(found)
}
