//! The load generator's clients of other kinds count what is lost, and nothing else.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use kiln_testkit::{LoadPlan, LoadReport, Others, wait_until};

const SOON: Duration = Duration::from_secs(60);

/// Answers each connection on a thread of its own, for as long as the test lives.
fn serve(answer: fn(&mut TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || answer(&mut stream));
        }
    });
    addr
}

/// Reads a head; says whether there was one, and its first line.
fn head(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    Some(String::from_utf8(text).unwrap().lines().next().unwrap().to_owned())
}

/// Answers requests until the client goes, or takes an upgrade and says so.
fn upgraded(stream: &mut TcpStream) -> bool {
    while let Some(line) = head(stream) {
        if line.starts_with("GET /ws ") {
            return stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").is_ok();
        }
        let path = line.split(' ').nth(1).unwrap().to_owned();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return false;
        }
    }
    false
}

/// Takes one short frame and returns it as a server sends it.
fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut start = [0; 6];
    stream.read_exact(&mut start).ok()?;
    let mut payload = vec![0; usize::from(start[1] & 0x7f)];
    stream.read_exact(&mut payload).ok()?;
    let plain = payload.iter().zip(start[2..].iter().cycle()).map(|(byte, mask)| byte ^ mask);
    Some([start[0], start[1] & 0x7f].into_iter().chain(plain).collect())
}

fn websockets(addr: SocketAddr, messages: u32, enough: fn(u64, u64) -> bool) -> LoadReport {
    let others = Others { websockets: 1, messages, ..Others::default() };
    let load = LoadPlan { others, ..LoadPlan::new(addr) }.start();
    wait_until("enough has happened", SOON, || enough(load.answered(), load.failed()));
    load.stop()
}

#[test]
fn a_websocket_that_ends_without_a_goodbye_is_lost() {
    let addr = serve(|stream| {
        if upgraded(stream) {
            let echo = frame(stream).unwrap();
            let _ = stream.write_all(&echo);
        }
    });
    let report = websockets(addr, 0, |_, failed| failed >= 2);
    assert!(report.failed >= 2 && report.websockets.told == 0, "{report}");
    assert!(report.failures.keys().any(|what| what.contains("without a Close frame")), "{report}");
}

#[test]
fn a_websocket_that_is_told_to_go_is_not_lost() {
    let addr = serve(|stream| {
        if upgraded(stream) {
            let echo = frame(stream).unwrap();
            let _ = stream.write_all(&echo).and_then(|()| stream.write_all(&[0x88, 2, 3, 233]));
            frame(stream);
        }
    });
    let report = websockets(addr, 0, |answered, _| answered > 200);
    report.assert_lossless();
    assert!(report.websockets.told >= 1, "{report}");
}

#[test]
fn a_websocket_that_its_client_ends_is_not_lost() {
    let addr = serve(|stream| {
        while upgraded(stream) {
            while let Some(echo) = frame(stream) {
                if stream.write_all(&echo).is_err() || echo[0] == 0x88 {
                    return;
                }
            }
        }
    });
    let report = websockets(addr, 1, |answered, _| answered > 200);
    report.assert_lossless();
    assert!(report.websockets.ended >= 1 && report.websockets.told == 0, "{report}");
}

#[test]
fn slow_and_fresh_clients_ask_beside_the_others() {
    let addr = serve(|stream| {
        upgraded(stream);
    });
    let others = Others { fresh: 1, slow: vec!["/slow".into()], ..Others::default() };
    let load = LoadPlan { others, ..LoadPlan::new(addr) }.start();
    wait_until("some answers", SOON, || load.answered() > 200);
    let report = load.stop();
    report.assert_lossless();
    assert!(report.count("/slow") > 0 && report.count("/") > report.count("/slow"), "{report}");
}
