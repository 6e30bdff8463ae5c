//! The client's side of a connection: plain or under TLS, with its activity noted for the time-outs.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// When bytes last moved, and whether they were the beginning of a request.
pub(crate) struct Activity {
    /// Coarse time, moved by the worker.
    clock: Arc<AtomicU64>,
    last: AtomicU64,
    /// Bytes came while no request was under way.
    reading: AtomicBool,
    busy: AtomicBool,
    /// Since when the connection is idle or reads a head.
    since: AtomicU64,
}

impl Activity {
    pub(crate) fn new(clock: Arc<AtomicU64>) -> Self {
        let now = clock.load(Relaxed);
        Self {
            clock,
            last: AtomicU64::new(now),
            reading: AtomicBool::new(true),
            busy: AtomicBool::new(false),
            since: AtomicU64::new(now),
        }
    }

    /// A request began or the last one ended.
    pub(crate) fn busy(&self, busy: bool) {
        self.busy.store(busy, Relaxed);
        self.reading.store(false, Relaxed);
        self.since.store(self.clock.load(Relaxed), Relaxed);
    }

    /// Since when no byte has moved.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    /// Since when there is no request, and whether one is being read.
    pub(crate) fn idle(&self) -> Option<(u64, bool)> {
        (!self.busy.load(Relaxed)).then(|| (self.since.load(Relaxed), self.reading.load(Relaxed)))
    }

    /// Silence begins anew.
    pub(crate) fn moved(&self) {
        self.last.store(self.clock.load(Relaxed), Relaxed);
    }

    fn read(&self) {
        self.moved();
        if !self.busy.load(Relaxed) && !self.reading.load(Relaxed) {
            self.reading.store(true, Relaxed);
            self.since.store(self.clock.load(Relaxed), Relaxed);
        }
    }
}

/// The stream below.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client's connection.
pub(crate) struct ClientIo {
    transport: Transport,
    /// Bytes that were read to see what is spoken.
    prefix: Bytes,
    activity: Arc<Activity>,
}

impl ClientIo {
    pub(crate) fn new(transport: Transport, prefix: Bytes, activity: Arc<Activity>) -> Self {
        Self { transport, prefix, activity }
    }

    /// Ends when the other side leaves without having said a word. Its first words are kept for later; who has said
    /// them is waited for, since nothing tells leaving from having no more to say then.
    pub(crate) async fn left(&mut self) {
        if self.prefix.is_empty() {
            let mut some = [0; 512];
            match self.read(&mut some).await {
                Ok(0) | Err(_) => return,
                Ok(length) => self.prefix = Bytes::copy_from_slice(&some[..length]),
            }
        }
        std::future::pending::<()>().await;
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.prefix.is_empty() {
            let result = match &mut self.transport {
                Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
                Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            };
            if result.is_pending() {
                return Poll::Pending;
            }
            if buf.filled().len() > before {
                self.activity.read();
            }
            return result;
        }
        let take = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..take]);
        self.prefix.advance(take);
        self.activity.read();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.activity.moved_if(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.transport {
            Transport::Plain(stream) => write_gathered(stream, cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.activity.moved_if(result)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Activity {
    fn moved_if(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.moved();
        }
        result
    }
}

/// An instance's connection, with small writes gathered.
pub(crate) struct InstanceIo(pub(crate) TcpStream);

impl AsyncRead for InstanceIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for InstanceIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        write_gathered(&mut self.0, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Up to this size, copying costs less than a vectored write does in the kernel.
const GATHERED: usize = 2_048;

fn write_gathered(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    bufs: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    if let [one] = bufs {
        return stream.poll_write(cx, one);
    }
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    if total > GATHERED {
        return stream.poll_write_vectored(cx, bufs);
    }
    let mut gathered = [0; GATHERED];
    let mut length = 0;
    for buf in bufs {
        gathered[length..length + buf.len()].copy_from_slice(buf);
        length += buf.len();
    }
    stream.poll_write(cx, &gathered[..length])
}
