//! Networks of instances: as root a bridge with an address for each, otherwise loopback and passed descriptors.

pub(crate) mod bridge;
pub(crate) mod inside;
pub(crate) mod names;
pub(crate) mod nat;
pub(crate) mod netlink;

use crate::intent::Network;

/// Removes an instance's cable, if it still has one.
pub(crate) fn unplug(network: &Network) {
    if let Network::Bridge { host_end, .. } = network {
        // Mostly the kernel has removed it already, with the namespace that held the other end.
        let _ = netlink::Netlink::open()
            .and_then(|netlink| netlink.ask(vec![netlink::Request::remove(host_end)]));
    }
}
