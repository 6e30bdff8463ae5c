//! Evidence written and read again; what is wrong with it is told.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use kiln_attest::dsse::{ENVELOPE, Envelope, IN_TOTO};
use kiln_attest::evidence::{Claim, Evidence, attest, cosign_attestations, evidence, sign_image};
use kiln_attest::keys::{Algorithm, PrivateKey, TrustedKeys};
use kiln_attest::predicate::{Outcome, Predicate, TestOutcome};
use kiln_attest::statement::Statement;
use kiln_model::Digest;
use kiln_store::oci::{self, Descriptor, Manifest};
use kiln_store::{Format, Store};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use crate::kit::{
    NOW, approved, built, key, name, put_image, scanned, soaked, store_with_image, tested, trust,
};

fn all_kinds() -> Vec<Predicate> {
    vec![
        built(NOW),
        tested(TestOutcome::Warned, NOW),
        scanned(Some(Outcome::Warn), NOW),
        approved("prod", "alice", NOW),
        soaked("staging", NOW - 60_000, NOW, 0),
        Predicate::from_json("https://spdx.dev/Document", json!({"spdxVersion": "SPDX-2.3"})).unwrap(),
        Predicate::from_json("https://example.org/custom/v1", json!({"any": [1, "thing"]})).unwrap(),
    ]
}

fn only(store: &Store, image: &Digest, keys: &TrustedKeys) -> Evidence {
    let found = evidence(store, image, keys).unwrap();
    let [one] = found.as_slice() else { panic!("one is expected: {found:?}") };
    one.clone()
}

/// Lists a document of this type as evidence about an image.
fn put(store: &Store, image: &Digest, media_type: &str, bytes: &[u8]) {
    let (empty, size) = store.put_bytes(oci::EMPTY_BYTES).unwrap();
    let (layer, length) = store.put_bytes(bytes).unwrap();
    let layers = vec![Descriptor::new(media_type, layer, length)];
    let manifest = Manifest::new(Descriptor::new(oci::EMPTY, empty, size), layers);
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&manifest).unwrap()).unwrap();
    store.add_referrer(&Descriptor::new(oci::MANIFEST, digest, size), image).unwrap();
}

fn problem(store: &Store, image: &Digest, key: &PrivateKey) -> String {
    let one = only(store, image, &trust(&[("ci", key)]));
    assert!(one.signers.is_empty() && !one.verified());
    one.problem.unwrap()
}

#[test]
fn what_is_attested_is_read_again_with_its_signer_and_its_time() {
    let (_folder, store, image) = store_with_image();
    let key = key(Algorithm::EcdsaP256);
    for predicate in all_kinds() {
        attest(&store, &image, &predicate, &key, NOW).unwrap();
    }
    let found = evidence(&store, &image, &trust(&[("ci", &key)])).unwrap();
    assert_eq!(found.len(), 7);
    for predicate in all_kinds() {
        let one = found.iter().find(|one| one.claim == Claim::Attestation(predicate.clone()));
        let one = one.unwrap_or_else(|| panic!("{predicate:?} is not in {found:?}"));
        assert_eq!((one.verified(), one.image, &one.signers), (true, Some(image), &vec![name("ci")]));
        assert_eq!(one.at_ms, predicate.at_ms());
    }
}

#[test]
fn equal_evidence_is_equal_bytes() {
    let (_folder, store, image) = store_with_image();
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let key = key(algorithm);
        for predicate in all_kinds() {
            let one = attest(&store, &image, &predicate, &key, NOW).unwrap();
            assert_eq!(attest(&store, &image, &predicate, &key, NOW).unwrap(), one);
        }
        let one = sign_image(&store, &image, "web", &key, &BTreeMap::new()).unwrap();
        assert_eq!(sign_image(&store, &image, "web", &key, &BTreeMap::new()).unwrap(), one);
    }
    assert_eq!(store.referrers(&image).unwrap().len(), 16);
}

#[test]
fn a_manifest_of_evidence_is_what_the_specifications_ask_for() {
    let (_folder, store, image) = store_with_image();
    let key = key(Algorithm::EcdsaP256);
    let digest = attest(&store, &image, &approved("prod", "alice", NOW), &key, NOW).unwrap();
    let manifest: Manifest = store.read_json(&digest).unwrap();
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.in-toto+json"));
    assert_eq!(manifest.config.media_type, oci::EMPTY);
    assert_eq!(manifest.subject.as_ref().unwrap().digest, image);
    assert_eq!(manifest.annotations["predicateType"], "https://kiln.dev/attestation/approval/v1");
    assert_eq!(manifest.annotations["org.opencontainers.image.created"], "2027-01-15T08:00:00Z");
    let envelope: Envelope = store.read_json(&manifest.layers[0].digest).unwrap();
    let statement = Statement::from_bytes(&envelope.payload_bytes().unwrap()).unwrap();
    assert!(statement.names(&image));
    assert_eq!(statement.kind, "https://in-toto.io/Statement/v1");
}

