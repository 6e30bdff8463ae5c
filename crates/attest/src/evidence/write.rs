//! Evidence into a store. Equal evidence is equal bytes as far as the key allows it: Ed25519 does, and so does ECDSA
//! here (RFC 6979).

use std::collections::BTreeMap;

use base64::Engine as _;
use kiln_model::Digest;
use kiln_store::oci::{self, Descriptor, Manifest};
use kiln_store::{Staged, Store};
use serde_json::{Value, json};

use super::{
    AttestError, CREATED_ANNOTATION, PREDICATE_TYPE_ANNOTATION, SIGNATURE_ANNOTATION, SIGNATURE_ARTIFACT,
    SIMPLE_SIGNING, stored, unwritten,
};
use crate::dsse::{BASE64, ENVELOPE, Envelope, IN_TOTO};
use crate::keys::Signer;
use crate::predicate::Predicate;
use crate::statement::Statement;
use crate::time;

/// Writes a signed statement about an image of the store and lists it among the image's referrers. Returns the
/// digest of its manifest. `now_ms` is only what the manifest's annotation says; what counts is the time in the
/// predicate.
pub fn attest(
    store: &Store,
    image: &Digest,
    predicate: &Predicate,
    signer: &dyn Signer,
    now_ms: u64,
) -> Result<Digest, AttestError> {
    let json = unwritten(image);
    let statement =
        Statement::about(image, predicate).and_then(|one| serde_json::to_vec(&one)).map_err(&json)?;
    let envelope = Envelope::sign(IN_TOTO, &statement, signer)
        .map_err(|source| AttestError::Sign { image: *image, source })?;
    let bytes = serde_json::to_vec(&envelope).map_err(&json)?;
    let kind = BTreeMap::from([(PREDICATE_TYPE_ANNOTATION.to_owned(), predicate.type_uri().to_owned())]);
    let mut annotations = kind.clone();
    annotations.insert(CREATED_ANNOTATION.into(), time::write(now_ms));
    // cosign reads no layer without this annotation, and looks for the signature inside when it is empty.
    let mut layer = kind;
    layer.insert(SIGNATURE_ANNOTATION.into(), String::new());
    let artifact = Artifact { kind: IN_TOTO, media_type: ENVELOPE, bytes: &bytes, layer, annotations };
    write(store, image, artifact)
}

/// Signs an image of the store as cosign does and lists the signature among the image's referrers. `reference` is
/// what the image is called where it will be verified (`registry.example/app/web`); `annotations` are signed too.
/// Returns the digest of the manifest. Signing the same again with the same key writes nothing new.
///
/// In a registry, cosign looks for signatures under the tag `sha256-<hex of the image>.sig`: see
/// [`cosign_signatures`](super::cosign_signatures).
pub fn sign_image(
    store: &Store,
    image: &Digest,
    reference: &str,
    signer: &dyn Signer,
    annotations: &BTreeMap<String, String>,
) -> Result<Digest, AttestError> {
    let payload =
        serde_json::to_vec(&simple_signing(image, reference, annotations)).map_err(unwritten(image))?;
    let signature = signer.sign(&payload).map_err(|source| AttestError::Sign { image: *image, source })?;
    let layer = BTreeMap::from([(SIGNATURE_ANNOTATION.to_owned(), BASE64.encode(signature))]);
    let artifact = Artifact {
        kind: SIGNATURE_ARTIFACT,
        media_type: SIMPLE_SIGNING,
        bytes: &payload,
        layer,
        annotations: BTreeMap::new(),
    };
    write(store, image, artifact)
}

/// What cosign signs. Source: sigstore/cosign, specs/SIGNATURE_SPEC.md; containers/image, "simple signing".
fn simple_signing(image: &Digest, reference: &str, annotations: &BTreeMap<String, String>) -> Value {
    let optional = if annotations.is_empty() { Value::Null } else { json!(annotations) };
    json!({
        "critical": {
            "identity": { "docker-reference": reference },
            "image": { "docker-manifest-digest": image },
            "type": "cosign container image signature",
        },
        "optional": optional,
    })
}

struct Artifact<'a> {
    kind: &'a str,
    media_type: &'a str,
    bytes: &'a [u8],
    layer: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn write(store: &Store, image: &Digest, artifact: Artifact<'_>) -> Result<Digest, AttestError> {
    let failed = stored("write", image);
    let subject = describe(store, image)?;
    let document = store.stage_bytes(artifact.bytes).map_err(&failed)?;
    let empty = store.stage_bytes(oci::EMPTY_BYTES).map_err(&failed)?;
    let mut layer = of(artifact.media_type, &document);
    layer.annotations = artifact.layer;
    let mut manifest = Manifest::new(of(oci::EMPTY, &empty), vec![layer]);
    manifest.artifact_type = Some(artifact.kind.into());
    manifest.subject = Some(subject);
    manifest.annotations = artifact.annotations;
    let bytes = serde_json::to_vec(&manifest).map_err(unwritten(image))?;
    let staged = store.stage_bytes(&bytes).map_err(&failed)?;
    let listed = of(oci::MANIFEST, &staged);
    store.commit(vec![document, empty, staged]).map_err(&failed)?;
    store.add_referrer(&listed, image).map_err(&failed)?;
    Ok(listed.digest)
}

fn of(media_type: &str, staged: &Staged) -> Descriptor {
    Descriptor::new(media_type, staged.digest(), staged.size())
}

/// The descriptor of a manifest of the store.
fn describe(store: &Store, image: &Digest) -> Result<Descriptor, AttestError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let bytes = store.read_verified(image).map_err(stored("write", image))?;
    let typed: Typed = serde_json::from_slice(&bytes).map_err(|source| {
        stored("write", image)(kiln_store::StoreError::Document { what: format!("manifest {image}"), source })
    })?;
    let media_type = typed.media_type.unwrap_or_else(|| oci::MANIFEST.into());
    Ok(Descriptor::new(&media_type, *image, bytes.len() as u64))
}
