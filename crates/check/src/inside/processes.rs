//! Processes of an instance: those in its process namespace.

use std::fs;
use std::path::Path;

use kiln_model::ProcessCheck;

use super::Inside;
use crate::finding::{self, Finding, Judge};
use crate::image::accounts::Accounts;

/// Bytes of a process's name that the kernel keeps (proc(5), comm).
const NAME_LENGTH: usize = 15;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// On the host.
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// Arguments, joined by spaces.
    pub(crate) cmdline: String,
    /// Inside.
    pub(crate) uid: u32,
    /// Most memory it had, bytes.
    pub(crate) peak: u64,
}

impl Inside {
    /// All of them.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let Some(own) = namespace(&self.pid.to_string()) else { return Vec::new() };
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut all: Vec<Process> = pids
            .filter(|pid| namespace(&pid.to_string()).as_ref() == Some(&own))
            .filter_map(|pid| self.process(pid))
            .collect();
        all.sort_by_key(|process| process.pid);
        all
    }

    /// `None` for one that is gone, or waits to be buried.
    fn process(&self, pid: u32) -> Option<Process> {
        let folder = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        if field("State").is_some_and(|state| state.starts_with(['Z', 'X'])) {
            return None;
        }
        let cmdline = fs::read(folder.join("cmdline")).unwrap_or_default();
        let words = cmdline.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let uid: u32 = field("Uid")?.split_whitespace().nth(1)?.parse().ok()?;
        let peak = field("VmHWM").and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        Some(Process {
            pid,
            name: fs::read_to_string(folder.join("comm")).ok()?.trim_end().to_owned(),
            cmdline: words.collect::<Vec<_>>().join(" ").trim_end().to_owned(),
            uid: self.users.inner(uid),
            peak: peak.unwrap_or(0) * 1024,
        })
    }
}

pub(crate) fn judge(wanted: &ProcessCheck, inside: &Inside, accounts: &Accounts) -> Result<(), Finding> {
    let what = format!("process {}", wanted.name);
    let all = inside.processes();
    let fits = |process: &&Process| {
        let cut = |name: &str| name.as_bytes().get(..NAME_LENGTH).unwrap_or(name.as_bytes()).to_vec();
        cut(&process.name) == cut(&wanted.name)
            && wanted
                .cmdline
                .as_ref()
                .is_none_or(|pattern| finding::matches(pattern, &process.cmdline).unwrap_or(false))
    };
    let found: Vec<&Process> = all.iter().filter(fits).collect();
    let mut judge = Judge::new(&what);
    let count = found.len();
    let others: Vec<&str> = all.iter().map(|process| process.name.as_str()).collect();
    let shown = || match count {
        0 => format!("only {}", others.join(", ")),
        _ => format!("{count} running"),
    };
    if let Some(wants) = wanted.count {
        let same = usize::try_from(wants).is_ok_and(|wants| wants == count);
        judge.that(same, format_args!("{wants} running"), shown());
    } else {
        let expected = if wanted.running { "to run" } else { "not to run" };
        judge.that((count > 0) == wanted.running, expected, shown());
    }
    if let Some(user) = &wanted.user {
        for process in &found {
            let name = accounts.user_name(process.uid);
            let same = *user == name || *user == process.uid.to_string();
            judge.that(same, format_args!("to run as {user}"), format_args!("user {name}"));
        }
    }
    judge.verdict()
}
