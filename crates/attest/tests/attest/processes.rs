//! Several processes, and processes that are killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kiln_attest::keys::TrustedKeys;
use kiln_attest::ledger::{Filter, Ledger, Record, Source};
use tempfile::TempDir;

use crate::ledger::entry;

const FOLDER: &str = "KILN_TEST_LEDGER";
const WORKER: &str = "KILN_TEST_WORKER";
const COUNT: &str = "KILN_TEST_COUNT";

/// Not a test by itself: what the tests below start as a process of its own. Appends, and prints the number and hash
/// of each record when it is acknowledged.
#[test]
#[ignore = "started by the tests beside it"]
fn appender() {
    let variable = |name: &str| std::env::var(name).expect("set by the test that starts this");
    let ledger = Ledger::open_with(Path::new(&variable(FOLDER)), 20_000).unwrap();
    let (worker, count) = (variable(WORKER), variable(COUNT).parse::<u64>().unwrap());
    let first = ledger.last_source(&worker).unwrap().unwrap_or(0) + 1;
    let mut out = std::io::stdout();
    for id in first..first + count {
        let mut event = entry(id);
        event.source = Some(Source { name: worker.clone(), id });
        // Some at once, so that a kill also falls into the middle of several lines.
        let appended = ledger.append_all(vec![event, entry(id), entry(id)]).unwrap();
        for record in appended.records {
            writeln!(out, "acknowledged {} {}", record.seq, record.hash).unwrap();
        }
        out.flush().unwrap();
    }
}

fn start(folder: &Path, worker: &str, count: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["processes::appender", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(WORKER, worker)
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Lines `acknowledged SEQ HASH` as they come.
fn acknowledged(child: &mut Child) -> impl Iterator<Item = (u64, String)> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| {
        let (_, rest) = line.split_once("acknowledged ")?;
        let (seq, hash) = rest.split_once(' ')?;
        Some((seq.parse().ok()?, hash.to_owned()))
    })
}

fn all(ledger: &Ledger) -> Vec<Record> {
    ledger.records(Filter::default()).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_process_killed_while_it_appends_loses_nothing_that_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let ledger = Ledger::open_with(folder.path(), 20_000).unwrap();
    let mut told: Vec<(u64, String)> = Vec::new();
    for round in 0..20 {
        let mut child = start(folder.path(), "pump", 1_000_000);
        let mut lines = acknowledged(&mut child);
        told.extend(lines.by_ref().take(round * 5 + 1));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had printed before it died was acknowledged too.
        told.extend(lines);
        let report = ledger.verify(&TrustedKeys::new(), None).unwrap();
        assert!(report.is_good(), "{report:?}");
        let records = all(&ledger);
        for (seq, hash) in &told {
            let index = usize::try_from(*seq).unwrap() - 1;
            assert_eq!(records.get(index).map(|record| record.hash.to_string()).as_ref(), Some(hash));
        }
        ledger.append(entry(round as u64)).unwrap();
    }
    assert!(told.len() > 20 * 45, "{}", told.len());
    // Each event of the pump is there once, and none is missing, however often it was killed.
    let sources = all(&ledger).into_iter().filter_map(|record| record.entry.source);
    let ids: Vec<u64> = sources.map(|source| source.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
}

#[test]
fn eight_processes_append_at_once() {
    const EACH: u64 = 40;
    let folder = TempDir::new().unwrap();
    let mut children: Vec<Child> =
        (0..8).map(|number| start(folder.path(), &format!("worker-{number}"), EACH)).collect();
    let mut told = Vec::new();
    for child in &mut children {
        told.extend(acknowledged(child));
        assert!(child.wait().unwrap().success());
    }
    let ledger = Ledger::open(folder.path()).unwrap();
    let report = ledger.verify(&TrustedKeys::new(), None).unwrap();
    assert!(report.is_good() && report.set_aside.is_empty(), "{report:?}");
    let records = all(&ledger);
    assert_eq!((records.len() as u64, told.len() as u64), (8 * EACH * 3, 8 * EACH * 3));
    told.sort_unstable();
    let written: Vec<(u64, String)> =
        records.iter().map(|record| (record.seq, record.hash.to_string())).collect();
    assert_eq!(told, written);
    for number in 0..8 {
        assert_eq!(ledger.last_source(&format!("worker-{number}")).unwrap(), Some(EACH));
    }
    // What was appended together stays together.
    for group in records.chunks(3) {
        assert!(group[0].entry.source.is_some(), "{group:?}");
    }
}
