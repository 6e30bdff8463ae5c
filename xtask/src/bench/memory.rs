//! How much memory Kiln's own processes hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::deploy::{Up, home_of};
use super::stats::median;
use super::{Aim, Bench, Row, Unit};
use crate::{Cmd, Error};

/// One of Kiln's processes.
pub(super) struct Process {
    pub(super) id: u32,
    /// `serve`, `proxy`, `shim`.
    role: String,
}

/// After a deploy and some traffic, idle.
pub(super) fn memory(bench: &Bench) -> Result<Vec<Row>, Error> {
    let up = Up::start(bench, "memory", "rollout \"blue-green\" {}")?;
    let url = format!("http://127.0.0.1:{}/", up.port);
    Cmd::new("wrk").args(["-t", "1", "-c", "64", "-d", "2s", &url]).read()?;
    std::thread::sleep(Duration::from_secs(2));
    let processes = processes(&bench.kiln, &up.home);
    let mut rows = Vec::new();
    for (role, what, limit) in [
        ("serve", "memory: control plane, idle", 50.0),
        ("proxy", "memory: proxy, after load on 64 connections", 30.0),
        ("shim", "memory: each shim", 3.0),
    ] {
        let sizes: Vec<(f64, f64)> =
            processes.iter().filter(|process| process.role == role).filter_map(|p| sizes(p.id)).collect();
        if sizes.is_empty() {
            rows.push(Row::unmeasured(what, "no such process was found"));
            continue;
        }
        let resident = median(&sizes.iter().map(|size| size.0).collect::<Vec<_>>());
        let proportional = median(&sizes.iter().map(|size| size.1).collect::<Vec<_>>());
        rows.push(Row {
            what: what.into(),
            unit: Unit::Megabytes,
            kiln: Ok(proportional),
            peers: Vec::new(),
            aims: vec![Aim::Limit(limit)],
            how: format!(
                "proportional set size, which shares the pages of the one binary among its processes; resident set {resident:.1} MB"
            ),
        });
    }
    Ok(rows)
}

/// The processes of one binary with one home.
pub(super) fn processes(kiln: &Path, home: &Path) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| {
        let proc = PathBuf::from(format!("/proc/{id}"));
        let same = fs::read_link(proc.join("exe")).ok()? == kiln;
        let ours = home_of(&fs::read(proc.join("environ")).ok()?, home);
        let line = fs::read(proc.join("cmdline")).ok()?;
        let verb =
            line.split(|byte| *byte == 0).nth(1).map(|word| String::from_utf8_lossy(word).into_owned())?;
        // A supervisor's second half has a verb of its own that begins with the first one's.
        let role = if verb.starts_with("shim") { "shim".into() } else { verb };
        (same && ours).then_some(Process { id, role })
    })
    .collect()
}

/// Resident and proportional set size, megabytes.
fn sizes(id: u32) -> Option<(f64, f64)> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    };
    Some((field("Rss:")?, field("Pss:")?))
}
