//! `kiln ship`: from the spec to the first environment, with evidence for every step.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use clap::builder::NonEmptyStringValueParser;
use kiln_attest::evidence::{Claim, evidence};
use kiln_attest::predicate::Predicate;
use kiln_model::{Digest, Name};
use kiln_scan::policy::Outcome;
use kiln_spec::Loaded;
use kiln_store::Store;
use serde::Serialize;

use super::deploy::What;
use super::{push, scan, sign};
use crate::args::SpecArgs;
use crate::baking::{self, BakeOptions};
use crate::context::{Context, name, now_ms};
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::evidence::{self as proofs, KeyArgs};
use crate::ledger::Act;
use crate::registries::RegistryArgs;
use crate::ui::took;
use crate::{checking, promotion, provenance, release, rolling, scanning};

/// Arguments of `kiln ship`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Environment to deploy to; the first of the spec unless given
    #[arg(short, long, value_parser = name)]
    environment: Option<Name>,
    /// Only this service (may be given several times)
    #[arg(short, long = "service", value_name = "SERVICE", value_parser = name)]
    services: Vec<Name>,
    /// Why, for the record
    #[arg(short = 'm', long)]
    reason: Option<String>,
    /// Prove the images, and deploy nothing
    #[arg(long)]
    no_deploy: bool,
    /// Deploy during a freeze, and why; it is kept on the record
    #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
    emergency: Option<String>,
    /// Deploy even what was quarantined after a rollback
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    bake: BakeOptions,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What was proven about one image.
#[derive(Debug, Serialize)]
struct Shipped {
    image: Name,
    digest: Digest,
    provenance: Digest,
    tested: Option<Digest>,
    scanned: Digest,
    signed: Digest,
    pushed: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let began = Instant::now();
    let environment = environment(args, context)?;
    let loaded = context.spec_for(&args.spec, &environment)?;
    rolling::environment(&loaded, &environment)?;
    let services = release::services(&loaded.project, &args.services)?;
    let store = crate::context::store()?;
    let mut images = BTreeMap::new();
    let mut shipped = Vec::new();
    for block in release::images(&loaded.project, &services) {
        let (image, proven) = prove(args, context, &loaded, &store, &block)?;
        images.insert(block, image);
        shipped.push(proven);
    }
    if args.no_deploy {
        context.ui.result(&shipped, || told(&shipped));
        return Ok(ExitCode::SUCCESS);
    }
    let baked = |service: &kiln_model::Service| images.get(&service.image).cloned();
    let contents = release::contents(&loaded, &environment, &services, baked)?;
    let freezes = rolling::environment(&loaded, &environment)?.freezes.clone();
    let proof = proofs::rules(&loaded, &environment, None, None)?;
    let what = What {
        services,
        environment,
        reason: args.reason.clone(),
        force: args.force,
        emergency: args.emergency.clone(),
        bypass: None,
        bake: args.bake.clone(),
    };
    let prepared = rolling::Prepared { loaded, contents, freezes, proof };
    promotion::carry_out(context, &Control::ensure()?, &what, prepared)?;
    context.ui.line(format!("shipped in {}", took(began.elapsed())));
    Ok(ExitCode::SUCCESS)
}

/// The environment that was named, or the first of the spec.
fn environment(args: &Args, context: &Context) -> Result<Name> {
    if let Some(name) = &args.environment {
        return Ok(name.clone());
    }
    let project = context.spec(&args.spec)?.project;
    let first = project.promotion_order().first().map(|name| (*name).clone());
    first.ok_or_else(|| {
        Failure::new(Kind::Spec, "the spec has no environment to ship to")
            .hint("add one: environment \"staging\" {}")
    })
}

