//! Evidence out of a store, verified. Whatever is listed about an image is told of: what cannot be read or does not
//! verify says why and counts for nothing.

use std::collections::BTreeMap;

use base64::Engine as _;
use kiln_model::Digest;
use kiln_store::Store;
use kiln_store::oci::{Descriptor, Manifest};
use serde::Deserialize;
use serde_json::Value;

use super::{
    AttestError, BUNDLE, Claim, Evidence, ImageSignature, SIGNATURE_ANNOTATION, SIMPLE_SIGNING, stored,
};
use crate::dsse::{BASE64, ENVELOPE, Envelope, IN_TOTO};
use crate::keys::TrustedKeys;
use crate::predicate::Predicate;
use crate::statement::Statement;
use crate::text::short;

/// One manifest of evidence holds at most this many documents.
const LAYERS: usize = 1_000;
/// Documents about one image are read up to this many bytes in all: a bill of materials of 5,000 packages has 5 MB.
const BYTES: u64 = 256 << 20;
/// What cosign 3 says in place of a simple signing payload.
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// All evidence about an image, in the order of its manifests' digests, verified with the keys that are trusted.
/// Fails only when the store itself cannot be read.
pub fn evidence(store: &Store, image: &Digest, keys: &TrustedKeys) -> Result<Vec<Evidence>, AttestError> {
    let mut reader = Reader { store, image, keys, left: BYTES };
    let mut all = Vec::new();
    for referrer in store.referrers(image).map_err(stored("read", image))? {
        let blank = Evidence {
            manifest: referrer.digest,
            document: None,
            image: None,
            claim: Claim::Unreadable,
            signers: Vec::new(),
            problem: None,
            at_ms: None,
        };
        match reader.manifest(&referrer) {
            Ok(layers) => all.extend(layers.iter().map(|layer| reader.layer(layer, &blank))),
            Err(problem) => all.push(Evidence { problem: Some(problem), ..blank }),
        }
    }
    Ok(all)
}

struct Reader<'a> {
    store: &'a Store,
    image: &'a Digest,
    keys: &'a TrustedKeys,
    left: u64,
}

/// What a document would say, before anybody asks who signed it.
struct Said {
    image: Option<Digest>,
    claim: Claim,
    /// What is wrong with what it says.
    problem: Option<String>,
}

impl Reader<'_> {
    fn manifest(&self, referrer: &Descriptor) -> Result<Vec<Descriptor>, String> {
        let manifest: Manifest = self.store.read_json(&referrer.digest).map_err(|error| in_words(&error))?;
        match manifest.layers.len() {
            0 => Err("it holds no document".into()),
            1..=LAYERS => Ok(manifest.layers),
            many => Err(format!("it holds {many} documents, more than {LAYERS}")),
        }
    }

    fn layer(&mut self, layer: &Descriptor, blank: &Evidence) -> Evidence {
        let mut found = Evidence { document: Some(layer.digest), ..blank.clone() };
        let read = self.bytes(layer).and_then(|bytes| match layer.media_type.as_str() {
            SIMPLE_SIGNING => self.signature(layer, &bytes, &mut found),
            ENVELOPE => self.envelope(&parse(&bytes, "a DSSE envelope")?, &mut found),
            BUNDLE => {
                let bundle: Bundle = parse(&bytes, "a sigstore bundle with a DSSE envelope")?;
                self.envelope(&bundle.dsse_envelope, &mut found)
            }
            other => Err(format!("it is a {}, which Kiln does not read", short(other))),
        });
        if let Err(problem) = read {
            found.problem = Some(problem);
            found.signers.clear();
        }
        found
    }

    fn bytes(&mut self, layer: &Descriptor) -> Result<Vec<u8>, String> {
        self.left = self.left.checked_sub(layer.size).ok_or("there is too much evidence to read it all")?;
        let bytes = self.store.read_verified(&layer.digest).map_err(|error| in_words(&error))?;
        if bytes.len() as u64 != layer.size {
            return Err(format!("its manifest says {} bytes, it has {}", layer.size, bytes.len()));
        }
        Ok(bytes)
    }

    fn signature(&self, layer: &Descriptor, payload: &[u8], found: &mut Evidence) -> Result<(), String> {
        let simple: SimpleSigning = parse(payload, "a payload of cosign's")?;
        found.image = Some(simple.critical.image.digest);
        found.claim = Claim::Signature(ImageSignature {
            reference: simple.critical.identity.reference,
            annotations: words(simple.optional),
        });
        let signature = layer.annotations.get(SIGNATURE_ANNOTATION).and_then(|text| BASE64.decode(text).ok());
        let signature = signature.ok_or("its layer has no signature beside it")?;
        found.signers = self.keys.verify(payload, &signature);
        if found.signers.is_empty() {
            return Err("no trusted key made the signature".into());
        }
        self.about(simple.critical.image.digest == *self.image, found)
    }

    fn envelope(&self, envelope: &Envelope, found: &mut Evidence) -> Result<(), String> {
        let payload = envelope.payload_bytes().map_err(|error| error.to_string())?;
        if envelope.payload_type != IN_TOTO {
            return Err(format!(
                "its payload is a {}, not an in-toto statement",
                short(&envelope.payload_type)
            ));
        }
        let statement = Statement::from_bytes(&payload).map_err(|error| error.to_string())?;
        let about = statement.names(self.image);
        let said = said(statement, about.then_some(*self.image));
        found.image = said.image;
        found.at_ms = match &said.claim {
            Claim::Attestation(predicate) => predicate.at_ms(),
            Claim::Signature(_) | Claim::Unreadable => None,
        };
        found.claim = said.claim;
        (_, found.signers) = envelope.verify(self.keys).map_err(|error| error.to_string())?;
        match said.problem {
            Some(problem) => Err(problem),
            None => self.about(about, found),
        }
    }

    fn about(&self, fits: bool, found: &Evidence) -> Result<(), String> {
        match found.image {
            _ if fits => Ok(()),
            Some(other) => Err(format!("it is about {other}, not about this image")),
            None => Err("it is not about this image".into()),
        }
    }
}

fn said(statement: Statement, image: Option<Digest>) -> Said {
    let image = image.or_else(|| statement.first());
    let kind = statement.predicate_type;
    if kind == COSIGN_SIGN {
        return Said { image, claim: Claim::Signature(ImageSignature::default()), problem: None };
    }
    match Predicate::from_json(&kind, statement.predicate.clone()) {
        Ok(predicate) => Said { image, claim: Claim::Attestation(predicate), problem: None },
        Err(error) => Said {
            image,
            problem: Some(format!("it does not hold what a {kind} must: {}", short(&error.to_string()))),
            claim: Claim::Attestation(Predicate::Other {
                predicate_type: kind,
                predicate: statement.predicate,
            }),
        },
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
struct SimpleSigning {
    critical: Critical,
    #[serde(default)]
    optional: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Critical {
    #[serde(default)]
    identity: Identity,
    image: SignedImage,
}

#[derive(Default, Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference", default)]
    reference: String,
}

#[derive(Deserialize)]
struct SignedImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("it is not {what}: {}", short(&error.to_string())))
}

fn words(optional: Option<BTreeMap<String, Value>>) -> BTreeMap<String, String> {
    let word = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    optional.unwrap_or_default().into_iter().map(|(name, value)| (name, word(value))).collect()
}

/// An error with its causes on one line.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
