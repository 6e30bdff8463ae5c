//! What an image was built from, as SLSA provenance, and the way back: baking it again from what was recorded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_attest::predicate::{
    BuildDefinition, BuildMetadata, Builder, Predicate, Provenance, Resource, RunDetails,
};
use kiln_bake::lock::{LockFile, Section};
use kiln_bake::{BakeRequest, Progress};
use kiln_model::{Digest, Name, Recipe};
use kiln_spec::Loaded;
use kiln_store::{Difference, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::now_ms;
use crate::error::{Failure, Kind, Result};

/// What was asked for; in this form it can be asked for again.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Asked {
    /// The image block.
    image: Name,
    /// It and every image that files are copied from.
    recipes: BTreeMap<Name, Recipe>,
    /// The lock as it was used.
    lock: LockFile,
    /// `SOURCE_DATE_EPOCH`, when it was set.
    epoch: Option<i64>,
    /// The source's place in version control.
    source: Option<Source>,
}

/// A commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Source {
    /// Its id.
    commit: String,
    /// The spec's folder below the root of the repository.
    folder: String,
    /// Whether files differed from the commit.
    modified: bool,
}

/// The provenance of an image that was just baked. `began_ms` is when.
pub(crate) fn of(loaded: &Loaded, name: &Name, began_ms: i64) -> Result<Provenance> {
    let lock = kiln_bake::lock::read(&loaded.dir.join(kiln_bake::lock::FILE))
        .map_err(|error| Failure::from_error(Kind::Bake, &error))?
        .unwrap_or_default();
    let recipes = closure(&loaded.project.images, name);
    let source = source(&loaded.dir);
    let mut inputs: Vec<Resource> = Vec::new();
    inputs.extend(source.iter().map(|source| Resource {
        name: Some("source".into()),
        uri: None,
        digest: BTreeMap::from([("gitCommit".to_owned(), source.commit.clone())]),
        annotations: BTreeMap::new(),
    }));
    inputs.push(Resource::new(Some("spec".into()), None, &loaded.digest));
    let used = lock.images.iter().filter(|(image, _)| recipes.contains_key(*image));
    inputs.extend(used.flat_map(|(_, section)| dependencies(section)));
    let lock = LockFile {
        images: lock.images.into_iter().filter(|(image, _)| recipes.contains_key(image)).collect(),
        ..lock
    };
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let asked = Asked { image: name.clone(), recipes, lock, epoch, source };
    let time = |ms: i64| Some(ms.max(0).unsigned_abs());
    let version = BTreeMap::from([("kiln".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    Ok(Provenance {
        build_definition: BuildDefinition {
            build_type: Provenance::BUILD_TYPE.into(),
            external_parameters: serde_json::to_value(asked).unwrap_or_default(),
            internal_parameters: Value::Null,
            resolved_dependencies: inputs,
        },
        run_details: RunDetails {
            builder: Builder { id: "https://kiln.dev/builder/local/v1".into(), version },
            metadata: BuildMetadata {
                invocation_id: None,
                started_on: time(began_ms),
                finished_on: time(now_ms()),
            },
            byproducts: Vec::new(),
        },
    })
}

/// An image and those that it copies from.
fn closure(images: &BTreeMap<Name, Recipe>, name: &Name) -> BTreeMap<Name, Recipe> {
    let mut found = BTreeMap::new();
    let mut todo = vec![name.clone()];
    while let Some(name) = todo.pop() {
        let Some(recipe) = images.get(&name).filter(|_| !found.contains_key(&name)) else { continue };
        todo.extend(recipe.steps.iter().filter_map(|step| match step {
            kiln_model::Step::Copy(copy) => copy.image.clone(),
            kiln_model::Step::Run(_) => None,
        }));
        found.insert(name, recipe.clone());
    }
    found
}

fn dependencies(section: &Section) -> Vec<Resource> {
    match section {
        Section::Oci(pin) => vec![Resource::new(Some(pin.reference.clone()), None, &pin.digest)],
        Section::Debian(lock) => lock
            .packages
            .iter()
            .map(|package| {
                let purl =
                    format!("pkg:deb/debian/{}@{}?arch={}", package.name, package.version, package.arch);
                let digest = BTreeMap::from([("sha256".to_owned(), package.sha256.clone())]);
                Resource {
                    name: Some(package.name.clone()),
                    uri: Some(purl),
                    digest,
                    annotations: BTreeMap::new(),
                }
            })
            .collect(),
    }
}

/// Where the source stands in Git; `None` outside of a repository or without git.
fn source(folder: &Path) -> Option<Source> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Some(Source {
        commit: git(&["rev-parse", "HEAD"])?,
        folder: git(&["rev-parse", "--show-prefix"])?,
        modified: !git(&["status", "--porcelain", "--", "."])?.is_empty(),
    })
}

/// How an image that was baked again compares with the one that was there.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rebuilt {
    /// The digest that came out.
    pub(crate) digest: Digest,
    /// Whether it is the same.
    pub(crate) same: bool,
    /// The first file that differs; `None` when only the documents do.
    pub(crate) first: Option<Difference>,
    /// How many files differ.
    pub(crate) different: usize,
}

/// Bakes an image again from its provenance, in a store of its own, with no step taken from a cache.
pub(crate) fn rebuild(
    store: &Store,
    image: &Digest,
    provenance: &Provenance,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Rebuilt> {
    let asked: Asked = serde_json::from_value(provenance.build_definition.external_parameters.clone())
        .map_err(|error| {
            Failure::new(Kind::Failed, "the provenance does not say how to bake the image again")
                .because(&error)
                .hint("it was built by something else, or by another version of kiln")
        })?;
    let work = Work::new(store)?;
    let source = work.source(&asked, folder)?;
    kiln_bake::lock::write(&source.join(kiln_bake::lock::FILE), &asked.lock)
        .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let fresh = work.store(store)?;
    let request = BakeRequest {
        images: &asked.recipes,
        name: &asked.image,
        source: &source,
        store: &fresh,
        epoch: asked.epoch,
        now: now_ms() / 1000,
        offline: false,
        auto_lock: false,
        jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        mirrors: None,
        helper: None,
    };
    let baked = kiln_bake::bake(&request, progress)
        .map_err(|error| Failure::new(Kind::Bake, "it cannot be baked again").because(&error))?;
    if baked.digest == *image {
        return Ok(Rebuilt { digest: baked.digest, same: true, first: None, different: 0 });
    }
    take(store, &fresh, image)?;
    let found =
        fresh.diff(image, &baked.digest).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    Ok(Rebuilt { digest: baked.digest, same: false, different: found.len(), first: found.into_iter().next() })
}

/// Copies the blobs of an image into another store.
fn take(from: &Store, to: &Store, image: &Digest) -> Result<()> {
    let fail = |error: kiln_store::StoreError| Failure::from_error(Kind::Failed, &error);
    let read = from.image(image).map_err(fail)?;
    let layers = read.layers.iter().map(|layer| layer.blob.digest);
    for digest in [*image, read.manifest.config.digest].into_iter().chain(layers) {
        to.put_blob(&mut from.open_blob(&digest).map_err(fail)?).map_err(fail)?;
    }
    Ok(())
}

/// A folder for one rebuild, which vanishes with it.
struct Work(PathBuf);

impl Work {
    fn new(store: &Store) -> Result<Self> {
        let path = store.scratch().map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        std::fs::create_dir_all(path.join("source"))?;
        Ok(Self(path))
    }

    /// The source as it was: the commit, where there is one, else the folder as it is.
    fn source(&self, asked: &Asked, folder: &Path) -> Result<PathBuf> {
        let into = self.0.join("source");
        let Some(source) = &asked.source else { return copied(folder, into) };
        if source.modified {
            return Err(Failure::new(
                Kind::Refused,
                format!("the source differed from commit {} when the image was baked", source.commit),
            )
            .hint("bake from a commit without changes to be able to bake the same again"));
        }
        let archive = self.0.join("source.tar");
        let tree = format!("{}:{}", source.commit, source.folder.trim_end_matches('/'));
        let run = |command: &mut Command, what: &str| {
            let output = command.output()?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Failure::new(Kind::NotFound, format!("cannot {what} of commit {}", source.commit))
                .with_causes(vec![said])
                .hint("run it in a clone that has the commit, or name one with `--source`"))
        };
        let mut git = Command::new("git");
        git.arg("-C").arg(folder).args(["archive", "--format=tar", "-o"]).arg(&archive).arg(tree);
        run(&mut git, "take the files")?;
        let mut tar = Command::new("tar");
        tar.arg("-xpf").arg(&archive).arg("-C").arg(&into);
        run(&mut tar, "lay out the files")?;
        Ok(into)
    }

    /// A store that shares only the downloads, which are verified by the lock.
    fn store(&self, main: &Store) -> Result<Store> {
        let fresh =
            Store::open(&self.0.join("store")).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let downloads = main.cache().join("debian");
        if downloads.is_dir() {
            std::os::unix::fs::symlink(downloads, fresh.cache().join("debian"))?;
        }
        Ok(fresh)
    }
}

/// The files of a folder as they are.
fn copied(folder: &Path, into: PathBuf) -> Result<PathBuf> {
    let status = Command::new("cp").arg("-a").arg(folder.join(".")).arg(&into).status()?;
    match status.success() {
        true => Ok(into),
        false => Err(Failure::new(Kind::Failed, format!("cannot copy the source in {}", folder.display()))),
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = kiln_store::remove_tree(&self.0);
    }
}

/// The newest provenance among predicates.
pub(crate) fn newest<'p>(predicates: impl Iterator<Item = &'p Predicate>) -> Option<&'p Provenance> {
    predicates
        .filter_map(|predicate| match predicate {
            Predicate::BuiltFrom(provenance) => Some(provenance),
            _ => None,
        })
        .max_by_key(|it| it.run_details.metadata.finished_on)
}
