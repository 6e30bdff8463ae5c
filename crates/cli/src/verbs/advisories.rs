//! `kiln advisories`: what is known against packages, kept on this machine.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use kiln_scan::advisories::{Info, Report, Source, UpdateOptions, update};

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::ledger::Act;
use crate::scanning;
use crate::ui::columns;

/// What OSV's export is asked for unless something else is.
const USUAL: [&str; 11] = [
    "Debian",
    "Alpine",
    "crates.io",
    "Go",
    "PyPI",
    "npm",
    "Maven",
    "RubyGems",
    "NuGet",
    "Packagist",
    "Ubuntu",
];

/// Arguments of `kiln advisories`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Deed,
}

#[derive(Debug, clap::Subcommand)]
enum Deed {
    /// Bring the advisories up to date; without a source, from OSV's public export
    Update {
        /// Folder, zip file or document in the layout of OSV's exports, for use without a network (may be given several
        /// times)
        #[arg(long, value_name = "PATH")]
        from: Vec<PathBuf>,
        /// Server that has ECOSYSTEM/all.zip below this address
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
        /// Ecosystem to fetch from the mirror, as OSV names it (may be given several times)
        #[arg(long, value_name = "NAME")]
        ecosystem: Vec<String>,
        /// Debian's security tracker in JSON: a file or an address
        #[arg(long, value_name = "FILE|URL", num_args = 0..=1, default_missing_value = Source::DEBIAN)]
        debian: Option<String>,
        /// Alpine's security database of a branch: a file, a folder or an address (may be given several times)
        #[arg(long, value_name = "FILE|URL")]
        alpine: Vec<String>,
    },
    /// Show what there is, and of when
    Show,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    match &args.act {
        Deed::Update { from, mirror, ecosystem, debian, alpine } => {
            let mut sources: Vec<Source> = from.iter().cloned().map(Source::Osv).collect();
            sources.extend(debian.clone().map(Source::Debian));
            sources.extend(alpine.iter().cloned().map(Source::Alpine));
            if mirror.is_some() || sources.is_empty() {
                let usual = || USUAL.map(String::from).to_vec();
                sources.push(Source::Mirror {
                    base: mirror.clone().unwrap_or_else(|| Source::OSV.into()),
                    ecosystems: if ecosystem.is_empty() { usual() } else { ecosystem.clone() },
                });
            }
            renew(context, &sources)
        }
        Deed::Show => {
            let Some(db) = scanning::advisories()? else {
                return Err(Failure::new(Kind::NotFound, "there are no advisories on this machine yet")
                    .hint("`kiln advisories update` fetches them; `--from` takes files"));
            };
            let info = db.info();
            context.ui.result(&info, || table(&info));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn renew(context: &Context, sources: &[Source]) -> Result<ExitCode> {
    const KEY: &str = "advisories";
    let options = UpdateOptions::default();
    let folder = scanning::folder()?;
    context.ui.working(KEY, "reads advisories");
    let done = crate::context::wait(async {
        update(&folder, sources, &options).await.map_err(|error| Failure::from_error(Kind::Failed, &error))
    })?;
    context.ui.finish(KEY);
    let details = serde_json::json!({ "digest": done.digest, "changed": done.changed });
    Act::new("advisories.updated").details(details).record()?;
    let failed: Vec<String> = done.failed.iter().map(|(name, error)| told(name, error)).collect();
    let answer = serde_json::json!({
        "digest": done.digest, "changed": done.changed, "unchanged": done.unchanged, "failed": failed,
        "skipped": done.skipped_count,
    });
    context.ui.result(&answer, || text(&done));
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(
        Kind::Failed,
        format!("{} sources could not be read; what was there of them stays", failed.len()),
    )
    .with_causes(failed)
    .hint("run it again; `--from` takes files where there is no network"))
}

fn told(name: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{name}: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        let _ = write!(text, ": {source}");
        cause = source.source();
    }
    text
}

fn text(done: &Report) -> String {
    let mut out = String::new();
    for name in &done.changed {
        let _ = writeln!(out, "{name}: new");
    }
    for name in &done.unchanged {
        let _ = writeln!(out, "{name}: as before");
    }
    if done.skipped_count > 0 {
        let _ = writeln!(out, "{} documents were no advisories and were passed over", done.skipped_count);
        for skipped in done.skipped.iter().take(3) {
            let _ = writeln!(out, "  {}: {}", skipped.file, skipped.reason);
        }
    }
    if let Some(digest) = &done.digest {
        let _ = writeln!(out, "advisories {}", digest.short());
    }
    out
}

fn table(info: &Info) -> String {
    let date =
        |at: Option<jiff::Timestamp>| at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
    let mut rows = vec![["SOURCE", "ADVISORIES", "NEWEST", "DIGEST"].map(String::from).to_vec()];
    rows.extend(info.sources.iter().map(|source| {
        vec![source.name.clone(), source.count.to_string(), date(source.modified), source.digest.short()]
    }));
    format!(
        "{}{} advisories, newest of {}, digest {}\n",
        columns(&rows),
        info.count,
        date(info.modified),
        info.digest
    )
}
