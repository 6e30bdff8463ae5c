//! Making layers and images, with a tar writer that is not Kiln's, and asking other tools what is in them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use kiln_model::Digest;
use kiln_scan::{Inventory, Package};
use kiln_store::oci::{self, Descriptor, ImageFile, Manifest, RootFs};
use kiln_store::{LayerRef, Store};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

pub(crate) fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

/// A layer in the making.
pub(crate) struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        let mut builder = Builder::new(Vec::new());
        builder.follow_symlinks(false);
        Self(builder)
    }

    fn entry(mut self, name: &str, kind: EntryType, link: &str, content: &[u8], mode: u32) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        if kind == EntryType::Regular || kind == EntryType::Directory {
            self.0.append_data(&mut header, name, content).unwrap();
        } else {
            self.0.append_link(&mut header, name, link).unwrap();
        }
        self
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(name, EntryType::Regular, "", content.as_ref(), 0o644)
    }

    pub(crate) fn program(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(name, EntryType::Regular, "", content.as_ref(), 0o755)
    }

    pub(crate) fn folder(self, name: &str) -> Self {
        self.entry(name, EntryType::Directory, "", b"", 0o755)
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Symlink, target, b"", 0o777)
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Link, target, b"", 0o644)
    }

    /// All that is in a folder on disk.
    pub(crate) fn tree(mut self, name: &str, folder: &Path) -> Self {
        self.0.append_dir_all(name, folder).unwrap();
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(crate) fn put_layer(store: &Store, tar: &[u8]) -> LayerRef {
    put_layer_from(store, &mut &*tar)
}

/// Stores an uncompressed tar as a gzip layer.
pub(crate) fn put_layer_from(store: &Store, tar: &mut dyn std::io::Read) -> LayerRef {
    struct Hashed<'a>(&'a mut dyn std::io::Read, Sha256);
    impl std::io::Read for Hashed<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let read = self.0.read(buffer)?;
            self.1.update(&buffer[..read]);
            Ok(read)
        }
    }
    let mut source = Hashed(tar, Sha256::new());
    let mut sink = GzEncoder::new(BufWriter::new(store.writer().unwrap()), Compression::new(4));
    std::io::copy(&mut source, &mut sink).unwrap();
    let staged = sink.finish().unwrap().into_inner().map_err(|_| "flush").unwrap().finish();
    let blob = Descriptor::new(oci::LAYER_GZIP, staged.digest(), staged.size());
    store.commit(vec![staged]).unwrap();
    LayerRef { blob, diff_id: Digest::from_bytes(source.1.finalize().into()) }
}

/// Stores an image of these layers and tags it `test`, so that other tools find it.
pub(crate) fn put_image(store: &Store, layers: &[LayerRef]) -> Digest {
    let file = ImageFile {
        created: Some("2024-05-06T07:08:09.123Z".into()),
        architecture: oci::host_architecture().into(),
        variant: None,
        os: "linux".into(),
        config: None,
        rootfs: RootFs {
            kind: "layers".into(),
            diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
        },
        history: Vec::new(),
    };
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&file).unwrap()).unwrap();
    let config = Descriptor::new(oci::CONFIG, digest, size);
    let manifest = Manifest::new(config, layers.iter().map(|layer| layer.blob.clone()).collect());
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&manifest).unwrap()).unwrap();
    store.tag("test", &Descriptor::new(oci::MANIFEST, digest, size)).unwrap();
    digest
}

pub(crate) fn image_of(store: &Store, layers: impl IntoIterator<Item = Layer>) -> Digest {
    let layers: Vec<_> = layers.into_iter().map(|layer| put_layer(store, &layer.bytes())).collect();
    put_image(store, &layers)
}

/// The inventory of an image of these layers.
pub(crate) fn list(layers: impl IntoIterator<Item = Layer>) -> Inventory {
    let (_folder, store) = store();
    let image = image_of(&store, layers);
    kiln_scan::inventory(&store, &image).unwrap()
}

/// `name@version` of each package.
pub(crate) fn names(inventory: &Inventory) -> Vec<String> {
    inventory.packages.iter().map(|package| format!("{}@{}", package.name, package.version)).collect()
}

pub(crate) fn find<'a>(inventory: &'a Inventory, name: &str) -> &'a Package {
    inventory.packages.iter().find(|package| package.name == name).unwrap_or_else(|| {
        panic!("no {name} among {:?}; problems: {:?}", names(inventory), inventory.problems)
    })
}

pub(crate) const DEBIAN: &str =
    "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";

pub(crate) fn dpkg(packages: &[(&str, &str)]) -> String {
    let stanza = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    };
    packages.iter().map(stanza).collect()
}

/// Whether programs are here; in CI they must be.
pub(crate) fn needs(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing =
        programs.iter().find(|name| !std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    if let Some(name) = missing {
        assert!(std::env::var_os("CI").is_none(), "{name} is needed in CI and is not on the PATH");
        eprintln!("skipped: {name} is not installed");
    }
    missing.is_none()
}

/// Where what is downloaded or built once per machine is kept.
pub(crate) fn cache() -> PathBuf {
    let folder = std::env::var_os("KILN_CI_CACHE").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join("kiln-ci-cache")).join("scan");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A folder in the cache that `make` fills once; several processes may ask at the same time.
pub(crate) fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let place = cache().join(name);
    let lock = File::create(cache().join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !place.is_dir() {
        let fresh = cache().join(format!("{name}.new"));
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh).unwrap();
        make(&fresh);
        fs::rename(&fresh, &place).unwrap();
    }
    place
}

pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{errors}");
    output.stdout
}

/// With this on its standard input.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    use std::process::Stdio;
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{errors}");
    output.stdout
}

/// Where a program is.
pub(crate) fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    fs::canonicalize(found.unwrap()).unwrap()
}

/// A program with the section that cargo-auditable adds, put there by binutils.
pub(crate) fn audited(folder: &Path) -> Vec<u8> {
    let list = br#"{"packages":[
        {"name":"app","version":"0.1.0","source":"local","root":true,"dependencies":[1,2]},
        {"name":"cc","version":"1.0.83","source":"crates.io","kind":"build"},
        {"name":"serde","version":"1.0.193","source":"crates.io"}]}"#;
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(list).unwrap();
    let (section, program) = (folder.join("section"), folder.join("audited"));
    fs::write(&section, packed.finish().unwrap()).unwrap();
    run(Command::new("objcopy")
        .arg(format!("--add-section=.dep-v0={}", section.display()))
        .arg(fs::canonicalize("/bin/true").unwrap())
        .arg(&program));
    let bytes = fs::read(&program).unwrap();
    fs::remove_file(section).unwrap();
    fs::remove_file(program).unwrap();
    bytes
}
