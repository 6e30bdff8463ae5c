//! Facts of images that are made here.

use kiln_model::{Digest, Health, ImageConfig, Probe, Span};
use kiln_scan::facts::facts;
use kiln_store::oci::{self, Descriptor, Execution, Healthcheck, History, ImageFile, Manifest, RootFs};
use kiln_store::{LayerRef, Store};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

fn layer(store: &Store, entries: &[(&str, EntryType, u32, usize)]) -> LayerRef {
    let mut tar = Builder::new(Vec::new());
    for (path, kind, mode, size) in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_size(*size as u64);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path, &vec![b'x'; *size][..]).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let (digest, size) = store.put_bytes(&tar).unwrap();
    LayerRef {
        blob: Descriptor::new(oci::LAYER, digest, size),
        diff_id: Digest::from_bytes(Sha256::digest(&tar).into()),
    }
}

fn image(store: &Store, layers: &[LayerRef], config: Execution, history: Vec<History>) -> Digest {
    let file = ImageFile {
        created: Some("2026-11-01T00:00:00Z".into()),
        architecture: "amd64".into(),
        variant: None,
        os: "linux".into(),
        config: Some(config),
        rootfs: RootFs { kind: "layers".into(), diff_ids: layers.iter().map(|l| l.diff_id).collect() },
        history,
    };
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&file).unwrap()).unwrap();
    let config = Descriptor::new(oci::CONFIG, digest, size);
    let manifest = Manifest::new(config, layers.iter().map(|layer| layer.blob.clone()).collect());
    store.put_bytes(&serde_json::to_vec(&manifest).unwrap()).unwrap().0
}

fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

#[test]
fn files_are_those_of_the_image_as_it_runs() {
    let (_folder, store) = store();
    let (file, dir, link) = (EntryType::Regular, EntryType::Directory, EntryType::Symlink);
    let below = layer(
        &store,
        &[
            ("tmp", dir, 0o1777, 0),
            ("open", dir, 0o777, 0),
            ("bin", dir, 0o755, 0),
            ("bin/su", file, 0o4755, 10),
            ("bin/gone", file, 0o4755, 1000),
            ("bin/mail", file, 0o2755, 10),
            ("bin/link", link, 0o777, 0),
            ("log", file, 0o666, 5),
            ("calm", file, 0o644, 5),
        ],
    );
    let above = layer(&store, &[("bin/.wh.gone", file, 0o644, 0), ("calm", file, 0o644, 7)]);
    let layers = [below, above];
    let digest = image(&store, &layers, Execution::default(), Vec::new());
    let facts = facts(&store, &digest).unwrap();
    let paths = |list: &kiln_scan::facts::FileList| {
        list.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&facts.privileged), ["bin/mail", "bin/su"]);
    assert_eq!(paths(&facts.world_writable), ["log", "open"]);
    assert_eq!((facts.files, facts.unpacked, facts.layers), (4, 32, 2));
    assert_eq!(facts.size, layers.iter().map(|layer| layer.blob.size).sum::<u64>());
    assert!(facts.root && !facts.health_check && facts.base_created.is_none());
}

#[test]
fn health_is_told_by_docker_or_by_kiln() {
    let (_folder, store) = store();
    let of = |config| facts(&store, &image(&store, &[], config, Vec::new())).unwrap().health_check;
    let docker = |kind: &str| Execution {
        healthcheck: Some(Healthcheck { test: vec![kind.into()], ..Healthcheck::default() }),
        ..Execution::default()
    };
    assert!(of(docker("CMD-SHELL")) && !of(docker("NONE")));
    let health = Health {
        probe: Probe::Tcp { port: None },
        interval: Span::from_secs(1),
        timeout: Span::from_secs(1),
        rise: 1,
        fall: 3,
        grace: Span::from_secs(30),
    };
    let label = |health| {
        let text = serde_json::to_string(&ImageConfig { health, ..ImageConfig::default() }).unwrap();
        Execution { labels: Some([("dev.kiln.config".to_owned(), text)].into()), ..Execution::default() }
    };
    assert!(of(label(Some(health))) && !of(label(None)));
}

#[test]
fn the_base_is_as_old_as_its_newest_layer() {
    let (_folder, store) = store();
    let step = |created: &str, by: &str| History {
        created: Some(created.into()),
        created_by: Some(by.into()),
        ..History::default()
    };
    let of =
        |history| facts(&store, &image(&store, &[], Execution::default(), history)).unwrap().base_created;
    let history = vec![
        step("2026-01-02T00:00:00Z", "/bin/sh -c apt-get update"),
        step("2026-01-01T00:00:00Z", "COPY . ."),
        step("2026-11-01T00:00:00Z", "kiln: copy app/"),
    ];
    assert_eq!(of(history).unwrap().to_string(), "2026-01-02T00:00:00Z");
    let packages =
        vec![step("2026-05-01T00:00:00Z", "kiln: debian"), step("2026-05-01T00:00:00Z", "kiln: config")];
    assert_eq!(of(packages).unwrap().to_string(), "2026-05-01T00:00:00Z");
    assert_eq!(of(vec![step("2026-01-01T00:00:00Z", "COPY . .")]), None, "nobody knows where the base ends");
}
