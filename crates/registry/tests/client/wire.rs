//! A server that does what a test tells it, byte by byte: one request per connection, every request noted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as it came, without its body.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Ask {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The first byte of a `Range: bytes=N-`.
    pub(crate) fn from(&self) -> usize {
        let range = self.header("range").and_then(|text| text.strip_prefix("bytes="));
        range.map_or(0, |text| text.trim_end_matches('-').parse().unwrap())
    }

    /// The value of a parameter of the query, still encoded.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(known, _)| *known == name))
            .map(|(_, v)| v)
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Never answer.
    pub(crate) silent: bool,
}

pub(crate) fn reply(status: u16) -> Reply {
    Reply { status, ..Reply::default() }
}

impl Reply {
    #[expect(clippy::needless_pass_by_value, reason = "texts, numbers and digests read best as they are")]
    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }
}

/// The bytes that a client is sending.
pub(crate) struct Body<'a> {
    reader: &'a mut BufReader<TcpStream>,
    length: usize,
}

impl Body<'_> {
    /// All of it.
    pub(crate) fn all(&mut self) -> Vec<u8> {
        self.some(usize::MAX)
    }

    /// No more than so many bytes; what is left is never read.
    pub(crate) fn some(&mut self, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let wanted = self.length.min(limit);
        let _ = self.reader.take(wanted as u64).read_to_end(&mut bytes);
        self.length -= bytes.len();
        bytes
    }
}

type Handler = dyn Fn(&Ask, &mut Body<'_>) -> Reply + Send + Sync;

/// The server; gone when dropped.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    asks: Arc<Mutex<Vec<Ask>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    pub(crate) fn serve(handler: impl Fn(&Ask, &mut Body<'_>) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asks, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let handler: Arc<Handler> = Arc::new(handler);
        let thread = std::thread::spawn({
            let (asks, over) = (asks.clone(), over.clone());
            move || {
                let mut open = Vec::new();
                for stream in listener.incoming().map_while(Result::ok) {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    open.push(stream.try_clone().unwrap());
                    let (asks, handler) = (asks.clone(), handler.clone());
                    std::thread::spawn(move || converse(stream, &asks, &*handler));
                }
                for stream in open {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        });
        Self { address, asks, over, thread: Some(thread) }
    }

    /// Everything that was asked so far.
    pub(crate) fn asks(&self) -> Vec<Ask> {
        self.asks.lock().unwrap().clone()
    }

    /// How many requests had this method and a path with this in it.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.asks().iter().filter(|ask| ask.method == method && ask.path.contains(part)).count()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn converse(stream: TcpStream, asks: &Mutex<Vec<Ask>>, handler: &Handler) {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(read) if read > 2 => lines.push(line.trim_end().to_owned()),
            Ok(2) => break,
            _ => return,
        }
    }
    let mut words = lines[0].split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let header = |line: &String| line.split_once(": ").map(|(name, value)| (name.into(), value.into()));
    let ask = Ask { method, path, headers: lines[1..].iter().filter_map(header).collect() };
    asks.lock().unwrap().push(ask.clone());
    let length = ask.header("content-length").map_or(0, |text| text.parse().unwrap());
    let reply = handler(&ask, &mut Body { reader: &mut reader, length });
    if !reply.silent {
        let _ = answer(reader.get_mut(), &ask, &reply);
        let _ = reader.get_mut().shutdown(Shutdown::Both);
    }
}

fn answer(stream: &mut TcpStream, ask: &Ask, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Any\r\nConnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if reply.cut == Some(0) && reply.status == 0 {
        return Ok(());
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if ask.method != "HEAD" {
        let end = reply.cut.unwrap_or(reply.body.len()).min(reply.body.len());
        stream.write_all(&reply.body[..end])?;
    }
    stream.flush()
}
