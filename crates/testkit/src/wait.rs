//! Waiting for what must come true, with a deadline and a word about it.

use std::net::TcpListener;
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

/// A loopback port that nobody listens on now. Somebody else may take it before you do: where the thing under test
/// can choose a port itself, let it.
///
/// # Panics
/// When loopback has no port left.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
