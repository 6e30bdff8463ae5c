//! Which layer a step made, by its key: the digest of everything that decides the layer's bytes.
//!
//! ```text
//! cache/steps/<hex of key>.json    the layers, and what later steps need to know of them
//! cache/inputs/<hex>.json          the inputs of an image's last bake, to say what changed
//! cache/files/<hex>                digests of source files (see `hash`)
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_model::{Digest, Name};
use kiln_store::{LayerRef, Store, StoreError, at};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::skeleton::Bones;

/// Collects what decides a layer. Each part is written with its name and length, so no two lists of parts
/// collide.
pub(crate) struct KeyMaker(Sha256);

impl KeyMaker {
    pub(crate) fn new(kind: &str) -> Self {
        let mut maker = Self(Sha256::new());
        maker.part("kind", kind.as_bytes());
        maker
    }

    pub(crate) fn part(&mut self, name: &str, value: &[u8]) {
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name.as_bytes());
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value);
    }

    pub(crate) fn key(self) -> Digest {
        Digest::from_bytes(self.0.finalize().into())
    }
}

/// What a step made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Its layers; none when it changed nothing.
    pub(crate) layers: Vec<LayerRef>,
    /// What later steps must know.
    pub(crate) bones: Bones,
}

/// The inputs of a step by name, each with a text that changes when it does.
pub(crate) type Inputs = BTreeMap<String, String>;

fn step_path(store: &Store, key: &Digest) -> PathBuf {
    store.cache().join("steps").join(format!("{}.json", key.hex()))
}

/// What a step with this key made, when its layers are all still there.
pub(crate) fn find(store: &Store, key: &Digest) -> Option<Made> {
    let bytes = fs::read(step_path(store, key)).ok()?;
    // A record damaged by a power cut is no record.
    let made: Made = serde_json::from_slice(&bytes).ok()?;
    made.layers.iter().all(|layer| store.has_sized(&layer.blob)).then_some(made)
}

/// Remembers what a step made. Its layers must be in the store.
pub(crate) fn remember(store: &Store, key: &Digest, made: &Made) -> Result<(), StoreError> {
    write(store, &step_path(store, key), made)
}

/// The inputs of all steps of the last bake of one image, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History(pub(crate) Vec<(String, Inputs)>);

fn history_path(store: &Store, source: &Path, image: &Name) -> PathBuf {
    let mut maker = KeyMaker::new("inputs");
    maker.part("source", source.as_os_str().as_bytes());
    maker.part("image", image.as_str().as_bytes());
    store.cache().join("inputs").join(format!("{}.json", maker.key().hex()))
}

impl History {
    pub(crate) fn load(store: &Store, source: &Path, image: &Name) -> Option<Self> {
        serde_json::from_slice(&fs::read(history_path(store, source, image)).ok()?).ok()
    }

    pub(crate) fn save(&self, store: &Store, source: &Path, image: &Name) -> Result<(), StoreError> {
        write(store, &history_path(store, source, image), self)
    }
}

/// What is new about a step's inputs, in words.
pub(crate) fn why(before: Option<&History>, position: usize, name: &str, inputs: &Inputs) -> String {
    let Some(before) = before else { return "first bake".into() };
    let same = |at: usize| before.0.get(at).filter(|(known, _)| known == name);
    let known = same(position).or_else(|| before.0.iter().find(|(known, _)| known == name));
    let Some((_, old)) = known else { return "new or changed step".into() };
    let mut changes: Vec<String> = Vec::new();
    for (input, value) in inputs {
        match old.get(input) {
            Some(same) if same == value => {}
            Some(_) => changes.push(format!("{input} changed")),
            None => changes.push(format!("{input} is new")),
        }
    }
    changes.extend(
        old.keys().filter(|input| !inputs.contains_key(*input)).map(|input| format!("{input} is gone")),
    );
    match changes.as_slice() {
        [] => "its layer is no longer in the store".into(),
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        few => few.join(", "),
    }
}

fn write<T: Serialize>(store: &Store, path: &Path, value: &T) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(value)
        .map_err(|source| StoreError::Document { what: "a cache record".into(), source })?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(at("make folder", folder))?;
    }
    store.replace(path, &bytes, false)
}
