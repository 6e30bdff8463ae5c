//! A web server with faults to order. It closes every connection after its answer.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What happens to a request instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The status, without the file.
    Status(u16),
    /// Half of the file, then the connection closes.
    Short,
    /// As many bytes as the file has, but others.
    Wrong,
    /// The file and one byte more.
    Long,
    /// A web page.
    Page,
    /// Nothing at all, until the client gives up.
    Hang,
    /// The whole file, whatever was asked for.
    NoRange,
}

#[derive(Default)]
struct State {
    /// Faults by a part of the path, taken one at a time; the last one stays when it is to last.
    faults: Vec<(String, Fault, bool)>,
    requests: Vec<String>,
    /// Connections to keep open without a word.
    hanging: Vec<TcpStream>,
}

pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Serves a folder until the test ends.
    pub(crate) fn new(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let (root, shared) = (root.to_owned(), state.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, shared) = (root.clone(), shared.clone());
                std::thread::spawn(move || answer(stream, &root, &shared));
            }
        });
        Self { url, state }
    }

    /// The next request for a path with this part fails so.
    pub(crate) fn once(&self, part: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push((part.to_owned(), fault, false));
    }

    /// Every request for a path with this part fails so.
    pub(crate) fn always(&self, part: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push((part.to_owned(), fault, true));
    }

    /// Request lines with ranges and conditions, for paths with this part.
    pub(crate) fn requests(&self, part: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.requests.iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

fn answer(mut stream: TcpStream, root: &Path, shared: &Mutex<State>) {
    let Some((path, headers)) = request(&stream) else { return };
    let fault = {
        let mut state = shared.lock().unwrap();
        let note = |name: &str| headers.get(name).map(|value| format!(" {name}={value}")).unwrap_or_default();
        state.requests.push(format!("{path}{}{}", note("range"), note("if-none-match")));
        let position = state.faults.iter().position(|(part, _, _)| path.contains(part.as_str()));
        position.map(|at| match state.faults[at] {
            (_, fault, true) => fault,
            _ => state.faults.remove(at).1,
        })
    };
    if fault == Some(Fault::Hang) {
        shared.lock().unwrap().hanging.push(stream);
        return;
    }
    let bytes = file(root, &path);
    let (head, body) = match (fault, bytes) {
        (Some(Fault::Status(status)), _) => {
            (format!("HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\n"), Vec::new())
        }
        (Some(Fault::Page), _) => {
            let page = b"<html>Please log in</html>".to_vec();
            (
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n", page.len()),
                page,
            )
        }
        (_, None) => ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n".to_owned(), Vec::new()),
        (fault, Some(bytes)) => good(fault, bytes, &headers),
    };
    stream.write_all(head.as_bytes()).ok();
    stream.write_all(b"Connection: close\r\n\r\n").ok();
    stream.write_all(&body).ok();
}

fn good(fault: Option<Fault>, mut bytes: Vec<u8>, headers: &HashMap<String, String>) -> (String, Vec<u8>) {
    let etag = format!(
        "\"{:x}\"",
        bytes.iter().fold(7u64, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(*b)))
    );
    if headers.get("if-none-match") == Some(&etag) {
        return ("HTTP/1.1 304 Not Modified\r\n".to_owned(), Vec::new());
    }
    match fault {
        Some(Fault::Wrong) => bytes.iter_mut().for_each(|b| *b ^= 0x55),
        Some(Fault::Long) => bytes.push(0),
        _ => {}
    }
    let total = bytes.len();
    let range = headers.get("range").filter(|_| fault != Some(Fault::NoRange));
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let (status, start) = match start {
        Some(start) if start < total => {
            (format!("206 Partial\r\nContent-Range: bytes {start}-{}/{total}", total - 1), start)
        }
        Some(_) => return ("HTTP/1.1 416 Range\r\nContent-Length: 0\r\n".to_owned(), Vec::new()),
        None => ("200 OK".to_owned(), 0),
    };
    let mut body = bytes.split_off(start);
    let head = format!("HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {}\r\n", body.len());
    if fault == Some(Fault::Short) {
        body.truncate(body.len() / 2);
    }
    (head, body)
}

fn request(stream: &TcpStream) -> Option<(String, HashMap<String, String>)> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some((path, headers))
}

fn file(root: &Path, path: &str) -> Option<Vec<u8>> {
    let path: PathBuf = root.join(path.trim_start_matches('/'));
    std::fs::read(path).ok()
}
