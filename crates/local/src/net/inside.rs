//! The network of one instance, made by its supervisor.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;

use super::bridge::index;
use super::netlink::{FIRST, LOOPBACK, Netlink, Request};
use crate::intent::Network;

/// What must be opened before this process leaves the host's network.
pub(crate) struct Outside {
    netlink: Netlink,
    bridge: u32,
}

impl Outside {
    /// Opens it, where the instance is to be connected at all.
    pub(crate) fn open(network: &Network) -> io::Result<Option<Self>> {
        let Network::Bridge { bridge, .. } = network else { return Ok(None) };
        Ok(Some(Self { netlink: Netlink::open()?, bridge: index(bridge)? }))
    }
}

/// Brings loopback and, where there is a bridge, the cable up; called within the new network namespace.
pub(crate) fn set_up(network: &Network, outside: Option<Outside>) -> io::Result<()> {
    // Low ports are no privilege in a network of one's own (Docker decides the same).
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")?;
    let inside = Netlink::open()?;
    let mut requests = vec![Request::up(LOOPBACK)];
    if let (Network::Bridge { host_end, address, prefix, gateway, .. }, Some(outside)) = (network, outside) {
        let own = File::open("/proc/self/ns/net")?;
        outside.netlink.ask(vec![Request::cable(host_end, outside.bridge, own.as_raw_fd(), *address)])?;
        requests.push(Request::up(FIRST));
        requests.push(Request::address(FIRST, *address, *prefix));
        requests.push(Request::default_route(*gateway));
    }
    inside.ask(requests)
}
