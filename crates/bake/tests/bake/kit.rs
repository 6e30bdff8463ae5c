//! A spec folder and a store of a test's own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kiln_bake::{BakeError, BakeRequest, Baked, bake};
use kiln_model::{Name, Recipe};
use kiln_store::Store;
use tempfile::TempDir;

pub(crate) use crate::words::{bake_at, chain, recipe, steps};

pub(crate) struct Kitchen {
    pub(crate) folder: TempDir,
    pub(crate) store: Store,
    pub(crate) images: BTreeMap<Name, Recipe>,
    pub(crate) epoch: Option<i64>,
    pub(crate) jobs: usize,
    pub(crate) helper: Option<PathBuf>,
    pub(crate) offline: bool,
    pub(crate) auto_lock: bool,
}

const APPLETS: &str =
    "sh ls cat rm mkdir touch chmod mv ln sleep id ip mount wget chown kill env dd mknod mkfifo";

impl Kitchen {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("spec")).unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self {
            folder,
            store,
            images: BTreeMap::new(),
            epoch: None,
            jobs: 2,
            helper: None,
            offline: true,
            auto_lock: false,
        }
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path().join("spec")
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.source().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn executable(&self, path: &str) -> &Self {
        fs::set_permissions(self.source().join(path), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Adds an image block.
    pub(crate) fn image(&mut self, image: &str, text: &str) -> &mut Self {
        let recipe = Recipe { steps: steps(text), ..recipe(image) };
        self.images.insert(recipe.name.clone(), recipe);
        self
    }

    /// Bakes an image `web` of these steps on scratch.
    pub(crate) fn bake(&self, text: &str) -> Baked {
        self.try_bake(text).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn try_bake(&self, text: &str) -> Result<Baked, BakeError> {
        self.try_recipe(Recipe { steps: steps(text), ..recipe("web") })
    }

    pub(crate) fn try_recipe(&self, recipe: Recipe) -> Result<Baked, BakeError> {
        let name = recipe.name.clone();
        let mut images = self.images.clone();
        images.insert(name.clone(), recipe);
        let request = BakeRequest {
            images: &images,
            name: &name,
            source: &self.source(),
            store: &self.store,
            epoch: self.epoch,
            now: jiff::Timestamp::now().as_second(),
            offline: self.offline,
            auto_lock: self.auto_lock,
            jobs: self.jobs,
            mirrors: None,
            helper: self.helper.as_deref(),
        };
        bake(&request, &())
    }

    /// A kitchen whose commands can run, with busybox in `bin/`.
    pub(crate) fn with_busybox() -> Self {
        let mut kitchen = Self::new();
        kitchen.helper = Some(env!("CARGO_BIN_EXE_kiln-sandbox-helper").into());
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let busybox = busybox.expect("a static busybox is needed: apt-get install busybox-static");
        kitchen.file("bin/busybox", fs::read(busybox).unwrap()).executable("bin/busybox");
        for applet in APPLETS.split_whitespace() {
            std::os::unix::fs::symlink("busybox", kitchen.source().join("bin").join(applet)).unwrap();
        }
        kitchen
    }

    pub(crate) fn tree(&self, baked: &Baked) -> PathBuf {
        self.store.tree(&baked.digest).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }
}

/// Whether a program is here; in CI it must be.
pub(crate) fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{name} is needed in CI: apt-get install {name}");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// Whether the tests run as root; in CI they must.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "root is needed in CI");
        eprintln!("skipped: needs root");
    }
    root
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A mount of the test's own, gone with it.
pub(crate) struct Mount(pub(crate) PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
