//! Waiting for what must come true, with a deadline and a word about it.

use std::net::TcpListener;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Waits until `condition` holds, looking every 20 ms.
///
/// # Panics
/// When it does not hold within `deadline`; the message says `what` was waited for.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}

/// Waits until `look` finds something, looking every 20 ms.
///
/// # Panics
/// When it finds nothing within `deadline`; the message says `what` was waited for.
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ports that the system gives to nobody by itself: those begin at 32768 unless an administrator moved them.
const PORTS: Range<u16> = 12_000..32_000;

/// A loopback port that nobody listens on, and that no other call in any process returns before this process ends.
///
/// # Panics
/// When no port is left.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    // Processes with neighbouring numbers begin far apart.
    let first = std::process::id().wrapping_mul(7_919);
    for step in 0..PORTS.len() as u32 {
        let offset = first.wrapping_add(step) % PORTS.len() as u32;
        let port = PORTS.start + u16::try_from(offset).expect("ports have 16 bits");
        // A name that one process at a time can have, and that the kernel frees with the process.
        let name = SocketAddr::from_abstract_name(format!("kiln-test-port-{port}")).expect("a short name");
        let Ok(own) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("0.0.0.0", port)).is_ok() {
            TAKEN.lock().unwrap_or_else(PoisonError::into_inner).push(own);
            return port;
        }
    }
    panic!("no port from {} to {} is free", PORTS.start, PORTS.end);
}
