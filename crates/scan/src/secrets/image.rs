//! Secrets in the layers of an image.
//!
//! As many layers as there are processors are decompressed at once; their files go, in windows, through one channel to
//! as many searchers. The channel is short, so at most a few windows are in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_model::Digest;
use kiln_store::{LayerError, LayerRef, Store, StoreError, TarError, TarReader};

use super::engine::{Found, engine, findings};
use super::rules::Context;
use super::visible::Cover;
use super::windows::{SHAPE, Window, Windows};
use super::{Allow, Place, SecretFinding, SecretsError, config};

/// A window on its way.
struct Job {
    layer: usize,
    path: Arc<str>,
    window: Window,
}

type Files = BTreeMap<(usize, Arc<str>), Vec<Found>>;

/// Searches every layer of an image by itself, and its configuration. Sorted by place.
///
/// # Errors
///
/// When the image's documents or a layer cannot be read, or its bytes are not those that its digests promise.
pub fn scan_image(store: &Store, image: &Digest, allow: &Allow) -> Result<Vec<SecretFinding>, SecretsError> {
    let documents = store.image(image)?;
    let layers = &documents.layers;
    let (files, covers) = search(store, layers)?;
    let mut found = config::search(&documents.file);
    for ((layer, path), raw) in files {
        let visible = !covers[layer + 1..].iter().any(|cover| cover.hides(&path));
        let place = |line| Place::File {
            path: path.to_string(),
            line,
            layer: Some(layers[layer].blob.digest),
            visible,
        };
        found.extend(findings(raw, Some(&path), &place));
    }
    found.sort();
    found.dedup();
    allow.apply(&mut found);
    Ok(found)
}

fn search(store: &Store, layers: &[LayerRef]) -> Result<(Files, Vec<Cover>), StoreError> {
    let threads = super::threads();
    let (sender, receiver) = sync_channel::<Job>(2 * threads);
    let receiver = Mutex::new(receiver);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let searchers: Vec<_> = (0..threads).map(|_| scope.spawn(|| searched(&receiver))).collect();
        let readers: Vec<_> = (0..threads.min(layers.len()))
            .map(|_| {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || read(store, layers, next, &sender))
            })
            .collect();
        drop(sender);
        let mut covers: Vec<Cover> = layers.iter().map(|_| Cover::default()).collect();
        let mut fault = None;
        for reader in readers {
            match reader.join() {
                Ok(Ok(read)) => read.into_iter().for_each(|(layer, cover)| covers[layer] = cover),
                Ok(Err(error)) => fault = Some(error),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        let mut files = Files::new();
        for searcher in searchers {
            match searcher.join() {
                Ok(some) => {
                    for (key, found) in some {
                        files.entry(key).or_default().extend(found);
                    }
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        fault.map_or(Ok((files, covers)), Err)
    })
}

fn searched(jobs: &Mutex<Receiver<Job>>) -> Files {
    let mut files = Files::new();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return files };
        let found = engine().search(&job.window, Context::File(&job.path));
        if !found.is_empty() {
            files.entry((job.layer, job.path)).or_default().extend(found);
        }
    }
}

/// Reads layers until there is none left, or one is bad.
fn read(
    store: &Store,
    layers: &[LayerRef],
    next: &AtomicUsize,
    jobs: &SyncSender<Job>,
) -> Result<Vec<(usize, Cover)>, StoreError> {
    let mut covers = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(layer) = layers.get(index) else { return Ok(covers) };
        let mut tar = TarReader::new(store.open_layer(layer)?);
        let result = entries(&mut tar, index, jobs, store.limits().layer_entries);
        let mut stream = tar.into_inner();
        let cover = result.map_err(|error| {
            let source = stream.tripped().unwrap_or(error);
            StoreError::Layer { digest: layer.blob.digest, source }
        })?;
        stream.finish(store, layer)?;
        covers.push((index, cover));
    }
}

fn entries<R: std::io::Read>(
    tar: &mut TarReader<R>,
    layer: usize,
    jobs: &SyncSender<Job>,
    limit: u64,
) -> Result<Cover, LayerError> {
    let mut cover = Cover::default();
    let mut count = 0;
    while let Some(entry) = tar.next_entry()? {
        count += 1;
        if count > limit {
            return Err(LayerError::TooManyEntries { limit });
        }
        let Some(path) = cover.note(&entry) else { continue };
        let path: Arc<str> = path.into();
        let mut windows = Windows::new(&mut *tar, SHAPE, entry.size);
        while let Some(window) = windows.next().map_err(TarError::Read)? {
            // When nobody receives, a searcher panicked, and that is told when it is joined.
            if jobs.send(Job { layer, path: Arc::clone(&path), window }).is_err() {
                return Ok(cover);
            }
        }
    }
    Ok(cover)
}
