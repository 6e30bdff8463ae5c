//! Which file holds which limit.

use std::io;

use super::{Controller, Group};
use crate::intent::IntentLimits;

/// Period over which processor time is shared out, microseconds: the kernel's default for both versions.
const CPU_PERIOD_US: u64 = 100_000;

/// Sets the limits; returns what could not be set, told to people.
pub(crate) fn apply(group: &Group, limits: &IntentLimits) -> Vec<String> {
    let mut warnings = Vec::new();
    for hierarchy in &group.hierarchies {
        for (file, value, needed) in files(hierarchy.controller, limits) {
            match hierarchy.write(&group.name, file, &value) {
                Err(error) if needed => warnings.push(describe(file, &error)),
                _ => {}
            }
        }
    }
    warnings
}

fn describe(file: &str, error: &io::Error) -> String {
    let limit = file.split('.').next().unwrap_or(file);
    format!("the {limit} limit is not kept: {file}: {error}")
}

/// File, value, and whether the limit is lost without it.
fn files(controller: Controller, limits: &IntentLimits) -> Vec<(&'static str, String, bool)> {
    let mut files = Vec::new();
    let unified = controller == Controller::Unified;
    if let Some(bytes) = limits.memory {
        match controller {
            Controller::Unified => files.extend([
                ("memory.max", bytes.to_string(), true),
                ("memory.swap.max", "0".to_owned(), false),
                ("memory.oom.group", "1".to_owned(), false),
            ]),
            // Without swap accounting in the kernel there is no memsw file, and mostly no swap either.
            Controller::Memory => files.extend([
                ("memory.limit_in_bytes", bytes.to_string(), true),
                ("memory.memsw.limit_in_bytes", bytes.to_string(), false),
            ]),
            Controller::Cpu | Controller::Pids => {}
        }
    }
    if let Some(cpu) = limits.cpu {
        let quota = quota_us(cpu);
        match controller {
            Controller::Unified => files.push(("cpu.max", format!("{quota} {CPU_PERIOD_US}"), true)),
            Controller::Cpu => files.extend([
                ("cpu.cfs_period_us", CPU_PERIOD_US.to_string(), true),
                ("cpu.cfs_quota_us", quota.to_string(), true),
            ]),
            Controller::Memory | Controller::Pids => {}
        }
    }
    if unified || controller == Controller::Pids {
        files.push(("pids.max", limits.pids.to_string(), true));
    }
    files
}

/// The kernel refuses less than a millisecond.
fn quota_us(cpu: f64) -> u64 {
    ((cpu * CPU_PERIOD_US as f64) as u64).max(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_own_files() {
        let limits = IntentLimits { memory: Some(64 << 20), cpu: Some(0.5), pids: 32 };
        let names =
            |controller| files(controller, &limits).into_iter().map(|f| format!("{}={}", f.0, f.1)).collect();
        let all: Vec<String> = names(Controller::Unified);
        let expected = [
            "memory.max=67108864",
            "memory.swap.max=0",
            "memory.oom.group=1",
            "cpu.max=50000 100000",
            "pids.max=32",
        ];
        assert_eq!(all, expected);
        let cpu: Vec<String> = names(Controller::Cpu);
        assert_eq!(cpu, ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"]);
        assert_eq!(quota_us(0.000_1), 1_000);
    }
}
