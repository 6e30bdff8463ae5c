//! cosign and the Python in-toto library against Kiln, both ways.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kiln_attest::evidence::{Claim, attest, cosign_attestations, cosign_signatures, evidence, sign_image};
use kiln_attest::keys::{Algorithm, Folder, PrivateKey, Signer};
use kiln_attest::predicate::{Outcome, Predicate, TestOutcome};
use kiln_model::Digest;
use kiln_store::Store;
use kiln_store::oci::Manifest;
use tempfile::TempDir;

use crate::kit::{
    NOW, approved, built, has_program, key, name, put_image, run, scanned, store_with_image, tested, text,
    trust, try_run,
};
use crate::registry::Registry;

const REPOSITORY: &str = "app/web";

fn all_here() -> bool {
    ["cosign", "docker-registry", "skopeo", "curl"].into_iter().all(has_program)
}

struct Bench {
    folder: TempDir,
    store: Store,
    image: Digest,
    registry: Registry,
}

impl Bench {
    fn new() -> Self {
        let (folder, store, image) = store_with_image();
        let registry = Registry::start();
        registry.push_image(&store, "web", REPOSITORY);
        Self { folder, store, image, registry }
    }

    fn reference(&self) -> String {
        format!("{}/{REPOSITORY}@{}", self.registry.address(), self.image)
    }

    fn tag(&self, kind: &str) -> String {
        format!("sha256-{}.{kind}", self.image.hex())
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn public(&self, name: &str, key: &PrivateKey) -> PathBuf {
        self.file(name, &key.public().to_pem())
    }

    /// What cosign says with these arguments, offline.
    fn cosign(&self, verb: &str, arguments: &[&str]) -> Result<String, String> {
        let reference = self.reference();
        let offline: &[&str] = match verb {
            "sign" | "attest" => &["--tlog-upload=false", "--allow-http-registry"],
            _ => &["--insecure-ignore-tlog=true", "--allow-http-registry"],
        };
        let all = [&[verb], offline, arguments, &[reference.as_str()]].concat();
        let output = try_run("cosign", &all);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(errors) }
    }
}

#[test]
fn cosign_accepts_kilns_signatures_and_no_others() {
    if !all_here() {
        return;
    }
    let bench = Bench::new();
    let (one, two, stranger) =
        (key(Algorithm::EcdsaP256), key(Algorithm::Ed25519), key(Algorithm::EcdsaP256));
    let said = BTreeMap::from([("commit".to_owned(), "abc".to_owned())]);
    let reference = format!("{}/{REPOSITORY}", bench.registry.address());
    let first = sign_image(&bench.store, &bench.image, &reference, &one, &said).unwrap();
    // One signature: its own manifest, with a subject, is what cosign reads.
    bench.registry.push(&bench.store, &first, REPOSITORY, &bench.tag("sig"));
    let (first_key, second_key) = (bench.public("one.pub", &one), bench.public("two.pub", &two));
    let found = bench.cosign("verify", &["--key", text(&first_key), "-a", "commit=abc"]).unwrap();
    assert!(found.contains(&bench.image.to_string()), "{found}");
    assert!(bench.cosign("verify", &["--key", text(&first_key), "-a", "commit=abd"]).is_err());
    assert!(bench.cosign("verify", &["--key", text(&second_key)]).is_err());
    // Two: both in one manifest.
    sign_image(&bench.store, &bench.image, &reference, &two, &said).unwrap();
    let both = cosign_signatures(&bench.store, &bench.image).unwrap().unwrap();
    bench.registry.push(&bench.store, &both, REPOSITORY, &bench.tag("sig"));
    for path in [&first_key, &second_key] {
        bench.cosign("verify", &["--key", text(path)]).unwrap();
    }
    let unknown = bench.public("stranger.pub", &stranger);
    assert!(bench.cosign("verify", &["--key", text(&unknown)]).is_err());
}

#[test]
fn cosign_accepts_kilns_attestations() {
    if !all_here() {
        return;
    }
    let bench = Bench::new();
    let (one, stranger) = (key(Algorithm::EcdsaP256), key(Algorithm::EcdsaP256));
    let bom =
        Predicate::from_json("https://cyclonedx.org/bom", serde_json::json!({"bomFormat": "CycloneDX"}));
    let all = [built(NOW), tested(TestOutcome::Passed, NOW), scanned(Some(Outcome::Pass), NOW), bom.unwrap()];
    for predicate in &all {
        attest(&bench.store, &bench.image, predicate, &one, NOW).unwrap();
    }
    let gathered = cosign_attestations(&bench.store, &bench.image).unwrap().unwrap();
    bench.registry.push(&bench.store, &gathered, REPOSITORY, &bench.tag("att"));
    let (path, unknown) = (bench.public("one.pub", &one), bench.public("stranger.pub", &stranger));
    for kind in ["slsaprovenance1", "cyclonedx", all[1].type_uri(), all[2].type_uri()] {
        let found = bench.cosign("verify-attestation", &["--key", text(&path), "--type", kind]).unwrap();
        assert!(found.contains("\"payloadType\":\"application/vnd.in-toto+json\""), "{found}");
        assert!(bench.cosign("verify-attestation", &["--key", text(&unknown), "--type", kind]).is_err());
    }
    assert!(bench.cosign("verify-attestation", &["--key", text(&path), "--type", "spdxjson"]).is_err());
}

