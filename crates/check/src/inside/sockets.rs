//! Ports that are listened on inside an instance (proc(5), `/proc/PID/net/tcp` and its sisters).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kiln_model::{ListeningCheck, Transport};

use super::Inside;
use crate::finding::{Finding, Judge};

/// `TCP_LISTEN` of the kernel's `tcp_states.h`; a UDP socket that takes from anybody is in state 7, `TCP_CLOSE`.
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// A port that somebody listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) transport: Transport,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

impl Inside {
    /// All ports that are listened on.
    pub(crate) fn listening(&self) -> Vec<Listening> {
        let tables = [
            ("net/tcp", Transport::Tcp),
            ("net/tcp6", Transport::Tcp),
            ("net/udp", Transport::Udp),
            ("net/udp6", Transport::Udp),
        ];
        let read = |(file, transport)| parse(&self.proc(file).unwrap_or_default(), transport);
        tables.into_iter().flat_map(read).collect()
    }
}

fn parse(table: &str, transport: Transport) -> Vec<Listening> {
    let state = if transport == Transport::Tcp { LISTEN } else { UNCONNECTED };
    let line = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, found) = (fields.next()?, fields.next()?, fields.next()?);
        if found != state {
            return None;
        }
        let (address, port) = local.split_once(':')?;
        Some(Listening {
            transport,
            address: parse_address(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
        })
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// Words of 32 bits in the machine's order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bytes = hex::decode(text).ok()?;
    let words: Vec<u8> = bytes
        .chunks_exact(4)
        .flat_map(|word| {
            let word: [u8; 4] = word.try_into().unwrap_or_default();
            u32::from_be_bytes(word).to_ne_bytes()
        })
        .collect();
    match words.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(words).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into()),
        _ => None,
    }
}

pub(crate) fn judge(wanted: &ListeningCheck, inside: &Inside) -> Result<(), Finding> {
    let protocol = match wanted.protocol {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let all = inside.listening();
    let at_port: Vec<IpAddr> = all
        .iter()
        .filter(|one| one.transport == wanted.protocol && one.port == wanted.port)
        .map(|one| one.address)
        .collect();
    let address = wanted.address.as_ref().and_then(|text| text.parse::<IpAddr>().ok());
    let there = at_port.iter().any(|one| address.is_none_or(|address| address == *one));
    let mut judge = Judge::new(format!("port {}/{protocol}", wanted.port));
    let at = wanted.address.as_ref().map(|address| format!(" on {address}")).unwrap_or_default();
    let expected = if wanted.listening { "somebody to listen" } else { "nobody to listen" };
    let found = if at_port.is_empty() {
        let mut ports: Vec<String> = all.iter().map(|one| one.port.to_string()).collect();
        ports.sort_unstable();
        ports.dedup();
        let ports =
            if ports.is_empty() { "no port at all".into() } else { format!("only {}", ports.join(", ")) };
        format!("nobody; listened on is {ports}")
    } else {
        let list: Vec<String> = at_port.iter().map(IpAddr::to_string).collect();
        format!("somebody on {}", list.join(", "))
    };
    judge.that(there == wanted.listening, format!("{expected}{at}"), found);
    judge.verdict()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let tcp = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                   1: 00000000:0016 00000000:0000 0A x\n   2: 0100007F:1F90 0100007F:9999 01 x\nbroken\n";
        let found = parse(tcp, Transport::Tcp);
        let at = |address: &str, port| Listening {
            transport: Transport::Tcp,
            address: address.parse().unwrap(),
            port,
        };
        assert_eq!(found, [at("127.0.0.1", 8080), at("0.0.0.0", 22)]);
        let six = "head\n 0: 00000000000000000000000001000000:0050 0:0 0A x\n";
        assert_eq!(parse(six, Transport::Tcp), [at("::1", 80)]);
    }

    #[test]
    fn real_listeners_are_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = Inside::open(std::process::id(), Vec::new()).unwrap();
        let mut wanted = ListeningCheck { port, protocol: Transport::Tcp, address: None, listening: true };
        assert_eq!(judge(&wanted, &inside), Ok(()));
        wanted.address = Some("127.0.0.1".into());
        assert_eq!(judge(&wanted, &inside), Ok(()));
        wanted.address = Some("0.0.0.0".into());
        let finding = judge(&wanted, &inside).unwrap_err();
        assert_eq!(finding.found, "somebody on 127.0.0.1");
        drop(listener);
        wanted.address = None;
        assert!(judge(&wanted, &inside).unwrap_err().found.starts_with("nobody"));
        wanted.listening = false;
        assert_eq!(judge(&wanted, &inside), Ok(()));
    }
}
