//! What several tests need.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use kiln_attest::keys::{Algorithm, PrivateKey, Signer, TrustedKeys};
use kiln_attest::predicate::{
    Approval, BuildDefinition, BuildMetadata, Builder, Outcome, Predicate, Provenance, RunDetails,
    ScanResult, SeverityCounts, Soak, TestOutcome, TestResult,
};
use kiln_model::{Digest, Name, ReleaseNumber};
use kiln_store::Store;
use kiln_store::oci::{self, Descriptor, Execution, ImageFile, Manifest, RootFs};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const NOW: u64 = 1_800_000_000_000;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn key(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::generate(algorithm).unwrap()
}

pub(crate) fn trust(keys: &[(&str, &PrivateKey)]) -> TrustedKeys {
    keys.iter().map(|(text, key)| (name(text), key.key().clone())).collect()
}

/// A store with one image of one layer under the tag `web`.
pub(crate) fn store_with_image() -> (TempDir, Store, Digest) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let image = put_image(&store, "web");
    (folder, store, image)
}

pub(crate) fn put_image(store: &Store, tag: &str) -> Digest {
    let mut tar = kiln_store::TarWriter::new(Vec::new());
    let entry = kiln_store::Entry {
        path: b"etc/name".to_vec(),
        size: tag.len() as u64,
        mode: 0o644,
        ..kiln_store::Entry::default()
    };
    tar.append(&entry, &mut tag.as_bytes()).unwrap();
    let (layer, size) = store.put_bytes(&tar.finish().unwrap()).unwrap();
    let file = ImageFile {
        created: None,
        architecture: oci::host_architecture().into(),
        variant: None,
        os: "linux".into(),
        config: Some(Execution::default()),
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![layer] },
        history: Vec::new(),
    };
    let (config, length) = store.put_bytes(&serde_json::to_vec(&file).unwrap()).unwrap();
    let layers = vec![Descriptor::new(oci::LAYER, layer, size)];
    let manifest = Manifest::new(Descriptor::new(oci::CONFIG, config, length), layers);
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&manifest).unwrap()).unwrap();
    store.tag(tag, &Descriptor::new(oci::MANIFEST, digest, size)).unwrap();
    digest
}

pub(crate) fn tested(outcome: TestOutcome, at_ms: u64) -> Predicate {
    let failed = if outcome == TestOutcome::Failed { vec!["port".to_owned()] } else { Vec::new() };
    Predicate::Tested(TestResult {
        outcome,
        configuration: Vec::new(),
        passed: vec!["starts".into()],
        warned: Vec::new(),
        failed,
        at_ms: Some(at_ms),
        details: json!({ "seconds": 3 }),
    })
}

pub(crate) fn scanned(outcome: Option<Outcome>, at_ms: u64) -> Predicate {
    Predicate::Scanned(ScanResult {
        scanner: "https://kiln.dev/scan".into(),
        version: "0.1.0".into(),
        advisories: Some(Digest::from_bytes([7; 32])),
        advisories_at_ms: Some(at_ms - 1000),
        policy: None,
        outcome,
        counts: SeverityCounts { high: 2, ..SeverityCounts::default() },
        findings: Vec::new(),
        sbom: Some(Digest::from_bytes([8; 32])),
        at_ms: Some(at_ms),
    })
}

pub(crate) fn approved(environment: &str, by: &str, at_ms: u64) -> Predicate {
    let environment = name(environment);
    Predicate::Approved(Approval { environment, by: by.into(), reason: Some("looks good".into()), at_ms })
}

pub(crate) fn soaked(environment: &str, from_ms: u64, until_ms: u64, failures: u64) -> Predicate {
    Predicate::Soaked(Soak {
        environment: name(environment),
        service: name("web"),
        release: ReleaseNumber(3),
        from_ms,
        until_ms,
        failures,
    })
}

pub(crate) fn built(at_ms: u64) -> Predicate {
    Predicate::BuiltFrom(Provenance {
        build_definition: BuildDefinition {
            build_type: Provenance::BUILD_TYPE.into(),
            external_parameters: json!({ "image": "web" }),
            internal_parameters: Value::Null,
            resolved_dependencies: vec![kiln_attest::predicate::Resource::new(
                Some("bash".into()),
                Some("pkg:deb/debian/bash@5.2".into()),
                &Digest::from_bytes([9; 32]),
            )],
        },
        run_details: RunDetails {
            builder: Builder {
                id: "https://kiln.dev/builder/local".into(),
                version: BTreeMap::from([("kiln".to_owned(), "0.1.0".to_owned())]),
            },
            metadata: BuildMetadata { finished_on: Some(at_ms), ..BuildMetadata::default() },
            byproducts: Vec::new(),
        },
    })
}

/// Whether a program is here; in CI it must be.
pub(crate) fn has_program(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is needed in CI; see CONTRIBUTING.md");
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Runs a program that must succeed; its standard output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = try_run(program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn try_run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("COSIGN_PASSWORD", "secret").env("COSIGN_YES", "true");
    command.output().unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
