//! The bridge of one home: every instance that root runs has its own address on it.
//!
//! The subnet is chosen once and written to `network.json`, so that instances keep their addresses and the data plane
//! its listeners when the control plane starts anew.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::netlink::{Netlink, Request};
use crate::error::LocalError;
use crate::files;

/// Length of the subnet's prefix, bits.
pub(crate) const PREFIX: u8 = 24;

/// The network of one home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bridge {
    /// Interface name.
    pub(crate) name: String,
    /// First three bytes of the subnet.
    pub(crate) subnet: [u8; 3],
}

impl Bridge {
    /// The bridge that `file` records, or a new one with a subnet that the host does not route.
    pub(crate) fn choose(file: &Path, home: &str, wanted: Option<[u8; 3]>) -> Result<Self, LocalError> {
        let known: Option<Self> = files::read_json(file).map_err(LocalError::file("read", file))?;
        if let Some(known) = known.filter(|known| wanted.is_none_or(|subnet| subnet == known.subnet)) {
            return Ok(known);
        }
        let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
        let seed = u32::from_str_radix(home, 16).unwrap_or(0);
        let bridge = Self {
            name: format!("kiln{home}"),
            subnet: wanted.unwrap_or_else(|| free_subnet(&routes, seed)),
        };
        let bytes = serde_json::to_vec(&bridge).unwrap_or_default();
        files::replace_durably(file, &bytes).map_err(LocalError::file("write", file))?;
        Ok(bridge)
    }

    /// The bridge's own address.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, host)
    }

    /// The subnet as people write it.
    pub(crate) fn cidr(&self) -> String {
        format!("{}/{PREFIX}", self.address(0))
    }

    /// An address that nobody has: the next one after `last` in the circle, so that one that was freed rests for as
    /// long as possible.
    pub(crate) fn free_address(
        &self,
        taken: &BTreeSet<Ipv4Addr>,
        last: Option<Ipv4Addr>,
    ) -> Result<Ipv4Addr, LocalError> {
        let after = last.map_or(1, |last| last.octets()[3]);
        let circle = (0..253_u8).map(|step| ((u16::from(after) + u16::from(step) - 1) % 253 + 2) as u8);
        circle
            .map(|host| self.address(host))
            .find(|address| !taken.contains(address))
            .ok_or_else(|| LocalError::NoAddress { subnet: self.cidr() })
    }

    /// Makes the bridge exist, up and with its address.
    pub(crate) fn ensure(&self) -> Result<(), LocalError> {
        let fail = |source| LocalError::Network { act: format!("make the bridge {}", self.name), source };
        let netlink = Netlink::open().map_err(fail)?;
        tolerate(netlink.ask(vec![Request::bridge(&self.name, self.gateway())])).map_err(fail)?;
        let index = index(&self.name).map_err(fail)?;
        tolerate(netlink.ask(vec![Request::address(index, self.gateway(), PREFIX)])).map_err(fail)?;
        netlink.ask(vec![Request::up(index)]).map_err(fail)
    }

    /// Removes the bridge.
    pub(crate) fn remove(&self) -> Result<(), LocalError> {
        let fail = |source| LocalError::Network { act: format!("remove the bridge {}", self.name), source };
        match Netlink::open().map_err(fail)?.ask(vec![Request::remove(&self.name)]) {
            Err(error) if error.raw_os_error() != Some(libc::ENODEV) => Err(fail(error)),
            _ => Ok(()),
        }
    }
}

fn tolerate(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// An interface's number.
pub(crate) fn index(name: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/ifindex"))?;
    text.trim().parse().map_err(io::Error::other)
}

/// A /24 of 10.64.0.0/10 that no route of the host covers (but the default one). That part of 10/8 is far from what
/// home routers, Docker (172.17.0.0/12) and cluster defaults (10.96.0.0/12, 10.244.0.0/16) take; where it is taken
/// all the same, the search goes on.
fn free_subnet(routes: &str, seed: u32) -> [u8; 3] {
    let routes: Vec<(u32, u32)> = routes.lines().skip(1).filter_map(parse_route).collect();
    let candidate = |number: u32| {
        let number = number % (24 << 8);
        [10, 64 + (number >> 8) as u8, number as u8]
    };
    let free = |subnet: &[u8; 3]| {
        let net = u32::from_be_bytes([subnet[0], subnet[1], subnet[2], 0]);
        routes.iter().all(|(to, mask)| *mask == 0 || (net & mask != *to && *to & 0xffff_ff00 != net))
    };
    (0..24 << 8).map(|step| candidate(seed.wrapping_add(step))).find(free).unwrap_or(candidate(seed))
}

/// Destination and mask of a line of `/proc/net/route` (both in hexadecimal, in the machine's byte order).
fn parse_route(line: &str) -> Option<(u32, u32)> {
    let mut fields = line.split_ascii_whitespace();
    let mut number = |skip| {
        u32::from_str_radix(fields.nth(skip)?, 16).ok().map(|n: u32| u32::from_be_bytes(n.to_ne_bytes()))
    };
    Some((number(1)?, number(5)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        tun0\t0000400A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";

    #[test]
    fn routes_of_the_host_are_avoided() {
        assert_eq!(parse_route(ROUTES.lines().nth(2).unwrap()), Some((0x0a40_0000, 0xffff_0000)));
        assert_eq!(free_subnet(ROUTES, 0), [10, 65, 0]);
        assert_eq!(free_subnet(ROUTES, 0x0105), [10, 65, 5]);
    }

    #[test]
    fn addresses_run_out_with_a_word() {
        let bridge = Bridge { name: "kiln0".into(), subnet: [10, 64, 1] };
        let mut taken = BTreeSet::new();
        for _ in 0..253 {
            taken.insert(bridge.free_address(&taken, None).unwrap());
        }
        taken.remove(&bridge.address(7));
        assert_eq!(bridge.free_address(&taken, Some(bridge.address(7))).unwrap(), bridge.address(7));
        let none = BTreeSet::new();
        let next = |last| bridge.free_address(&none, Some(bridge.address(last))).unwrap().octets()[3];
        assert_eq!([next(2), next(253), next(254)], [3, 254, 2]);
        taken.insert(bridge.address(7));
        assert!(bridge.free_address(&taken, None).unwrap_err().to_string().contains("10.64.1.0/24"));
    }
}
