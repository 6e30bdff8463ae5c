//! `kiln check`: proving images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kiln_check::CheckReport;
use kiln_model::{Check, CheckProbe, Digest, Name};
use kiln_spec::Loaded;

use crate::args::{SpecArgs, Values};
use crate::baking::{self, BakeOptions};
use crate::checking;
use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::evidence::KeyArgs;

/// Arguments of `kiln check`.
///
/// Images are baked where needed; then an instance of each is started as Kiln would run it, in a place and network of
/// its own, and everything that is expected is judged. Nothing of it is left afterwards. Exits with 9 when something
/// does not hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Image blocks of the spec, or tags and digests of the store. Default: every image of the spec that has checks
    images: Vec<String>,
    /// Folder with kiln.hcl, or the file itself
    #[arg(long, value_name = "PATH", default_value = ".")]
    spec: PathBuf,
    /// Whose checks an image of the store must pass: an image block of the spec; not needed where only one has checks
    #[arg(long = "as", value_name = "BLOCK", value_parser = crate::context::name)]
    block: Option<Name>,
    /// Also run a goss file (may be given several times)
    #[arg(long, value_name = "FILE")]
    goss: Vec<PathBuf>,
    /// Also run a file of container-structure-test (may be given several times)
    #[arg(long, value_name = "FILE")]
    structure: Vec<PathBuf>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write no evidence about the checks
    #[arg(long)]
    no_evidence: bool,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    options: BakeOptions,
}

/// One image that is checked.
struct Work {
    /// As the person wrote it.
    label: String,
    name: Name,
    image: Digest,
    checks: Vec<Check>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let loaded = spec(args, context)?;
    let (works, baked) = collect(args, context, loaded.as_ref())?;
    let folder = loaded.as_ref().map_or_else(|| PathBuf::from("."), |loaded| loaded.dir.clone());
    let store = crate::context::store()?;
    let mut reports = Vec::new();
    for work in &works {
        let report = checking::check(context, &work.name, work.image, &baked, &work.checks, &folder)?;
        if !args.no_evidence {
            checking::prove(&store, &report, &args.key)?;
        }
        reports.push((work.label.clone(), report));
    }
    if let Some(file) = &args.junit {
        write_junit(file, &reports)?;
    }
    let answer: Vec<_> =
        reports.iter().map(|(name, report)| serde_json::json!({"name": name, "report": report})).collect();
    context.ui.result(&answer, || reports.iter().map(summary).collect());
    let passed = reports.iter().all(|(_, report)| report.passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(Kind::Check as u8) })
}

/// The spec, where there is one or one is needed.
fn spec(args: &Args, context: &Context) -> Result<Option<Loaded>> {
    let there = args.spec.is_file() || args.spec.join("kiln.hcl").is_file();
    if !args.images.is_empty() && !there {
        return Ok(None);
    }
    let spec = SpecArgs { path: args.spec.clone(), values: args.values.clone() };
    context.spec(&spec).map(Some)
}

fn collect(
    args: &Args,
    context: &Context,
    loaded: Option<&Loaded>,
) -> Result<(Vec<Work>, BTreeMap<Name, Digest>)> {
    let extra = extra(args)?;
    let blocks = blocks(args, loaded, !extra.is_empty())?;
    let mut baked = BTreeMap::new();
    if let Some(loaded) = loaded {
        let wanted = blocks.iter().chain(&args.block);
        let needed: BTreeSet<Name> = wanted.flat_map(|name| checking::needed(loaded, name)).collect();
        let needed: Vec<Name> = needed.into_iter().collect();
        let done = baking::bake(context, loaded, &needed, &args.options)?;
        baked.extend(done.into_iter().map(|done| (done.name, done.image.digest)));
    }
    let labels = match args.images.is_empty() {
        true => blocks.iter().map(Name::to_string).collect(),
        false => args.images.clone(),
    };
    let mut works = Vec::new();
    for label in labels {
        let block = blocks.iter().find(|name| name.as_str() == label);
        works.push(match block {
            Some(name) => of_block(name, loaded, &baked, &extra),
            None => of_store(&label, loaded, args.block.as_ref(), &extra)?,
        });
    }
    if let Some(work) = works.iter().find(|work| work.checks.is_empty()) {
        return Err(nothing_to_check(&work.label));
    }
    Ok((works, baked))
}

