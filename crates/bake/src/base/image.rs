//! A base that is another image: from a registry, pinned in the lock, or from a layout or archive on disk.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kiln_model::{Digest, OciBase};
use kiln_registry::client::{self, Choice, Client, Options, Place, PullPlan, RegistryError};
use kiln_registry::name::ImageReference;
use kiln_store::oci::{self, Descriptor, History};
use kiln_store::{Image, Store};

use super::{Source, Start};
use crate::BakeError;
use crate::bake::{Kitchen, Making};
use crate::cache::{Inputs, KeyMaker, Made};
use crate::lock::OciPin;
use crate::request::{BakeRequest, Event, Progress};
use crate::runtime::block_on;
use crate::skeleton::Bones;

/// The path of a base on disk; `None` when the text is a registry's reference.
pub(super) fn on_disk(base: &OciBase, spec: &Path) -> Option<PathBuf> {
    let text = &base.reference;
    let plain = ["./", "../", "/"].iter().any(|start| text.starts_with(start));
    let archive = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| text.ends_with(end));
    let first = text.split(':').next().unwrap_or_default();
    (plain || archive || spec.join(first).join("oci-layout").is_file()).then(|| spec.join(text))
}

/// Asks the registry what a reference stands for today.
pub(super) fn resolve(
    request: &BakeRequest<'_>,
    base: &OciBase,
    progress: &dyn Progress,
) -> Result<OciPin, RegistryError> {
    let reference = client::parse(&base.reference)?;
    if let Some(digest) = reference.digest.and_then(|digest| digest.as_sha256()) {
        return Ok(OciPin { reference: base.reference.clone(), digest });
    }
    if request.offline {
        return Err(RegistryError::Offline { reference: base.reference.clone() });
    }
    progress.event(Event::Pull { what: &base.reference, bytes: 0 });
    let client = Client::new(Options::default())?;
    let (place, name) = (Place::of(&reference), reference.reference());
    let document = online(|| client.manifest(&place, &name))?;
    request.store.put_bytes(&document.bytes)?;
    Ok(OciPin { reference: base.reference.clone(), digest: document.descriptor.digest })
}

/// Imports a base from disk.
pub(super) fn from_disk(kitchen: &mut Kitchen<'_>, path: &Path, reference: &str) -> Result<Start, BakeError> {
    let store = kitchen.request.store;
    // Reading an archive of a gigabyte for every bake would be a pity.
    let known = kitchen.hashes.digest(path).ok().flatten().filter(|_| path.is_file());
    let record = known.map(|(digest, _)| store.cache().join("imports").join(digest.hex()));
    let remembered: Option<Descriptor> = record
        .as_ref()
        .and_then(|record| serde_json::from_slice(&std::fs::read(record).ok()?).ok())
        .filter(|image: &Descriptor| complete(store, &image.digest));
    let image = match remembered {
        Some(image) => image,
        None => {
            let image = store.import(path)?;
            if let Some(record) = record {
                let bytes = serde_json::to_vec(&image).map_err(BakeError::json("a cache record"))?;
                let _ = std::fs::create_dir_all(store.cache().join("imports"));
                store.replace(&record, &bytes, false)?;
            }
            image
        }
    };
    start(store.image(&image.digest)?, image.digest, reference)
}

/// Whether all of an image is in the store.
fn complete(store: &Store, manifest: &Digest) -> bool {
    store.has(manifest)
        && store
            .image(manifest)
            .is_ok_and(|image| image.manifest.layers.iter().all(|layer| store.has_sized(layer)))
}

/// Gets a pinned base from the store, or from its registry.
pub(super) fn from_registry(kitchen: &Kitchen<'_>, pin: &OciPin) -> Result<Start, BakeError> {
    let request = kitchen.request;
    let fault = |source: RegistryError| BakeError::Base {
        reference: pin.reference.clone(),
        source: Box::new(source),
    };
    let manifest = pull(request, pin, kitchen.progress).map_err(fault)?;
    start(request.store.image(&manifest)?, manifest, &pin.reference)
}

/// The digest of the manifest for this machine, which is in the store then with all its blobs. What is there already
/// is not asked for.
fn pull(request: &BakeRequest<'_>, pin: &OciPin, progress: &dyn Progress) -> Result<Digest, RegistryError> {
    let name = ImageReference { digest: Some(pin.digest.into()), ..client::parse(&pin.reference)? };
    let known = online(|| PullPlan::of_store(&name, request.store, &Choice::Host))?;
    if let Some(plan) = known.filter(PullPlan::is_empty) {
        return Ok(plan.image().digest);
    }
    if request.offline {
        return Err(RegistryError::Offline { reference: pin.reference.clone() });
    }
    let client = Client::new(Options::default())?;
    let pulled = online(|| async {
        let plan = client.plan_pull(&name, request.store, &Choice::Host).await?;
        if !plan.is_empty() {
            progress.event(Event::Pull { what: &pin.reference, bytes: plan.bytes() });
        }
        client.fetch(&plan, request.store, &client::Progress::none()).await
    })?;
    Ok(pulled.image.digest)
}

fn online<T: Send, F: Future<Output = Result<T, RegistryError>>>(
    act: impl FnOnce() -> F + Send,
) -> Result<T, RegistryError> {
    block_on(act).map_err(|error| RegistryError::Client { reason: error.to_string() })?
}

fn start(image: Image, manifest: Digest, reference: &str) -> Result<Start, BakeError> {
    let file = &image.file;
    let layers = image.layers.len();
    let real = file.history.iter().filter(|step| !step.empty_layer).count();
    let history = if real == layers {
        file.history.clone()
    } else {
        vec![History { created_by: Some(format!("base {reference}")), ..History::default() }; layers]
    };
    Ok(Start {
        epoch: None,
        execution: file.config.clone(),
        architecture: file.architecture.clone(),
        variant: file.variant.clone(),
        history,
        source: Source::Image { image: Box::new(image), manifest, reference: reference.into() },
    })
}

/// The base's layers as they are.
pub(super) fn lay(
    kitchen: &mut Kitchen<'_>,
    making: &mut Making<'_>,
    image: &Image,
    manifest: Digest,
    reference: &str,
) -> Result<(), BakeError> {
    let begun = Instant::now();
    let name = format!("base {reference}");
    kitchen.announce(making, &name);
    let mut maker = KeyMaker::new("base");
    maker.part("manifest", manifest.as_bytes());
    let inputs = Inputs::from([("the base image".to_owned(), manifest.to_string())]);
    kitchen.step(making, begun, name, maker.key(), inputs, |kitchen, making, _| {
        let tree = kitchen.request.store.layers_tree(&image.layers)?;
        let mut layers = image.layers.clone();
        for layer in &mut layers {
            if layer.blob.media_type == oci::DOCKER_LAYER {
                layer.blob.media_type = oci::LAYER_GZIP.into();
            }
        }
        Ok(Made { layers, bones: Bones::of(&tree, &making.skeleton) })
    })?;
    // The base tells its own history.
    making.forget_history();
    Ok(())
}