/// Bakes, checks, scans, signs and pushes one image.
fn prove(
    args: &Args,
    context: &Context,
    loaded: &Loaded,
    store: &Store,
    block: &Name,
) -> Result<(release::Image, Shipped)> {
    let began_ms = now_ms();
    let needed: Vec<Name> = checking::needed(loaded, block).into_iter().collect();
    let mut baked: BTreeMap<Name, release::Image> = baking::bake(context, loaded, &needed, &args.bake)?
        .into_iter()
        .map(|done| (done.name, done.image))
        .collect();
    let digests: BTreeMap<Name, Digest> = baked.iter().map(|(name, it)| (name.clone(), it.digest)).collect();
    let image = baked
        .remove(block)
        .ok_or_else(|| Failure::new(Kind::Failed, format!("image {block} was not baked")))?;
    let digest = image.digest;
    let provenance = built_from(args, loaded, store, block, &digest, began_ms)?;
    let tested = tested(args, context, loaded, store, block, &digest, &digests)?;
    let scanned = scanned(args, context, loaded, store, block, &digest)?;
    let target =
        loaded.project.registry.as_ref().map(|base| format!("{}/{block}", base.trim_end_matches('/')));
    let reference = target.clone().unwrap_or_else(|| format!("{}/{block}", loaded.project.name));
    let signed = sign::sign(store, &digest, &reference, &BTreeMap::new(), &args.key)?;
    context
        .ui
        .done("signing", &format!("image {block} {} signed with key {}", digest.short(), args.key.name()));
    let pushed = match &target {
        Some(target) => {
            let tagged = format!("{target}:{}", digest.short());
            push::push(context, store, &digest, &tagged, false, &args.registry)?;
            context.ui.done("pushing", &format!("image {block} {} pushed to {tagged}", digest.short()));
            Some(tagged)
        }
        None => None,
    };
    let shipped = Shipped { image: block.clone(), digest, provenance, tested, scanned, signed, pushed };
    Ok((image, shipped))
}

/// Records what the image was built from, unless a statement of this key says so already.
fn built_from(
    args: &Args,
    loaded: &Loaded,
    store: &Store,
    block: &Name,
    digest: &Digest,
    began_ms: i64,
) -> Result<Digest> {
    let key = args.key.load()?;
    let trusted = proofs::folder()?.all_public().map_err(|error| proofs::failure(&error))?;
    let known =
        evidence(store, digest, &trusted).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let fresh = provenance::of(loaded, block, began_ms)?;
    let same = known.iter().find(|it| {
        it.verified()
            && it.signers.contains(&args.key.name())
            && matches!(&it.claim, Claim::Attestation(Predicate::BuiltFrom(there))
                if there.build_definition == fresh.build_definition)
    });
    if let Some(known) = same {
        return Ok(known.manifest);
    }
    let made = proofs::swear(store, digest, &Predicate::BuiltFrom(fresh), &key)?;
    Act::new("image.baked").image(digest).evidence(&made).record()?;
    Ok(made)
}

fn tested(
    args: &Args,
    context: &Context,
    loaded: &Loaded,
    store: &Store,
    block: &Name,
    digest: &Digest,
    baked: &BTreeMap<Name, Digest>,
) -> Result<Option<Digest>> {
    let checks: Vec<_> =
        loaded.project.checks.iter().filter(|check| check.image == *block).cloned().collect();
    if checks.is_empty() {
        context.ui.line(format!("  image {block} has no checks; nothing proves that it works"));
        return Ok(None);
    }
    let report = checking::check(context, block, *digest, baked, &checks, &loaded.dir)?;
    let evidence = checking::prove(store, &report, &args.key)?;
    let failed: Vec<String> = report.failed().map(|it| format!("{}: {}", it.name, it.what)).collect();
    if failed.is_empty() {
        return Ok(Some(evidence));
    }
    Err(Failure::new(Kind::Check, format!("image {block} {} does not pass its checks", digest.short()))
        .with_causes(failed)
        .hint("it is on the record; nothing was deployed"))
}

fn scanned(
    args: &Args,
    context: &Context,
    loaded: &Loaded,
    store: &Store,
    block: &Name,
    digest: &Digest,
) -> Result<Digest> {
    let policy = loaded.project.policy_for(block);
    context.ui.working("scanning", &format!("scans image {block} {}", digest.short()));
    let examined = scanning::scan(store, digest, block.as_str(), &policy, &loaded.dir)?;
    context.ui.finish("scanning");
    let evidence = scanning::prove(store, digest, &examined, &args.key)?;
    let judgement = &examined.report.judgement;
    let packages = examined.inventory.packages.len();
    let line =
        format!("image {block} {} scanned: {packages} packages, policy {}", digest.short(), judgement.policy);
    if judgement.outcome != Outcome::Fail {
        let warns =
            if judgement.outcome == Outcome::Warn { ", with warnings: `kiln scan` shows them" } else { "" };
        context.ui.done("scanning", &format!("{line} holds{warns}"));
        return Ok(evidence);
    }
    context.ui.failed("scanning", &format!("{line} does not hold"));
    context.ui.line(scan::text(&examined, false).trim_end());
    Err(Failure::new(Kind::Policy, format!("image {block} {} does not satisfy its policy", digest.short()))
        .hint("it is on the record; nothing was deployed"))
}

fn told(all: &[Shipped]) -> String {
    let line = |it: &Shipped| {
        format!("{} {} is proven: `kiln verify {}`", it.image, it.digest.short(), it.digest.short())
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}