#[test]
fn provenance_has_the_shape_of_slsa() {
    let json = built(NOW).to_json().unwrap();
    assert_eq!(json["buildDefinition"]["buildType"], "https://kiln.dev/build/bake/v1");
    assert_eq!(json["buildDefinition"]["resolvedDependencies"][0]["digest"]["sha256"], "09".repeat(32));
    assert_eq!(json["runDetails"]["builder"]["id"], "https://kiln.dev/builder/local");
    assert_eq!(json["runDetails"]["metadata"]["finishedOn"], "2027-01-15T08:00:00Z");
    let scan = scanned(Some(Outcome::Fail), NOW).to_json().unwrap();
    assert_eq!(scan["scanner"]["db"]["lastUpdate"], "2027-01-15T07:59:59Z");
    assert_eq!(scan["metadata"]["scanFinishedOn"], "2027-01-15T08:00:00Z");
    assert_eq!(scan["kiln"]["outcome"], "fail");
    assert_eq!(tested(TestOutcome::Passed, NOW).to_json().unwrap()["result"], "PASSED");
}

#[test]
fn a_key_that_is_not_trusted_counts_for_nothing_and_is_told() {
    let (_folder, store, image) = store_with_image();
    let (mine, stranger) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    attest(&store, &image, &approved("prod", "alice", NOW), &stranger, NOW).unwrap();
    let one = only(&store, &image, &trust(&[("ci", &mine)]));
    assert!(!one.verified() && one.signers.is_empty());
    let problem = one.problem.unwrap();
    assert!(problem.contains("no trusted key") && problem.contains(&stranger.public().id()), "{problem}");
    assert_eq!(one.claim, Claim::Attestation(approved("prod", "alice", NOW)), "what it would say is shown");
}

#[test]
fn evidence_about_another_image_counts_for_nothing() {
    let (_folder, store, image) = store_with_image();
    let other = put_image(&store, "other");
    let key = key(Algorithm::Ed25519);
    let statement = Statement::about(&other, &approved("prod", "alice", NOW)).unwrap();
    let bytes = serde_json::to_vec(&statement).unwrap();
    let envelope = Envelope::sign(IN_TOTO, &bytes, &key).unwrap();
    put(&store, &image, ENVELOPE, &serde_json::to_vec(&envelope).unwrap());
    let problem = problem(&store, &image, &key);
    assert!(problem.contains(&other.to_string()), "{problem}");
}

#[test]
fn a_payload_does_not_pass_under_another_type() {
    let (_folder, store, image) = store_with_image();
    let key = key(Algorithm::Ed25519);
    let statement = Statement::about(&image, &approved("prod", "alice", NOW)).unwrap();
    let bytes = serde_json::to_vec(&statement).unwrap();
    let mut envelope = Envelope::sign("text/plain", &bytes, &key).unwrap();
    envelope.payload_type = IN_TOTO.into();
    put(&store, &image, ENVELOPE, &serde_json::to_vec(&envelope).unwrap());
    assert!(problem(&store, &image, &key).contains("no trusted key"));
}

#[test]
fn what_cannot_be_read_is_told_each_with_its_reason() {
    let key = key(Algorithm::EcdsaP256);
    let payload = |value: serde_json::Value| {
        let bytes = serde_json::to_vec(&value).unwrap();
        serde_json::to_vec(&Envelope::sign(IN_TOTO, &bytes, &key).unwrap()).unwrap()
    };
    let about = json!([{"digest": {"sha256": "00"}}]);
    let cases: [(&str, Vec<u8>, &str); 6] = [
        (ENVELOPE, b"nonsense".to_vec(), "not a DSSE envelope"),
        (ENVELOPE, payload(json!({"_type": "x"})), "not an in-toto statement"),
        (ENVELOPE, payload(json!({"_type": "x", "subject": [], "predicateType": "y"})), "does not read"),
        ("application/x-strange", b"?".to_vec(), "application/x-strange"),
        ("application/vnd.dev.cosign.simplesigning.v1+json", b"{}".to_vec(), "not a payload of cosign's"),
        (
            ENVELOPE,
            payload(json!({"_type": "https://in-toto.io/Statement/v1", "subject": about,
                "predicateType": "https://kiln.dev/attestation/soak/v1", "predicate": {}})),
            "soak/v1 must",
        ),
    ];
    for (media_type, bytes, words) in cases {
        let (_folder, store, image) = store_with_image();
        put(&store, &image, media_type, &bytes);
        let problem = problem(&store, &image, &key);
        assert!(problem.contains(words), "{words}: {problem}");
    }
    // A document that is gone.
    let (_folder, store, image) = store_with_image();
    put(&store, &image, ENVELOPE, b"gone");
    let manifest: Manifest = store.read_json(&store.referrers(&image).unwrap()[0].digest).unwrap();
    std::fs::remove_file(store.blob_path(&manifest.layers[0].digest)).unwrap();
    assert!(problem(&store, &image, &key).contains("holds no blob"));
}

