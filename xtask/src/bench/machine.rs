//! What was measured on, and with which versions.

use std::fs;

use crate::{Cmd, setup};

/// One line per fact, as name and value.
pub(super) fn facts() -> Vec<(String, String)> {
    let mut facts = vec![
        ("date".into(), said(&Cmd::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))),
        ("processor".into(), format!("{} × {}", cores(), processor())),
        ("memory".into(), memory()),
        ("kernel".into(), said(&Cmd::new("uname").args(["-sr"]))),
        ("system".into(), os()),
    ];
    for (program, args) in [
        ("mmdebstrap", &["--version"][..]),
        ("dockerd", &["--version"]),
        ("buildah", &["--version"]),
        ("crun", &["--version"]),
        ("runc", &["--version"]),
        ("haproxy", &["-v"]),
        ("nginx", &["-v"]),
        ("wrk", &["-v"]),
        ("h2load", &["--version"]),
    ] {
        facts.push((program.into(), version(program, args)));
    }
    facts
}

fn version(program: &str, args: &[&str]) -> String {
    let Some(path) = setup::find(program) else { return "not installed".into() };
    let Ok(output) = Cmd::new(path).args(args).output() else { return "does not start".into() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().into()
}

fn said(command: &Cmd) -> String {
    command.read().map_or_else(|_| "unknown".into(), |text| text.trim().into())
}

fn processor() -> String {
    field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn memory() -> String {
    let kib = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    kib.map_or_else(|| "unknown".into(), |kib| format!("{} GiB", kib.div_ceil(1 << 20)))
}

fn os() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("unknown").trim_matches('"').into()
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().into())
}
