//! Proving images as the verbs need it: which checks an image has, running them with a person watching.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kiln_attest::predicate::{Predicate, TestOutcome, TestResult};
use kiln_check::{CheckReport, CheckResult, Host, ProveError, Subject};
use kiln_model::{Check, Digest, Name};
use kiln_spec::Loaded;
use kiln_store::Store;

use crate::context::{Context, program};
use crate::error::{Failure, Kind, Result};
use crate::evidence::{KeyArgs, swear};
use crate::home::Home;
use crate::ledger::Act;
use crate::ui::{Ui, took};

/// The key under which the screen shows what is under way.
const CHECKING: &str = "checking";

/// The image blocks that must be baked before an image can be checked: itself, and its stand-ins.
pub(crate) fn needed(loaded: &Loaded, image: &Name) -> BTreeSet<Name> {
    let checks = loaded.project.checks.iter().filter(|check| check.image == *image);
    let stand_ins = checks.flat_map(|check| check.setup.stand_ins.values().map(|one| one.image.clone()));
    stand_ins.chain([image.clone()]).collect()
}

/// Judges everything that the checks expect of an image. `baked` has the digests of the spec's images, `folder` is what
/// paths in checks are relative to. A check that does not hold is in the report and no failure of this.
pub(crate) fn check(
    context: &Context,
    name: &Name,
    image: Digest,
    baked: &BTreeMap<Name, Digest>,
    checks: &[Check],
    folder: &Path,
) -> Result<CheckReport> {
    let home = Home::find()?;
    let host = Host {
        home: home.path().to_owned(),
        exe: program()?,
        store: home.store(),
        folder: folder.to_owned(),
    };
    let subject = Subject { name: name.clone(), image, others: baked.clone() };
    context.ui.working(CHECKING, &format!("checks image {name} {}", image.short()));
    let tell = |result: &CheckResult| told(&context.ui, result);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(kiln_check::prove(&host, &subject, checks, &tell, interrupted()));
    context.ui.finish(CHECKING);
    report.map_err(|error| failure(name, &error))
}

/// Writes down how the checks went: a signed statement about the image. What programs printed stays out of it.
pub(crate) fn prove(store: &Store, report: &CheckReport, key: &KeyArgs) -> Result<Digest> {
    let named = |passed: bool| {
        let results = report.results.iter().filter(move |it| it.passed == passed);
        results.map(|it| format!("{}: {}", it.name, it.what)).collect()
    };
    let millis: Vec<u64> = report.results.iter().map(|it| it.millis).collect();
    let result = TestResult {
        outcome: if report.passed { TestOutcome::Passed } else { TestOutcome::Failed },
        configuration: Vec::new(),
        passed: named(true),
        warned: Vec::new(),
        failed: named(false),
        at_ms: u64::try_from(report.ended_ms).ok(),
        details: serde_json::json!({ "millis": millis }),
    };
    let details = serde_json::json!({ "passed": result.passed.len(), "failed": result.failed.len() });
    let evidence = swear(store, &report.image, &Predicate::Tested(result), &key.load()?)?;
    Act::new("image.tested").image(&report.image).evidence(&evidence).details(details).record()?;
    Ok(evidence)
}

/// Ctrl-C, or whoever ends this process politely.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

fn failure(name: &Name, error: &ProveError) -> Failure {
    if matches!(error, ProveError::Interrupted) {
        return Failure::new(Kind::Interrupted, "interrupted; nothing of the checks was left running");
    }
    Failure::new(Kind::Failed, format!("cannot check image {name}")).because(error)
}

fn told(ui: &Ui, result: &CheckResult) {
    let time = took(std::time::Duration::from_millis(result.millis));
    let line = format!("{}: {} ({time})", result.name, result.what);
    if result.passed {
        return ui.done("", &line);
    }
    ui.failed("", &line);
    ui.line(format!("    expected {}", result.expected));
    ui.line(format!("    found    {}", result.found));
    if !result.output.is_empty() {
        ui.line("    it gave:");
        result.output.lines().for_each(|line| ui.line(format!("    | {}", plain(line))));
    }
    if !result.log.is_empty() {
        ui.line("    the instance printed last:");
        result.log.iter().for_each(|line| ui.line(format!("    | {}", plain(line))));
    }
}

/// What programs print does not steer the terminal.
fn plain(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
