//! A WebSocket client (RFC 6455), as much as an echo needs.

use std::io::{self, BufRead, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::http::Connection;
use super::{LoadPlan, LoadReport, Shared};

/// Between two messages.
const PACE: Duration = Duration::from_millis(50);
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
/// What the client masks its frames with; any four bytes will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const HANDSHAKE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// How a WebSocket went on.
enum Course {
    /// Not at all: it was refused with this status.
    Refused(u16),
    /// The server said goodbye.
    Told,
    /// The client did.
    Ended,
}

pub(super) fn work(plan: &LoadPlan, shared: &Shared, begun: Instant) -> LoadReport {
    let mut report = LoadReport::default();
    while !shared.stop.load(Ordering::Relaxed) {
        let asked = begun.elapsed();
        match live(plan, shared, &mut report) {
            Ok(Course::Told) => report.websockets.told += 1,
            Ok(Course::Ended) => report.websockets.ended += 1,
            Ok(Course::Refused(status)) => {
                *report.statuses.entry(status).or_default() += 1;
                report.fail(
                    shared,
                    asked..begun.elapsed(),
                    &format!("a WebSocket was refused with {status}"),
                );
                std::thread::sleep(PACE);
            }
            Err(error) => {
                let now = begun.elapsed();
                report.fail(shared, now..now, &format!("a WebSocket was cut: {error}"));
                std::thread::sleep(PACE);
            }
        }
    }
    report
}

/// One WebSocket from the handshake to its end.
fn live(plan: &LoadPlan, shared: &Shared, report: &mut LoadReport) -> io::Result<Course> {
    let mut connection = Connection::open(plan.addr, plan.timeout)?;
    connection.send(&plan.host, "/ws", &HANDSHAKE)?;
    let status = connection.status()?;
    if status != 101 {
        return Ok(Course::Refused(status));
    }
    report.websockets.opened += 1;
    let mut echoes = 0;
    loop {
        if heard(&mut connection, PACE, plan.timeout)? {
            return told(&mut connection);
        }
        let enough = plan.others.messages > 0 && echoes >= plan.others.messages;
        if enough || shared.stop.load(Ordering::Relaxed) {
            return end(&mut connection);
        }
        let message = format!("message {echoes}");
        // A goodbye may have come in this very moment: what was not taken any more says nothing.
        let sent = send(&mut connection, TEXT, message.as_bytes());
        match receive(&mut connection) {
            Ok((CLOSE, _)) => return told(&mut connection),
            Ok((TEXT, echo)) if echo == message.as_bytes() => {}
            Ok((kind, other)) => return Err(wrong(&format!("frame {kind:#x} {other:?} for {message:?}"))),
            Err(error) => return Err(sent.err().unwrap_or(error)),
        }
        echoes += 1;
        report.websockets.echoed += 1;
    }
}

/// Whether anything comes within `pace`.
fn heard(connection: &mut Connection, pace: Duration, patience: Duration) -> io::Result<bool> {
    connection.0.get_ref().set_read_timeout(Some(pace))?;
    let heard = match connection.0.fill_buf() {
        Ok([]) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without a Close frame")),
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(error),
    };
    connection.0.get_ref().set_read_timeout(Some(patience))?;
    heard
}

/// The server said goodbye: so does the client.
fn told(connection: &mut Connection) -> io::Result<Course> {
    if !connection.0.buffer().is_empty() {
        let (kind, payload) = receive(connection)?;
        if kind != CLOSE {
            return Err(wrong(&format!("frame {kind:#x} {payload:?} that nobody asked for")));
        }
    }
    // The server may not wait for it.
    let _ = send(connection, CLOSE, &1000_u16.to_be_bytes());
    Ok(Course::Told)
}

/// The client says goodbye and waits for the server's.
fn end(connection: &mut Connection) -> io::Result<Course> {
    send(connection, CLOSE, &1000_u16.to_be_bytes())?;
    match receive(connection)? {
        (CLOSE, _) => Ok(Course::Ended),
        (kind, payload) => Err(wrong(&format!("frame {kind:#x} {payload:?} for a goodbye"))),
    }
}

fn send(connection: &mut Connection, kind: u8, payload: &[u8]) -> io::Result<()> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126);
    let length = length.ok_or_else(|| wrong("a longer message than the test client can send"))?;
    let mut frame = vec![kind, 0x80 | length];
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    connection.0.get_mut().write_all(&frame)
}

fn receive(connection: &mut Connection) -> io::Result<(u8, Vec<u8>)> {
    let head = connection.exactly(2)?;
    if head[1] >= 126 {
        return Err(wrong("a longer or masked message from the server"));
    }
    Ok((head[0], connection.exactly(u64::from(head[1]))?))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
