//! A base of Debian packages: one step, one layer; a second layer for what maintainer scripts did, where they
//! run.

use std::collections::BTreeMap;
use std::time::Instant;

use kiln_model::{Base, DebianBase, Scripts};
use kiln_store::oci::host_architecture;

use super::{Source, Start};
use crate::BakeError;
use crate::bake::{Kitchen, Making};
use crate::cache::{Inputs, KeyMaker, Made};
use crate::layer::FORMAT;
use crate::progress::Relay;
use crate::run::debian_jobs;
use crate::runtime::block_on;

pub(super) fn start(lock: kiln_debian::Lock) -> Start {
    Start {
        epoch: Some(kiln_debian::epoch(&lock)),
        architecture: architecture(&lock.architecture).into(),
        source: Source::Debian(Box::new(lock)),
        ..Start::scratch()
    }
}

/// Debian's name of an architecture as GOARCH writes it.
fn architecture(debian: &str) -> &str {
    match debian {
        "armhf" | "armel" => "arm",
        "i386" => "386",
        "ppc64el" => "ppc64le",
        "mips64el" => "mips64le",
        "" => host_architecture(),
        other => other,
    }
}

pub(super) fn lay(
    kitchen: &mut Kitchen<'_>,
    making: &mut Making<'_>,
    lock: &kiln_debian::Lock,
) -> Result<(), BakeError> {
    let begun = Instant::now();
    let Base::Debian(base) = &making.recipe.base else { return Ok(()) };
    let name = name(base, &making.recipe.packages);
    kitchen.announce(making, &name);
    let (key, inputs) = key(lock, base, making.epoch)?;
    kitchen.step(making, begun, name, key, inputs, |kitchen, making, name| {
        let made = unpack(kitchen, making, lock, base, name)?;
        kitchen.commit(making)?;
        Ok(made)
    })?;
    // Downloading and unpacking took the longest: keep it even if a later step fails.
    kitchen.commit(making)
}

fn unpack(
    kitchen: &Kitchen<'_>,
    making: &mut Making<'_>,
    lock: &kiln_debian::Lock,
    base: &DebianBase,
    name: &str,
) -> Result<Made, BakeError> {
    let relay = Relay(kitchen.progress);
    let fault = BakeError::debian(&making.recipe.name);
    let packages = &making.recipe.packages;
    let fetched =
        super::resolve::debian_request(kitchen.request, &making.recipe.name, base, packages, |wish| {
            block_on(|| kiln_debian::fetch(wish, lock, &relay)).map_err(BakeError::Runtime)?.map_err(&fault)
        })?;
    let tree = kiln_debian::tree(&fetched, base.scripts).map_err(&fault)?;
    let mut made = kitchen.write(making, name, &tree, &BTreeMap::new())?;
    if base.scripts == Scripts::Run {
        let jobs = debian_jobs(kitchen, making.epoch, kiln_debian::configure_command(lock));
        let unpacked = made.layers.clone();
        making.skeleton.add(&made.bones);
        let configured = kitchen.in_sandbox(making, &unpacked, name, &jobs)?;
        made.layers.extend(configured.layers);
        made.bones.extend(configured.bones);
    }
    Ok(made)
}

fn name(base: &DebianBase, packages: &[String]) -> String {
    let list = if packages.is_empty() { "base only".to_owned() } else { packages.join(" ") };
    let short: String = list.chars().take(100).collect();
    format!("packages {} {short}", base.suite)
}

fn key(
    lock: &kiln_debian::Lock,
    base: &DebianBase,
    epoch: i64,
) -> Result<(kiln_model::Digest, Inputs), BakeError> {
    let text = serde_json::to_vec(lock).map_err(BakeError::json("the lock"))?;
    let scripts = if base.scripts == Scripts::Run { "run" } else { "none" };
    let mut maker = KeyMaker::new("debian");
    maker.part("format", FORMAT.as_bytes());
    maker.part("version", env!("CARGO_PKG_VERSION").as_bytes());
    maker.part("lock", &text);
    maker.part("scripts", scripts.as_bytes());
    if base.scripts == Scripts::Run {
        maker.part("sandbox", crate::sandbox::VERSION.as_bytes());
    }
    maker.part("epoch", &epoch.to_le_bytes());
    let mut inputs: Inputs = lock
        .packages
        .iter()
        .map(|package| {
            (format!("package {}", package.name), format!("{} {}", package.version, package.sha256))
        })
        .collect();
    inputs.insert("scripts".into(), scripts.into());
    inputs.insert("epoch".into(), epoch.to_string());
    Ok((maker.key(), inputs))
}
