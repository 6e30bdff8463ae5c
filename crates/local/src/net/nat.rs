//! The way out for instances on a bridge: forwarding and masquerading, where the machine has a tool for it.
//!
//! Only Kiln's own table or rules are ever touched. Without `nft` and `iptables`, instances reach each other and the data
//! plane, but nothing beyond the machine; that is said in a warning.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use super::bridge::Bridge;

/// Makes the way out; returns why there is none, told to people.
pub(crate) fn open(bridge: &Bridge) -> Option<String> {
    if let Err(error) = fs::write("/proc/sys/net/ipv4/ip_forward", "1") {
        return Some(format!(
            "instances reach nothing outside this machine: cannot switch forwarding on: {error}"
        ));
    }
    let mut why = String::from("neither nft nor iptables is installed");
    for plan in [nft_up(bridge), iptables_up(bridge)] {
        match run(&plan) {
            Ok(()) => return None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => why = error.to_string(),
        }
    }
    Some(format!("instances reach nothing outside this machine: {why}"))
}

/// Removes what [`open`] made, with whatever tool that was.
pub(crate) fn close(bridge: &Bridge) {
    for plan in [nft_down(bridge), iptables_down(bridge)] {
        // What is not there need not be removed.
        let _ = run(&plan);
    }
}

/// Commands of which each must succeed, in this order.
type Plan = Vec<Vec<String>>;

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// One transaction: `nft` takes its time to begin, and more where there are many tables.
fn nft_up(bridge: &Bridge) -> Plan {
    let (table, net, name) = (&bridge.name, bridge.cidr(), &bridge.name);
    let script = [
        format!("add table ip {table}"),
        format!("flush table ip {table}"),
        format!("add chain ip {table} out {{ type nat hook postrouting priority 100 ; }}"),
        format!("add rule ip {table} out ip saddr {net} oifname != {name} masquerade"),
    ];
    vec![vec!["nft".into(), script.join("; ")]]
}

fn nft_down(bridge: &Bridge) -> Plan {
    vec![words(&format!("nft delete table ip {}", bridge.name))]
}

/// A chain of our own, and one jump to it.
fn iptables_up(bridge: &Bridge) -> Plan {
    let (chain, net, name) = (bridge.name.to_uppercase(), bridge.cidr(), &bridge.name);
    let mut plan = iptables_down(bridge).into_iter().map(optional).collect::<Plan>();
    plan.extend([
        words(&format!("iptables -w -t nat -N {chain}")),
        words(&format!("iptables -w -t nat -A {chain} -s {net} ! -o {name} -j MASQUERADE")),
        words(&format!("iptables -w -t nat -A POSTROUTING -j {chain}")),
    ]);
    plan
}

fn iptables_down(bridge: &Bridge) -> Plan {
    let chain = bridge.name.to_uppercase();
    vec![
        words(&format!("iptables -w -t nat -D POSTROUTING -j {chain}")),
        words(&format!("iptables -w -t nat -F {chain}")),
        words(&format!("iptables -w -t nat -X {chain}")),
    ]
}

/// Marks a command that may fail.
fn optional(mut command: Vec<String>) -> Vec<String> {
    command.insert(0, "?".into());
    command
}

fn run(plan: &Plan) -> io::Result<()> {
    for command in plan {
        let (may_fail, command) = match command.split_first() {
            Some((first, rest)) if first == "?" => (true, rest),
            _ => (false, command.as_slice()),
        };
        let Some((program, arguments)) = command.split_first() else { continue };
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
        if !output.status.success() && !may_fail {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("`{}`: {}", command.join(" "), said.trim())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_tables_and_chains_are_touched() {
        let bridge = Bridge { name: "kiln1a2b3c4d".into(), subnet: [10, 64, 3] };
        let text = |plan: Plan| plan.iter().map(|command| command.join(" ")).collect::<Vec<_>>();
        assert_eq!(
            text(nft_up(&bridge)),
            ["nft add table ip kiln1a2b3c4d; flush table ip kiln1a2b3c4d; \
                 add chain ip kiln1a2b3c4d out { type nat hook postrouting priority 100 ; }; \
                 add rule ip kiln1a2b3c4d out ip saddr 10.64.3.0/24 oifname != kiln1a2b3c4d masquerade",]
        );
        for command in text(iptables_up(&bridge)).iter().chain(&text(nft_down(&bridge))) {
            assert!(command.contains("KILN1A2B3C4D") || command.contains("kiln1a2b3c4d"), "{command}");
        }
    }
}
