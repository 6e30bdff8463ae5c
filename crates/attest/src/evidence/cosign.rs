//! Evidence in the form in which cosign 2 finds it in a registry: one manifest with all signatures under the tag
//! `sha256-<hex>.sig`, one with all attestations under `sha256-<hex>.att`.

use kiln_model::Digest;
use kiln_store::Store;
use kiln_store::oci::{self, Descriptor, Manifest};

use super::{AttestError, SIGNATURE_ANNOTATION, SIMPLE_SIGNING, stored, unwritten};
use crate::dsse::ENVELOPE;

/// Puts all signatures of an image into one manifest, to be tagged `sha256-<hex>.sig` in a registry. None when the
/// image has no signature. The manifest is a blob of the store that nothing refers to: push it soon.
pub fn cosign_signatures(store: &Store, image: &Digest) -> Result<Option<Digest>, AttestError> {
    gather(store, image, SIMPLE_SIGNING)
}

/// Puts all attestations of an image into one manifest, to be tagged `sha256-<hex>.att` in a registry. None when
/// the image has no attestation. The manifest is a blob of the store that nothing refers to: push it soon.
pub fn cosign_attestations(store: &Store, image: &Digest) -> Result<Option<Digest>, AttestError> {
    gather(store, image, ENVELOPE)
}

fn gather(store: &Store, image: &Digest, media_type: &str) -> Result<Option<Digest>, AttestError> {
    let failed = stored("read", image);
    let mut layers: Vec<Descriptor> = Vec::new();
    for referrer in store.referrers(image).map_err(&failed)? {
        let Ok(manifest) = store.read_json::<Manifest>(&referrer.digest) else { continue };
        for mut layer in manifest.layers.into_iter().filter(|layer| layer.media_type == media_type) {
            if media_type == ENVELOPE {
                layer.annotations.entry(SIGNATURE_ANNOTATION.into()).or_default();
            }
            // The same payload signed by two keys is one blob with two signatures: two layers.
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
    }
    if layers.is_empty() {
        return Ok(None);
    }
    // cosign pushes its own with a configuration that lists the layers; it asks of others only that there is one.
    let (config, size) = store.put_bytes(oci::EMPTY_BYTES).map_err(&failed)?;
    let manifest = Manifest::new(Descriptor::new(oci::EMPTY, config, size), layers);
    let bytes = serde_json::to_vec(&manifest).map_err(unwritten(image))?;
    let (digest, _) = store.put_bytes(&bytes).map_err(&failed)?;
    Ok(Some(digest))
}