/// The image blocks that are meant.
fn blocks(args: &Args, loaded: Option<&Loaded>, extra: bool) -> Result<Vec<Name>> {
    let Some(loaded) = loaded else { return Ok(Vec::new()) };
    let project = &loaded.project;
    let known = project.images.keys();
    if !args.images.is_empty() {
        return Ok(known
            .filter(|name| args.images.iter().any(|given| given == name.as_str()))
            .cloned()
            .collect());
    }
    let checked = |name: &&Name| extra || project.checks.iter().any(|check| check.image == **name);
    let found: Vec<Name> = known.filter(checked).cloned().collect();
    if found.is_empty() {
        return Err(nothing_to_check(project.name.as_str()));
    }
    Ok(found)
}

fn nothing_to_check(what: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("there is nothing to check of {what}"))
        .hint("add a `check` block to the spec, or give --goss FILE or --structure FILE")
}

fn of_block(
    name: &Name,
    loaded: Option<&Loaded>,
    baked: &BTreeMap<Name, Digest>,
    extra: &[CheckProbe],
) -> Work {
    let checks = loaded.into_iter().flat_map(|loaded| &loaded.project.checks);
    let mut checks: Vec<Check> = checks.filter(|check| check.image == *name).cloned().collect();
    checks.extend(given(name, extra));
    let image = baked.get(name).copied().unwrap_or_else(|| Digest::from_bytes([0; 32]));
    Work { label: name.to_string(), name: name.clone(), image, checks }
}

/// An image of the store with the checks of the block that it is one of.
fn of_store(
    label: &str,
    loaded: Option<&Loaded>,
    named: Option<&Name>,
    extra: &[CheckProbe],
) -> Result<Work> {
    let found = crate::context::store()?.resolve(label).map_err(|error| {
        Failure::from_error(Kind::NotFound, &error)
            .hint("give an image block of the spec, or what `kiln image list` shows")
    })?;
    let all = loaded.map_or(&[][..], |loaded| &loaded.project.checks);
    let blocks: BTreeSet<&Name> = all.iter().map(|check| &check.image).collect();
    let block = match (named, blocks.len()) {
        (Some(name), _) => Some(name),
        (None, 1) => blocks.first().copied(),
        (None, 0) => None,
        (None, _) if !extra.is_empty() => None,
        (None, _) => {
            let names: Vec<&str> = blocks.iter().map(|name| name.as_str()).collect();
            return Err(Failure::new(
                Kind::NotFound,
                format!("it is not said whose checks {label} must pass"),
            )
            .hint(format!("name the image block with --as: {}", names.join(", "))));
        }
    };
    let image = Name::new("image").map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let name = block.cloned().unwrap_or(image);
    let mut checks: Vec<Check> = all.iter().filter(|check| check.image == name).cloned().collect();
    checks.extend(given(&name, extra));
    Ok(Work { label: label.to_owned(), name, image: found.digest, checks })
}

/// The files of the command line as checks of an image.
fn given(image: &Name, extra: &[CheckProbe]) -> Vec<Check> {
    let name = |probe: &CheckProbe| match probe {
        CheckProbe::Goss { file } | CheckProbe::Structure { file } => file.clone(),
        other => other.kind().to_owned(),
    };
    extra.iter().map(|probe| Check::new(name(probe), image.clone(), probe.clone())).collect()
}

/// Paths of the command line are relative to where it was typed, not to the spec.
fn extra(args: &Args) -> Result<Vec<CheckProbe>> {
    let absolute = |path: &PathBuf| Ok(std::path::absolute(path)?.to_string_lossy().into_owned());
    let goss = args.goss.iter().map(|path| absolute(path).map(|file| CheckProbe::Goss { file }));
    let structure = args.structure.iter();
    let structure = structure.map(|path| absolute(path).map(|file| CheckProbe::Structure { file }));
    goss.chain(structure).collect()
}

fn write_junit(file: &Path, reports: &[(String, CheckReport)]) -> Result<()> {
    let fail = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Kind::Failed, format!("cannot write {}", file.display())).because(error)
    };
    let text = CheckReport::junit(reports).map_err(|error| fail(error.as_ref()))?;
    std::fs::write(file, text).map_err(|error| fail(&error))
}

fn summary((name, report): &(String, CheckReport)) -> String {
    let (all, failed) = (report.results.len(), report.failed().count());
    let digest = report.image.short();
    match failed {
        0 => format!("{name} {digest}: all {all} expectations hold\n"),
        failed => format!("{name} {digest}: {failed} of {all} expectations do not hold\n"),
    }
}