#[test]
fn an_envelope_with_two_signers_names_both() {
    let (_folder, store, image) = store_with_image();
    let (one, two) = (key(Algorithm::EcdsaP256), key(Algorithm::Ed25519));
    let bytes = serde_json::to_vec(&Statement::about(&image, &built(NOW)).unwrap()).unwrap();
    let mut envelope = Envelope::sign(IN_TOTO, &bytes, &one).unwrap();
    envelope.countersign(&two).unwrap();
    put(&store, &image, ENVELOPE, &serde_json::to_vec(&envelope).unwrap());
    let found = only(&store, &image, &trust(&[("two", &two), ("one", &one)]));
    assert_eq!(found.signers, [name("one"), name("two")]);
    assert_eq!(only(&store, &image, &trust(&[("two", &two)])).signers, [name("two")]);
}

#[test]
fn a_bundle_of_sigstores_is_read() {
    let (_folder, store, image) = store_with_image();
    let key = key(Algorithm::EcdsaP256);
    let sign = Predicate::from_json("https://sigstore.dev/cosign/sign/v1", json!({})).unwrap();
    let bytes = serde_json::to_vec(&Statement::about(&image, &sign).unwrap()).unwrap();
    let envelope = Envelope::sign(IN_TOTO, &bytes, &key).unwrap();
    let media_type = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let bundle = json!({"mediaType": media_type, "verificationMaterial": {}, "dsseEnvelope": envelope});
    put(&store, &image, media_type, &serde_json::to_vec(&bundle).unwrap());
    let found = only(&store, &image, &trust(&[("ci", &key)]));
    assert!(found.verified() && matches!(found.claim, Claim::Signature(_)), "{found:?}");
}

#[test]
fn evidence_still_verifies_in_another_store() {
    let (folder, store, image) = store_with_image();
    let key = key(Algorithm::EcdsaP256);
    attest(&store, &image, &built(NOW), &key, NOW).unwrap();
    sign_image(&store, &image, "web", &key, &BTreeMap::new()).unwrap();
    let path = folder.path().join("web.tar");
    store.export(&image, Format::OciArchive, &path, Some("web")).unwrap();
    let other = Store::open(&folder.path().join("other")).unwrap();
    other.import(&path).unwrap();
    let keys = trust(&[("ci", &key)]);
    let found = evidence(&other, &image, &keys).unwrap();
    assert_eq!(found, evidence(&store, &image, &keys).unwrap());
    assert!(found.len() == 2 && found.iter().all(Evidence::verified), "{found:?}");
    assert!(cosign_attestations(&other, &image).unwrap().is_some());
}

static SHARED: LazyLock<(TempDir, Store, Digest)> = LazyLock::new(store_with_image);

proptest! {
    /// Any byte of an envelope changed: the evidence does not count, or says and counts what it did before
    /// (the key's name in it is nobody's word).
    #[test]
    fn a_changed_envelope_never_counts_for_something_else(at in 0_usize..2000, to in any::<u8>()) {
        let (_, store, image) = &*SHARED;
        let key = key(Algorithm::Ed25519);
        let predicate = approved("prod", "alice", NOW);
        let bytes = serde_json::to_vec(&Statement::about(image, &predicate).unwrap()).unwrap();
        let mut bytes = serde_json::to_vec(&Envelope::sign(IN_TOTO, &bytes, &key).unwrap()).unwrap();
        let at = at % bytes.len();
        bytes[at] = to;
        put(store, image, ENVELOPE, &bytes);
        let found = only(store, image, &trust(&[("ci", &key)]));
        store.remove_referrers(&HashSet::from([found.manifest]), image).unwrap();
        prop_assert!(!found.verified() || found.claim == Claim::Attestation(predicate));
        prop_assert_eq!(found.verified(), found.problem.is_none());
    }

    #[test]
    fn no_predicate_is_too_strange(kind in 0_usize..5, text in ".{0,80}", number in any::<i64>()) {
        let kinds = all_kinds();
        let value = json!({"result": text, "scanner": {"uri": number}, "atMs": number, "kiln": {"outcome": text}});
        let _ = Predicate::from_json(kinds[kind].type_uri(), value);
    }
}