#[test]
fn kiln_verifies_what_cosign_made_with_its_own_keys() {
    if !all_here() {
        return;
    }
    let bench = Bench::new();
    let prefix = bench.folder.path().join("theirs");
    run("cosign", &["generate-key-pair", "--output-key-prefix", text(&prefix)]);
    let private = prefix.with_extension("key");
    bench.cosign("sign", &["--key", text(&private), "-a", "who=cosign"]).unwrap();
    let claims = bench.file("result.json", r#"{"result":"PASSED","configuration":[]}"#);
    let kind = "https://in-toto.io/attestation/test-result/v0.1";
    let arguments = ["--key", text(&private), "--predicate", text(&claims), "--type", kind];
    bench.cosign("attest", &arguments).unwrap();
    for kind in ["sig", "att"] {
        let manifest = bench.registry.pull(&bench.store, REPOSITORY, &bench.tag(kind));
        bench.store.add_referrer(&manifest, &bench.image).unwrap();
    }
    let theirs = std::fs::read_to_string(&private).unwrap();
    let theirs = PrivateKey::from_pem(&theirs, Some(b"secret")).unwrap();
    assert_eq!(theirs.public().to_pem(), std::fs::read_to_string(prefix.with_extension("pub")).unwrap());
    let found = evidence(&bench.store, &bench.image, &trust(&[("theirs", &theirs)])).unwrap();
    assert_eq!(found.len(), 2);
    for one in &found {
        assert_eq!((one.signers.as_slice(), &one.problem), ([name("theirs")].as_slice(), &None));
        assert_eq!(one.image, Some(bench.image));
    }
    let signature = found.iter().find_map(|one| match &one.claim {
        Claim::Signature(signature) => Some(signature),
        _ => None,
    });
    assert_eq!(signature.unwrap().annotations["who"], "cosign");
    assert!(found.iter().any(|one| matches!(&one.claim, Claim::Attestation(Predicate::Tested(result))
        if result.outcome == TestOutcome::Passed)));
    let stranger = key(Algorithm::EcdsaP256);
    let untrusted = evidence(&bench.store, &bench.image, &trust(&[("other", &stranger)])).unwrap();
    assert!(untrusted.iter().all(|one| !one.verified() && one.problem.is_some()));
    // And Kiln signs with cosign's key.
    sign_image(&bench.store, &bench.image, "web", &theirs, &BTreeMap::new()).unwrap();
    let gathered = cosign_signatures(&bench.store, &bench.image).unwrap().unwrap();
    bench.registry.push(&bench.store, &gathered, REPOSITORY, &bench.tag("sig"));
    let public = prefix.with_extension("pub");
    let verified = bench.cosign("verify", &["--key", text(&public)]).unwrap();
    let verified: Vec<serde_json::Value> = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified.len(), 2, "cosign's signature and Kiln's");
}

#[test]
fn cosign_signs_with_kilns_keys() {
    if !all_here() {
        return;
    }
    let bench = Bench::new();
    let folder = Folder::open(&bench.folder.path().join("keys")).unwrap();
    let made = folder.create(&name("release"), Algorithm::EcdsaP256, Some(b"secret")).unwrap();
    let path = folder.private_path(&name("release"));
    bench.cosign("sign", &["--key", text(&path)]).unwrap();
    let manifest = bench.registry.pull(&bench.store, REPOSITORY, &bench.tag("sig"));
    bench.store.add_referrer(&manifest, &bench.image).unwrap();
    let found = evidence(&bench.store, &bench.image, &trust(&[("release", &made)])).unwrap();
    assert_eq!(found[0].signers, [name("release")], "{found:?}");
    // The same signature says nothing about another image.
    let other = put_image(&bench.store, "other");
    bench.store.add_referrer(&manifest, &other).unwrap();
    let found = evidence(&bench.store, &other, &trust(&[("release", &made)])).unwrap();
    assert!(found[0].problem.as_deref().unwrap().contains("not about this image"), "{found:?}");
}

#[test]
fn in_toto_for_python_accepts_kilns_envelopes() {
    const PROGRAM: &str = "
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
envelope = Envelope.from_dict(json.load(open(sys.argv[1])))
key = SSlibKey.from_crypto(load_pem_public_key(open(sys.argv[2], 'rb').read()), keyid=sys.argv[3])
assert envelope.payload_type == 'application/vnd.in-toto+json', envelope.payload_type
assert len(envelope.verify([key], 1)) == 1
statement = json.loads(envelope.payload)
envelope.payload += b' '
try:
    envelope.verify([key], 1)
    sys.exit('a changed payload verifies')
except VerificationError:
    print(statement['predicateType'])
";
    if !has_program("python3") {
        return;
    }
    if !try_run("python3", &["-c", "import securesystemslib.dsse, cryptography"]).status.success() {
        assert!(std::env::var_os("CI").is_none(), "Python's securesystemslib[crypto] is needed in CI");
        eprintln!("skipped: Python's securesystemslib[crypto] is not installed");
        return;
    }
    let (folder, store, image) = store_with_image();
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let key = key(algorithm);
        let digest = attest(&store, &image, &approved("prod", "alice", NOW), &key, NOW).unwrap();
        let manifest: Manifest = store.read_json(&digest).unwrap();
        let path = folder.path().join("key.pub");
        std::fs::write(&path, key.public().to_pem()).unwrap();
        let envelope = store.blob_path(&manifest.layers[0].digest);
        let said = run("python3", &["-c", PROGRAM, text(&envelope), text(&path), &key.key().id()]);
        assert_eq!(said.trim(), "https://kiln.dev/attestation/approval/v1");
    }
}
