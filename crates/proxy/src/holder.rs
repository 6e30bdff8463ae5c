//! Who holds a port: from `/proc/net/tcp` to a process, as far as the rights of this process reach.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `TCP_LISTEN` in the kernel's `include/net/tcp_states.h`.
const LISTEN: &str = "0A";

/// ", which process 12 (nginx) holds", when the address is in use and the process can be found.
pub(crate) fn told(addr: SocketAddr, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::AddrInUse {
        return String::new();
    }
    match inode(addr).and_then(process) {
        Some((pid, name)) => format!(", which process {pid} ({name}) holds"),
        None => String::new(),
    }
}

/// The inode of the socket that listens on an address, or on all addresses with its port.
fn inode(addr: SocketAddr) -> Option<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let held = parse(fields.get(1)?)?;
        let same = held.port() == addr.port()
            && (held.ip() == addr.ip() || held.ip().is_unspecified() || addr.ip().is_unspecified());
        (same && *fields.get(3)? == LISTEN).then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

/// An address as `/proc/net/tcp` writes it: words of the machine's byte order in hexadecimal.
fn parse(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<u32> = (0..ip.len() / 8)
        .map(|word| u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok())
        .collect::<Option<_>>()?;
    let ip = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
        [a, b, c, d] => {
            let bytes: Vec<u8> = [a, b, c, d].iter().flat_map(|word| word.to_ne_bytes()).collect();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The process that has a socket open.
fn process(inode: u64) -> Option<(u32, String)> {
    let link = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        descriptors.is_ok_and(|mut all| {
            all.any(|one| {
                one.is_ok_and(|one| fs::read_link(one.path()).is_ok_and(|to| to.as_os_str() == link.as_str()))
            })
        })
    };
    let pid = pids.find(holds)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_port_names_its_process() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = held.local_addr().unwrap();
        let error = std::net::TcpListener::bind(addr).unwrap_err();
        let text = told(addr, &error);
        assert!(text.starts_with(&format!(", which process {} (", std::process::id())), "{text}");
        assert_eq!(told(addr, &io::Error::from(io::ErrorKind::PermissionDenied)), "");
        assert_eq!(parse("0100007F:1F90").unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(parse("00000000000000000000000001000000:0050").unwrap().to_string(), "[::1]:80");
        assert!(parse("zz:1").is_none() && parse("").is_none());
    }
}
