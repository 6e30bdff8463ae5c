//! The instance's own `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;

use crate::intent::{Intent, Network};

/// The files by their path in the instance.
pub(crate) fn files(intent: &Intent, host_name: &str) -> [(&'static str, String); 3] {
    [
        ("/etc/hosts", hosts(intent, host_name)),
        ("/etc/hostname", format!("{host_name}\n")),
        ("/etc/resolv.conf", resolvers(&intent.network)),
    ]
}

fn hosts(intent: &Intent, host_name: &str) -> String {
    let own = match &intent.network {
        Network::Bridge { address, .. } => *address,
        Network::Loopback => Ipv4Addr::LOCALHOST,
    };
    let mut text =
        format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{own} {host_name}\n");
    for peer in &intent.peers {
        let _ = writeln!(text, "{} {peer}", intent.peers_at);
    }
    text
}

/// The host's resolvers that an instance can reach; without a way out there are none.
fn resolvers(network: &Network) -> String {
    if matches!(network, Network::Loopback) {
        return String::new();
    }
    // systemd-resolved listens on the host's loopback and keeps the real resolvers in the second file.
    let candidates = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
    let texts = candidates.iter().filter_map(|path| fs::read_to_string(path).ok());
    texts.map(|text| reachable(&text)).find(|text| text.contains("nameserver")).unwrap_or_default()
}

fn reachable(text: &str) -> String {
    let local = |line: &str| {
        let address = line.strip_prefix("nameserver").map(str::trim);
        address.is_some_and(|address| address.starts_with("127.") || address == "::1")
    };
    text.lines().filter(|line| !local(line)).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_on_the_hosts_loopback_are_left_out() {
        let text = "search example.com\nnameserver 127.0.0.53\nnameserver 9.9.9.9\n";
        assert_eq!(reachable(text), "search example.com\nnameserver 9.9.9.9\n");
    }
}
