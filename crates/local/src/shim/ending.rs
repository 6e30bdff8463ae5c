//! How an instance is brought to its end, and what is said about it.

use std::fs;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::intent::{Exit, StopRule};

/// A stop under way.
pub(super) struct Stopping {
    rule: StopRule,
    /// When SIGKILL follows.
    pub(super) deadline: Instant,
    /// It followed because the program did not stop by itself.
    overdue: bool,
}

/// Sends the stop signal to the first process.
///
/// The kernel drops signals without a handler that are sent to the first process of a namespace; an ordinary process
/// would have been ended by them. So where the program neither handles nor ignores the signal, SIGKILL does what the
/// signal would have done, and nobody waits for the grace to pass.
pub(super) fn begin(pid: Pid, rule: StopRule) -> Stopping {
    let signal = Signal::from_str(&rule.signal).unwrap_or(Signal::SIGTERM);
    let _ = kill(pid, signal);
    let default_action = !has(pid, "SigCgt:", signal) && !has(pid, "SigIgn:", signal);
    if default_action {
        let _ = kill(pid, Signal::SIGKILL);
    }
    let deadline = Instant::now() + Duration::from_millis(rule.grace_ms);
    Stopping { rule, deadline, overdue: false }
}

/// Whether a mask in `/proc/PID/status` (proc(5)) holds the signal. Unknown counts as "handled".
fn has(pid: Pid, mask: &str, signal: Signal) -> bool {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let bits = text.lines().find_map(|line| line.strip_prefix(mask)).map(str::trim);
    let bits = bits.and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(u64::MAX);
    bits & (1 << (signal as i32 - 1)) != 0
}

impl Stopping {
    /// Kills once the grace is over; returns how long there is still to wait.
    pub(super) fn press(&mut self, pid: Pid) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() && !self.overdue {
            self.overdue = true;
            let _ = kill(pid, Signal::SIGKILL);
        }
        (!left.is_zero()).then_some(left)
    }
}

/// What is said about the end. `memory` is the limit in bytes when the kernel killed a process for it.
pub(super) fn describe(
    status: WaitStatus,
    stopping: Option<&Stopping>,
    memory: Option<u64>,
    at_ms: i64,
) -> Exit {
    let (code, plain) = match status {
        WaitStatus::Exited(_, code) => (code, format!("exited with status {code}")),
        WaitStatus::Signaled(_, signal, _) => (128 + signal as i32, format!("was killed by {signal}")),
        _ => (-1, "ended in an unknown way".to_owned()),
    };
    let killed = matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _));
    let what = match (stopping, memory) {
        (_, Some(limit)) if killed => {
            format!("killed: out of memory, limit {}", kiln_model::Bytes::new(limit))
        }
        (Some(stop), _) if stop.overdue => format!(
            "did not stop within {} of {} and was killed",
            kiln_model::Span::from_millis(stop.rule.grace_ms),
            stop.rule.signal
        ),
        (Some(stop), _) if killed => format!("stopped by {}", stop.rule.signal),
        _ => plain,
    };
    Exit { what, status: Some(code), out_of_memory: killed && memory.is_some(), at_ms }
}
