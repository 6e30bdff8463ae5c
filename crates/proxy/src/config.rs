//! What a data plane process is told when it starts; everything else comes with the route table.

use std::path::PathBuf;
use std::time::Duration;

/// How one data plane process runs.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Folder of its own: lock, process id and the last table. Made when missing; one process at a time.
    pub dir: PathBuf,
    /// Where the control socket is put (mode 0600). May be longer than a socket address allows.
    pub control_socket: PathBuf,
    /// Threads that carry traffic; 0 is one per processor.
    pub threads: usize,
    /// Take the listeners of the process that serves `dir` at present, instead of failing because there is one.
    pub take_over: bool,
    /// Bounds that protect the process from its clients.
    pub limits: Limits,
    /// On stop: requests under way may take so long.
    pub drain_timeout: Duration,
    /// On stop, and when a listener is taken away: idle connections stay open so long, answering with
    /// `Connection: close`, so that no request crosses a closing connection.
    pub lame_duck: Duration,
}

/// Bounds that protect the process from its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Client connections at once; more wait in the kernel's accept queue. Lowered at start when the limit of
    /// open files is smaller than two descriptors for each.
    pub connections: usize,
    /// Bytes of one request head; more is answered with 431.
    pub head_bytes: usize,
    /// Header fields of one request; more is answered with 431.
    pub head_fields: usize,
    /// From the first byte of a request (or of the TLS handshake) to the end of its head.
    pub head_timeout: Duration,
    /// Silence between requests on a kept connection.
    pub keep_alive: Duration,
    /// Time to connect to an instance.
    pub connect_timeout: Duration,
    /// Streams at once on one HTTP/2 connection.
    pub streams: u32,
}

impl ProxyConfig {
    /// The defaults for a folder and a control socket.
    pub fn new(dir: impl Into<PathBuf>, control_socket: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            control_socket: control_socket.into(),
            threads: 0,
            take_over: false,
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(30),
            lame_duck: Duration::from_secs(2),
        }
    }
}

impl Default for Limits {
    /// 16,384 connections; heads of 64 KiB and 100 fields within 30 s; 75 s between requests (as nginx has it);
    /// 5 s to connect; 200 streams.
    fn default() -> Self {
        Self {
            connections: 16_384,
            head_bytes: 64 << 10,
            head_fields: 100,
            head_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            connect_timeout: Duration::from_secs(5),
            streams: 200,
        }
    }
}
