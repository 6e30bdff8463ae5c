//! `kiln verify`: all evidence about an image, against what is asked for; and the image itself, baked again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use kiln_attest::evidence::{Claim, evidence};
use kiln_control::api::Proven;
use kiln_control::{Proofs, Question, StoreProofs};
use kiln_model::{Digest, Name, Requirement};
use kiln_store::Store;
use serde::Serialize;

use super::{env, image};
use crate::args::{SpecArgs, Values};
use crate::context::{Context, name, now_ms};
use crate::error::{Failure, Kind, Result};
use crate::provenance::{self, Rebuilt};
use crate::{evidence as proofs, rolling};

/// Arguments of `kiln verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tag, digest, or the beginning of a digest
    image: String,
    /// Ask for what this environment of the spec asks for
    #[arg(short, long, value_parser = name)]
    environment: Option<Name>,
    /// Ask for this evidence, such as "scanned(24h)" (may be given several times); "signed" unless something is asked for
    #[arg(long = "require", value_name = "EVIDENCE", conflicts_with = "environment")]
    requires: Vec<Requirement>,
    /// Trust only this public key, a PEM file (may be given several times); the keys of the home unless given
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Bake the image again from its recorded inputs and compare the digests
    #[arg(long)]
    rebuild: bool,
    /// Clone or folder that the source is taken from, with --rebuild
    #[arg(long, default_value = ".")]
    source: PathBuf,
    /// Folder with kiln.hcl, or the file itself, with --environment
    #[arg(long, default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    values: Values,
}

#[derive(Debug, Serialize)]
struct Answer {
    image: Digest,
    verified: bool,
    #[serde(flatten)]
    proven: Proven,
    rebuilt: Option<Rebuilt>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let store = crate::context::store()?;
    let image = image::resolve(&store, &args.image)?.digest;
    let (environment, requires, keys) = asked(args, context)?;
    let witness = StoreProofs::new(store.clone(), proofs::folder()?);
    let question = Question {
        image: &image,
        environment: &environment,
        requires: &requires,
        keys: &keys,
        now_ms: now_ms(),
    };
    let known = witness.known(&question).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let service = Name::new("image").unwrap_or(environment.clone());
    let proven = Proven { service, image, evidence: known.evidence, missing: known.missing };
    let rebuilt = match args.rebuild {
        true => Some(rebuild(args, context, &store, &image, &witness, &keys)?),
        false => None,
    };
    let verified = proven.missing.is_empty() && rebuilt.as_ref().is_none_or(|it| it.same);
    let answer = Answer { image, verified, proven, rebuilt };
    context.ui.result(&answer, || text(&answer));
    Ok(if verified { ExitCode::SUCCESS } else { ExitCode::from(Kind::Refused as u8) })
}

type Asked = (Name, Vec<Requirement>, BTreeMap<Name, String>);

/// What is asked for, for which environment, with which keys.
fn asked(args: &Args, context: &Context) -> Result<Asked> {
    let mut keys = BTreeMap::new();
    for (index, file) in args.keys.iter().enumerate() {
        let pem = std::fs::read_to_string(file).map_err(|error| {
            Failure::new(Kind::NotFound, format!("cannot read the key {}", file.display())).because(&error)
        })?;
        let stem = file.file_stem().and_then(|stem| Name::new(stem.to_str()?).ok());
        let name = match stem {
            Some(name) if !keys.contains_key(&name) => name,
            _ => Name::new(format!("key-{}", index + 1))
                .map_err(|error| Failure::from_error(Kind::Failed, &error))?,
        };
        keys.insert(name, pem);
    }
    let Some(environment) = &args.environment else {
        let dev = Name::new("dev").map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let requires = match args.requires.is_empty() {
            true => vec![Requirement::Signed { by: Vec::new() }],
            false => args.requires.clone(),
        };
        return Ok((dev, requires, keys));
    };
    let spec = SpecArgs { path: args.path.clone(), values: args.values.clone() };
    let loaded = context.spec_for(&spec, environment)?;
    let requires = rolling::environment(&loaded, environment)?.requires.clone();
    if keys.is_empty() {
        keys = proofs::named_keys(&loaded)?;
    }
    Ok((environment.clone(), requires, keys))
}

fn rebuild(
    args: &Args,
    context: &Context,
    store: &Store,
    image: &Digest,
    witness: &StoreProofs,
    keys: &BTreeMap<Name, String>,
) -> Result<Rebuilt> {
    let trusted = witness
        .trusted(keys)
        .map_err(|error| Failure::new(Kind::Failed, "cannot read the keys").because(&*error))?;
    let found =
        evidence(store, image, &trusted).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let verified = found.iter().filter(|it| it.verified());
    let predicates = verified.filter_map(|it| match &it.claim {
        Claim::Attestation(predicate) => Some(predicate),
        Claim::Signature(_) | Claim::Unreadable => None,
    });
    let recorded = provenance::newest(predicates).ok_or_else(|| {
        Failure::new(
            Kind::NotFound,
            format!("no verified provenance says what image {} was built from", image.short()),
        )
        .hint("`kiln ship` records it; evidence travels with an image through push, pull, export and import")
    })?;
    context.ui.line("bakes it again from its recorded inputs");
    provenance::rebuild(store, image, recorded, &args.source, &())
}

fn text(answer: &Answer) -> String {
    let mut out = env::evidence(&answer.proven);
    match &answer.rebuilt {
        Some(it) if it.same => {
            let _ = writeln!(out, "  rebuilt: the same digest, {}", it.digest);
        }
        Some(it) => {
            let _ = writeln!(out, "  rebuilt: another digest, {}", it.digest);
            let _ = match &it.first {
                Some(first) => writeln!(
                    out,
                    "  first of {} files that differ: {}",
                    it.different,
                    image::difference(first).trim_end()
                ),
                None => writeln!(out, "  every file is the same; configuration or layer bytes differ"),
            };
        }
        None => {}
    }
    out.push_str(if answer.verified { "verified\n" } else { "NOT verified\n" });
    out
}
