//! From a base as a person wrote it to a section of the lock.

use std::path::Path;

use kiln_debian::Mirrors;
use kiln_model::{Base, DebianBase, Name, Recipe};
use serde::Serialize;

use super::image;
use crate::bake::Kitchen;
use crate::lock::{self, LockError, LockFile, Section};
use crate::request::{BakeRequest, Progress};
use crate::runtime::block_on;
use crate::{BakeError, progress::Relay};

/// What became of one image's section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolved {
    /// It fits and stays as it was.
    Kept,
    /// It is new, or another than before.
    Changed,
    /// It was resolved anew and is the same.
    Same,
    /// The image has no outside input.
    Nothing,
}

/// Brings the lock in line with the spec: sections that fit stay (with `update`: are resolved anew), others are
/// resolved, those of images that are gone are dropped. The file is written once, when all went well.
pub fn lock(
    request: &BakeRequest<'_>,
    update: bool,
    progress: &dyn Progress,
) -> Result<Vec<(Name, Resolved)>, BakeError> {
    let path = request.lock_path();
    let before = lock::read(&path)?;
    let mut after = LockFile::default();
    let mut report = Vec::new();
    for (name, recipe) in request.images {
        let old = before.as_ref().and_then(|lock| lock.images.get(name));
        let (outcome, section) = match old {
            _ if !is_outside(request, &recipe.base) => (Resolved::Nothing, None),
            Some(section) if !update && difference(request, recipe, section)?.is_none() => {
                (Resolved::Kept, Some(section.clone()))
            }
            old => {
                let section = resolve(request, recipe, progress)?;
                let outcome = if old == Some(&section) { Resolved::Same } else { Resolved::Changed };
                (outcome, Some(section))
            }
        };
        after.images.extend(section.map(|section| (name.clone(), section)));
        report.push((name.clone(), outcome));
    }
    if before.unwrap_or_default() != after {
        lock::write(&path, &after)?;
    }
    Ok(report)
}

/// The section of one image: the lock's when it fits, resolved and written when it is absent (or when it does
/// not fit and the caller allows for it).
pub(super) fn section(kitchen: &Kitchen<'_>, recipe: &Recipe) -> Result<Section, BakeError> {
    let request = kitchen.request;
    let path = request.lock_path();
    let lock = lock::read(&path)?;
    if let Some(section) = lock.as_ref().and_then(|lock| lock.images.get(&recipe.name)) {
        match difference(request, recipe, section)? {
            None => return Ok(section.clone()),
            Some(_) if request.auto_lock => {}
            Some(difference) => {
                return Err(LockError::Outdated { image: recipe.name.clone(), difference }.into());
            }
        }
    }
    let section = resolve(request, recipe, kitchen.progress)?;
    // Another bake of the same spec may have added its section meanwhile.
    let _held = request.store.lock("spec-lock")?;
    let mut lock = lock::read(&path)?.unwrap_or_default();
    lock.images.insert(recipe.name.clone(), section.clone());
    lock::write(&path, &lock)?;
    Ok(section)
}

/// Whether a base comes from somewhere else: what lies on this disk is part of the source.
fn is_outside(request: &BakeRequest<'_>, base: &Base) -> bool {
    match base {
        Base::Scratch => false,
        Base::Debian(_) => true,
        Base::Oci(base) => image::on_disk(base, request.source).is_none(),
    }
}

/// What a section pins that the recipe does not ask for; `None` when it fits.
fn difference(
    request: &BakeRequest<'_>,
    recipe: &Recipe,
    section: &Section,
) -> Result<Option<String>, BakeError> {
    match (&recipe.base, section) {
        (Base::Debian(base), Section::Debian(lock)) => {
            debian_request(request, &recipe.name, base, &recipe.packages, |wish| match lock.fits(wish) {
                Ok(()) => Ok(None),
                Err(kiln_debian::Error::Mismatch(difference)) => Ok(Some(difference.to_string())),
                Err(other) => Err(BakeError::debian(&recipe.name)(other)),
            })
        }
        (Base::Oci(base), Section::Oci(pin)) if base.reference == pin.reference => Ok(None),
        (Base::Oci(base), Section::Oci(pin)) => {
            Ok(Some(format!("the lock has the base {}, the spec {}", pin.reference, base.reference)))
        }
        _ => Ok(Some("the base is of another kind".into())),
    }
}

fn resolve(
    request: &BakeRequest<'_>,
    recipe: &Recipe,
    progress: &dyn Progress,
) -> Result<Section, BakeError> {
    match &recipe.base {
        Base::Debian(base) => debian_request(request, &recipe.name, base, &recipe.packages, |wish| {
            let relay = Relay(progress);
            let lock = block_on(|| kiln_debian::lock(wish, &relay)).map_err(BakeError::Runtime)?;
            Ok(Section::Debian(lock.map_err(BakeError::debian(&recipe.name))?))
        }),
        Base::Oci(base) => image::resolve(request, base, progress).map(Section::Oci).map_err(|source| {
            BakeError::Base { reference: base.reference.clone(), source: Box::new(source) }
        }),
        Base::Scratch => Err(BakeError::NoSuchImage { name: recipe.name.to_string() }),
    }
}

/// Calls with what kiln-debian wants to be asked with.
pub(super) fn debian_request<T>(
    request: &BakeRequest<'_>,
    image: &Name,
    base: &DebianBase,
    packages: &[String],
    act: impl FnOnce(&kiln_debian::Request<'_>) -> Result<T, BakeError>,
) -> Result<T, BakeError> {
    let cache = request.store.cache().join("debian");
    let wish = kiln_debian::Request {
        base,
        packages,
        cache: &cache,
        spec_dir: request.source,
        offline: request.offline,
        jobs: 0,
        now: request.now,
        mirrors: mirrors(request).map_err(|error| BakeError::debian(image)(error.into()))?,
    };
    act(&wish)
}

fn mirrors(request: &BakeRequest<'_>) -> Result<Mirrors, kiln_debian::MirrorsError> {
    match request.mirrors {
        Some(mirrors) => Ok(mirrors.clone()),
        None => Mirrors::discover(|name| std::env::var(name).ok(), Path::new("/etc")),
    }
}
