//! The few requests to the kernel's network that are needed, over a blocking netlink socket: the supervisor that
//! sends most of them has one thread and no runtime.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::RawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

/// Index of the loopback interface in every network namespace.
pub(crate) const LOOPBACK: u32 = 1;
/// Index given to an instance's own interface: the first after loopback.
pub(crate) const FIRST: u32 = 2;

/// A conversation with the network namespace that the socket was opened in.
pub(crate) struct Netlink {
    socket: Socket,
}

/// One request.
pub(crate) struct Request {
    message: RouteNetlinkMessage,
    create: bool,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { socket })
    }

    /// Sends all requests at once and waits for the kernel's answer to each. The first refusal is the error; later
    /// requests were tried all the same.
    pub(crate) fn ask(&self, requests: Vec<Request>) -> io::Result<()> {
        let count = requests.len();
        let mut bytes = Vec::new();
        for (sequence, request) in (1_u32..).zip(requests) {
            let mut message = NetlinkMessage::from(request.message);
            message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
            if request.create {
                message.header.flags |= NLM_F_CREATE | NLM_F_EXCL;
            }
            message.header.sequence_number = sequence;
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..]);
        }
        self.socket.send(&bytes, 0)?;
        let mut result = Ok(());
        for _ in 0..count {
            let (answer, _) = self.socket.recv_from_full()?;
            let answer =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
            if let NetlinkPayload::Error(error) = answer.payload
                && let (Some(_), Ok(())) = (error.code, &result)
            {
                result = Err(error.to_io());
            }
        }
        result
    }
}

impl Request {
    fn set(message: RouteNetlinkMessage) -> Self {
        Self { message, create: false }
    }

    fn create(message: RouteNetlinkMessage) -> Self {
        Self { message, create: true }
    }

    /// Brings an interface up.
    pub(crate) fn up(index: u32) -> Self {
        let mut link = LinkMessage::default();
        link.header.index = index;
        set_up(&mut link);
        Self::set(RouteNetlinkMessage::SetLink(link))
    }

    /// Makes a bridge and brings it up. Without a hardware address of its own it would take the lowest of its ports',
    /// and change it as instances come and go.
    pub(crate) fn bridge(name: &str, address: Ipv4Addr) -> Self {
        let mut link = LinkMessage::default();
        set_up(&mut link);
        link.attributes.push(LinkAttribute::Address(hardware_address(address)));
        link.attributes.push(LinkAttribute::IfName(name.into()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        Self::create(RouteNetlinkMessage::NewLink(link))
    }

    /// Makes a cable: one end on the bridge, the other as `eth0` in the namespace of `inside`, which has to be
    /// brought up there (the kernel refuses to while the ends do not know each other)
    pub(crate) fn cable(host_end: &str, bridge: u32, inside: RawFd, address: Ipv4Addr) -> Self {
        let mut peer = LinkMessage::default();
        peer.header.index = FIRST;
        peer.attributes.push(LinkAttribute::IfName("eth0".into()));
        peer.attributes.push(LinkAttribute::NetNsFd(inside));
        peer.attributes.push(LinkAttribute::Address(hardware_address(address)));
        let mut link = LinkMessage::default();
        set_up(&mut link);
        link.attributes.push(LinkAttribute::IfName(host_end.into()));
        link.attributes.push(LinkAttribute::Controller(bridge));
        let data = InfoData::Veth(InfoVeth::Peer(peer));
        link.attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]));
        Self::create(RouteNetlinkMessage::NewLink(link))
    }

    /// Removes an interface.
    pub(crate) fn remove(name: &str) -> Self {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.into()));
        Self::set(RouteNetlinkMessage::DelLink(link))
    }

    /// Gives an interface an address.
    pub(crate) fn address(index: u32, address: Ipv4Addr, prefix: u8) -> Self {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.index = index;
        message.header.prefix_len = prefix;
        message.attributes.push(AddressAttribute::Local(IpAddr::V4(address)));
        message.attributes.push(AddressAttribute::Address(IpAddr::V4(address)));
        Self::create(RouteNetlinkMessage::NewAddress(message))
    }

    /// Sends everything that has no other route through a gateway.
    pub(crate) fn default_route(gateway: Ipv4Addr) -> Self {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
        Self::create(RouteNetlinkMessage::NewRoute(message))
    }
}

fn set_up(link: &mut LinkMessage) {
    link.header.flags |= LinkFlags::Up;
    link.header.change_mask |= LinkFlags::Up;
}

/// A hardware address made from the network address (locally administered, IEEE 802 section 8.4: second bit of the
/// first byte). Neighbours remember which hardware an address was at, for up to a minute; when the address is given to
/// another instance, what they remember stays true.
fn hardware_address(address: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = address.octets();
    vec![0x02, b'k', a, b, c, d]
}
