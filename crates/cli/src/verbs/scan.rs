//! `kiln scan`: known vulnerabilities, secrets and facts of an image, judged by the policy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kiln_model::{Digest, Name, Policy};
use kiln_scan::Examined;
use kiln_scan::policy::Outcome;
use kiln_store::Store;

use crate::args::{SpecArgs, Values};
use crate::baking::{self, BakeOptions};
use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::evidence::KeyArgs;
use crate::scanning;
use crate::ui::Ui;

/// Arguments of `kiln scan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Image blocks of the spec, which are baked where they must be; or tags and digests of the store. Without any, all
    /// images of the spec
    images: Vec<String>,
    /// Folder with kiln.hcl, or the file itself, for images and policies
    #[arg(long, default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    bake: BakeOptions,
    /// Print SARIF 2.1.0
    #[arg(long, conflicts_with = "json")]
    sarif: bool,
    /// Also list what passes and what was accepted
    #[arg(long)]
    all: bool,
    /// Write no evidence about the scan
    #[arg(long)]
    no_evidence: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// An image to scan.
#[derive(Debug)]
struct Wanted {
    name: String,
    image: Digest,
    policy: Policy,
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let store = crate::context::store()?;
    let mut worst = Outcome::Pass;
    let mut reports = Vec::new();
    for wanted in wanted(args, context, &store)? {
        let Wanted { name, image, policy, folder } = &wanted;
        let examined = scanning::scan(&store, image, name, policy, folder)?;
        if !args.no_evidence {
            scanning::prove(&store, image, &examined, &args.key)?;
        }
        worst = worst.max(examined.report.judgement.outcome);
        reports.push(examined);
    }
    tell(args, context, &reports)?;
    Ok(if worst == Outcome::Fail { ExitCode::from(Kind::Policy as u8) } else { ExitCode::SUCCESS })
}

fn tell(args: &Args, context: &Context, all: &[Examined]) -> Result<()> {
    if args.sarif {
        for examined in all {
            let text = examined.report.sarif(env!("CARGO_PKG_VERSION"));
            let text =
                text.map_err(|error| Failure::new(Kind::Failed, "cannot write SARIF").because(&error))?;
            context.ui.text(&text);
        }
        return Ok(());
    }
    let reports: Vec<_> = all.iter().map(|examined| &examined.report).collect();
    context.ui.result(&reports, || all.iter().map(|examined| text(examined, args.all)).collect());
    Ok(())
}

/// A scan in words.
pub(crate) fn text(examined: &Examined, all: bool) -> String {
    let mut out = examined.report.text(Ui::color(), all);
    for problem in &examined.inventory.problems {
        out.push_str(&format!("note: {problem}\n"));
    }
    out
}

fn wanted(args: &Args, context: &Context, store: &Store) -> Result<Vec<Wanted>> {
    let spec = SpecArgs { path: args.path.clone(), values: args.values.clone() };
    let has_spec = Path::new(&args.path).is_file() || args.path.join("kiln.hcl").is_file();
    if !has_spec {
        if args.images.is_empty() {
            // Its error says what to do.
            context.spec(&spec)?;
        }
        return args
            .images
            .iter()
            .map(|image| stored(store, image, Policy::built_in(), &args.path))
            .collect();
    }
    let loaded = context.spec(&spec)?;
    let all = || loaded.project.images.keys().map(Name::to_string).collect();
    let images: Vec<String> = if args.images.is_empty() { all() } else { args.images.clone() };
    let mut wanted = Vec::new();
    for text in images {
        let block = Name::new(&text).ok().filter(|name| loaded.project.images.contains_key(name));
        let Some(name) = block else {
            let default = loaded.project.policies.values().find(|policy| policy.image.is_none());
            let policy = default.cloned().unwrap_or_default();
            wanted.push(stored(store, &text, policy, &loaded.dir)?);
            continue;
        };
        let baked = baking::bake(context, &loaded, std::slice::from_ref(&name), &args.bake)?;
        let policy = loaded.project.policy_for(&name);
        wanted.extend(baked.into_iter().map(|it| Wanted {
            name: text.clone(),
            image: it.image.digest,
            policy: policy.clone(),
            folder: loaded.dir.clone(),
        }));
    }
    Ok(wanted)
}

fn stored(store: &Store, text: &str, policy: Policy, folder: &Path) -> Result<Wanted> {
    let image = super::image::resolve_here(store, text)?.digest;
    Ok(Wanted { name: text.to_owned(), image, policy, folder: folder.to_owned() })
}
