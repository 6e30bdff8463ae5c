//! What the command may not do: capabilities, new privileges, system calls.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use seccompiler::{TargetArch, apply_filter, compile_from_json};

/// What installing software needs: owners, modes, other users, chroot, low ports. No devices, mounts, clocks,
/// network set-up, kernel.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SYS_CHROOT);

/// Refused with EPERM: calls that change the machine, look into its kernel, or open the way to large attack
/// surfaces.
const REFUSED: [&str; 41] = [
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
];

/// `CLONE_NEWUSER`: inside a user namespace of its own a process has all capabilities again.
const NEWUSER: u64 = 0x1000_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Gives up, for this process and all that it starts, everything the command does not need. The last thing
/// before it is executed.
pub(super) fn apply() -> io::Result<()> {
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !KEPT.contains(one) => remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            // The first number that the kernel does not know.
            Err(_) => break,
        }
    }
    clear_ambient_capability_set()?;
    let kept = capabilities(None)?.permitted & KEPT;
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    set_no_new_privs(true)?;
    filter(&refusals(), EPERM)?;
    // clone3 hides its flags from filters; told that it does not exist, libraries use clone.
    filter("{\"syscall\":\"clone3\"}", ENOSYS)
}

fn refusals() -> String {
    let known = REFUSED.iter().filter(|name| cfg!(target_arch = "x86_64") || !X86_ONLY.contains(name));
    let mut rules: Vec<String> = known.map(|name| format!("{{\"syscall\":\"{name}\"}}")).collect();
    rules.push(format!(
        "{{\"syscall\":\"clone\",\"args\":[{{\"index\":0,\"type\":\"qword\",\"op\":{{\"masked_eq\":{NEWUSER}}},\
         \"val\":{NEWUSER}}}]}}"
    ));
    rules.join(",")
}

/// Not among the calls of newer architectures.
const X86_ONLY: [&str; 0] = [];

fn filter(rules: &str, errno: u32) -> io::Result<()> {
    let text = format!(
        "{{\"main\":{{\"mismatch_action\":\"allow\",\"match_action\":{{\"errno\":{errno}}},\"filter\":[{rules}]}}}}"
    );
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let compiled = compile_from_json(text.as_bytes(), arch).map_err(io::Error::other)?;
    let program = compiled.get("main").ok_or_else(|| io::Error::other("no filter was made"))?;
    apply_filter(program).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_for_both_architectures() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            for rules in [refusals(), "{\"syscall\":\"clone3\"}".to_owned()] {
                let text = format!(
                    "{{\"main\":{{\"mismatch_action\":\"allow\",\"match_action\":{{\"errno\":1}},\"filter\":[{rules}]}}}}"
                );
                compile_from_json(text.as_bytes(), arch).unwrap();
            }
        }
    }
}
