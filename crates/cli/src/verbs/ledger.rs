//! `kiln ledger`: the record of every act.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use kiln_attest::keys::{PublicKey, TrustedKeys};
use kiln_attest::ledger::{Filter, Record, Repair, Report};
use kiln_model::{Digest, Name};

use crate::context::{Context, author, name, now_ms};
use crate::error::{Failure, Kind, Result};
use crate::home::Home;
use crate::ui::{age, columns};
use crate::{evidence, ledger};

/// Arguments of `kiln ledger`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Show records, newest last
    Show {
        #[command(flatten)]
        which: Which,
        /// At most so many, the newest
        #[arg(short = 'n', long, default_value_t = 50)]
        limit: usize,
    },
    /// Look for records that were altered, removed, inserted or reordered
    Verify {
        /// Trust only this public key for checkpoints, a PEM file; the keys of the home unless given
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Write records as JSON lines
    Export {
        #[command(flatten)]
        which: Which,
        /// File to write; standard output unless given
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Sign where the ledger ends now
    Checkpoint,
    /// Go on after a damage: what does not hold is set aside as it is, and that is put on the record
    Repair {
        /// Why, for the record
        #[arg(short = 'm', long, value_parser = NonEmptyStringValueParser::new())]
        reason: String,
    },
}

/// Which records.
#[derive(Clone, Debug, clap::Args)]
struct Which {
    /// Only of this environment
    #[arg(short, long, value_parser = name)]
    environment: Option<Name>,
    /// Only of this service
    #[arg(short, long, value_parser = name)]
    service: Option<Name>,
    /// Only about this image: tag, digest, or the beginning of a digest
    #[arg(long)]
    image: Option<String>,
    /// Only of this person; `kiln` is Kiln itself
    #[arg(long)]
    who: Option<String>,
    /// Only acts that begin so, such as "image" or "rollout.started"
    #[arg(long)]
    what: Option<String>,
    /// Only since then: a time as RFC 3339 has it, or how long ago, such as 24h
    #[arg(long, value_parser = moment)]
    since: Option<u64>,
    /// Only until then
    #[arg(long, value_parser = moment)]
    until: Option<u64>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let ledger = ledger::open()?;
    let fail = |error| Failure::from_error(Kind::Failed, &error);
    match &args.act {
        Act::Show { which, limit } => {
            let mut newest = std::collections::VecDeque::new();
            for record in ledger.records(which.filter()?).map_err(fail)? {
                if newest.len() == *limit {
                    newest.pop_front();
                }
                newest.push_back(record.map_err(fail)?);
            }
            context.ui.result(&newest, || table(newest.iter()));
        }
        Act::Verify { key } => {
            let report = ledger.verify(&trusted(key.as_ref())?, witness()?.as_ref()).map_err(fail)?;
            context.ui.result(&report, || told(&report));
            return Ok(if report.is_good() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(Kind::Refused as u8)
            });
        }
        Act::Export { which, output: None } => {
            ledger.export(which.filter()?, &mut std::io::stdout().lock()).map_err(fail)?;
        }
        Act::Export { which, output: Some(path) } => {
            let file = File::create_new(path).map_err(|error| {
                Failure::new(Kind::Failed, format!("cannot write {}", path.display()))
                    .because(&error)
                    .hint("name a file that is not there yet")
            })?;
            let mut file = BufWriter::new(file);
            let count = ledger.export(which.filter()?, &mut file).map_err(fail)?;
            file.flush()?;
            let answer = serde_json::json!({ "records": count, "path": path });
            context.ui.result(&answer, || format!("wrote {count} records to {}", path.display()));
        }
        Act::Checkpoint => {
            let key = evidence::KeyArgs::default().load()?;
            let now = now_ms().max(0).unsigned_abs();
            let made = ledger.checkpoint(&key, now).map_err(fail)?;
            context.ui.result(&made, || match &made {
                Some(made) => format!("signed record {}, {}", made.seq, made.head),
                None => "the ledger is empty".into(),
            });
        }
        Act::Repair { reason } => {
            let now = now_ms().max(0).unsigned_abs();
            let made = ledger.repair(&author(), reason, witness()?.as_ref(), now).map_err(fail)?;
            let report = ledger.verify(&TrustedKeys::new(), None).map_err(fail)?;
            let own = report.repairs.iter().find(|it| made.as_ref().is_some_and(|made| it.seq == made.seq));
            context.ui.result(&own, || match own {
                Some(repair) => format!("{}the ledger goes on with record {}", repaired(repair), repair.seq),
                None => "the chain holds up to its end: there is nothing to repair".into(),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Which {
    fn filter(&self) -> Result<Filter> {
        Ok(Filter {
            environment: self.environment.clone(),
            service: self.service.clone(),
            image: self.image.as_deref().map(image).transpose()?,
            who: self.who.clone(),
            what: self.what.clone(),
            since_ms: self.since,
            until_ms: self.until,
            after: None,
        })
    }
}

/// A digest names an image that the store may no longer have.
fn image(text: &str) -> Result<Digest> {
    match text.parse() {
        Ok(digest) => Ok(digest),
        Err(_) => Ok(super::image::resolve(&crate::context::store()?, text)?.digest),
    }
}

fn moment(text: &str) -> std::result::Result<u64, String> {
    if let Ok(span) = text.parse::<kiln_model::Span>() {
        return Ok(now_ms().max(0).unsigned_abs().saturating_sub(span.millis()));
    }
    let parsed: std::result::Result<jiff::Timestamp, _> = text.parse();
    parsed
        .map(|at| at.as_millisecond().max(0).unsigned_abs())
        .map_err(|_| "write a time such as 2026-11-21T12:00:00Z, or how long ago, such as 24h".into())
}

fn trusted(key: Option<&PathBuf>) -> Result<TrustedKeys> {
    let Some(path) = key else {
        return evidence::folder()?.all_public().map_err(|error| evidence::failure(&error));
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Kind::NotFound, format!("cannot read the key {}", path.display())).because(&error)
    })?;
    let mut trusted = TrustedKeys::new();
    let public = PublicKey::from_pem(&text).map_err(|error| evidence::failure(&error))?;
    trusted.add(kiln_attest::keys::own_name(), public);
    Ok(trusted)
}

/// The end of the ledger as the control plane saw it.
fn witness() -> Result<Option<kiln_attest::ledger::Head>> {
    Ok(kiln_control::witness(Home::find()?.path()))
}

fn table<'r>(records: impl Iterator<Item = &'r Record>) -> String {
    let mut rows = vec![["SEQ", "AGE", "WHO", "WHAT", "WHERE", "IMAGE", "WHY"].map(String::from).to_vec()];
    rows.extend(records.map(|record| {
        let entry = &record.entry;
        let place = [&entry.environment, &entry.service].into_iter().flatten();
        let place: Vec<&str> = place.map(Name::as_str).collect();
        let why = entry.why.as_deref().unwrap_or_default();
        vec![
            record.seq.to_string(),
            age(i64::try_from(entry.at_ms).unwrap_or(i64::MAX), now_ms()),
            entry.who.clone(),
            entry.what.clone(),
            place.join("/"),
            entry.image.map(|image| image.short()).unwrap_or_default(),
            why.lines().next().unwrap_or_default().to_owned(),
        ]
    }));
    columns(&rows)
}

/// A gap that somebody acknowledged.
fn repaired(repair: &Repair) -> String {
    let gap = &repair.gap;
    let why = repair.why.as_deref().unwrap_or_default();
    let lacks = match gap.to.checked_sub(gap.from) {
        Some(0) => format!("record {} is missing", gap.from),
        Some(_) => format!("records {} to {} are missing", gap.from, gap.to),
        None => "no record is missing".into(),
    };
    let mut out =
        format!("acknowledged by {} in record {} ({why}): {lacks}; {}\n", repair.who, repair.seq, gap.damage);
    for aside in &gap.aside {
        let _ = writeln!(out, "  kept in {}, {} bytes, {}", aside.file, aside.bytes, aside.digest);
    }
    for told in &repair.told_of {
        let _ = writeln!(out, "  {told}");
    }
    out
}

fn told(report: &Report) -> String {
    let mut out: String = report.repairs.iter().map(repaired).collect();
    for problem in &report.problems {
        let _ = writeln!(out, "{problem}");
    }
    if let Some(torn) = &report.torn {
        let _ = writeln!(
            out,
            "{} ends with {} bytes of a record that was never acknowledged; the next append sets them aside",
            torn.file.display(),
            torn.bytes
        );
    }
    let covered = report.covered.map_or_else(
        || "no checkpoint".to_owned(),
        |seq| format!("{} checkpoints, the last over record {seq}", report.checkpoints),
    );
    let verdict = match (report.is_good(), report.repairs.len()) {
        (true, 0) => "the chain holds".to_owned(),
        (true, count) => format!(
            "the chain holds, but for {count} acknowledged damage{}",
            if count > 1 { "s" } else { "" }
        ),
        (false, _) => "the chain does NOT hold".to_owned(),
    };
    let _ = writeln!(out, "{verdict}: {} records, {covered}", report.records);
    out
}
