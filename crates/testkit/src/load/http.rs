//! As much HTTP/1.1 as a test client needs, on plain sockets: the client must share no code with what it tests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Headers as they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body without the transfer coding.
    pub body: Vec<u8>,
    /// The server closes the connection after this answer.
    pub closes: bool,
}

impl Response {
    /// The body as text, invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// One GET over a connection of its own, 10 s for each read and write.
///
/// # Errors
/// When it was not answered wholly.
pub fn get(addr: SocketAddr, host: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<Response> {
    let mut connection = Connection::open(addr, Duration::from_secs(10))?;
    connection.send(host, path, headers)?;
    connection.receive()
}

/// A keep-alive connection.
pub(super) struct Connection(pub(super) BufReader<TcpStream>);

impl Connection {
    pub(super) fn open(addr: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(super) fn send(&mut self, host: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<()> {
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: kiln-testkit\r\n{more}\r\n");
        self.0.get_mut().write_all(head.as_bytes())
    }

    pub(super) fn receive(&mut self) -> io::Result<Response> {
        let (status, headers) = self.head()?;
        let mut response = Response { status, headers, body: Vec::new(), closes: false };
        let says = |name, word: &str| {
            response.header(name).is_some_and(|value| value.to_ascii_lowercase().contains(word))
        };
        let (chunked, mut closes) = (says("transfer-encoding", "chunked"), says("connection", "close"));
        let length = response.header("content-length").map(str::parse::<u64>);
        response.body = match length {
            _ if status == 204 || status == 304 => Vec::new(),
            _ if chunked => self.chunks()?,
            Some(Ok(length)) => self.exactly(length)?,
            Some(Err(_)) => return Err(invalid("content-length is not a number")),
            None => {
                closes = true;
                let mut body = Vec::new();
                self.0.read_to_end(&mut body)?;
                body
            }
        };
        response.closes = closes;
        Ok(response)
    }

    /// The head of an answer that has no body.
    pub(super) fn status(&mut self) -> io::Result<u16> {
        Ok(self.head()?.0)
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| invalid(&format!("not a status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| invalid(&format!("not a header: {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.by_ref().take(64 << 10).read_line(&mut line)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed before an answer",
            ));
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    pub(super) fn exactly(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let read = self.0.by_ref().take(length).read_to_end(&mut body)?;
        if read as u64 == length {
            return Ok(body);
        }
        let what = format!("the connection was closed after {read} of {length} bytes of the body");
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, what))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length =
                u64::from_str_radix(digits, 16).map_err(|_| invalid(&format!("not a chunk: {line:?}")))?;
            body.extend(self.exactly(length)?);
            if length == 0 {
                // Trailers, and the empty line after them.
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            self.line()?;
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
