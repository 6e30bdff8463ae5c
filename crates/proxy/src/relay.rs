//! Bytes both ways between a client and an instance, for raw TCP and upgraded connections. Idle connections hold no
//! buffers: bytes are read into one buffer of the thread and kept only as far as the other side does not take them.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frames::Frames;
use crate::ticker::Watch;

/// Read at once; measured on loopback, 64 KiB is where larger reads stop helping.
const CHUNK: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// A client and an instance.
pub(crate) struct Relay<A, B> {
    client: A,
    instance: B,
    up: Flow,
    down: Flow,
    /// The end of the instance's bytes is the end of everything.
    upgraded: bool,
}

/// One direction.
struct Flow {
    /// Read, and not yet taken by the other side.
    pending: BytesMut,
    ended: bool,
    closed: bool,
    unflushed: bool,
    /// The messages that pass, when they are WebSocket's.
    frames: Option<Frames>,
}

impl<A, B> Relay<A, B>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// Raw TCP: either side may end its half and still listen.
    pub(crate) fn raw(client: A, instance: B) -> Self {
        Self { client, instance, up: Flow::new(false), down: Flow::new(false), upgraded: false }
    }

    /// An upgraded connection: when the instance has ended, nobody waits for a client that does not.
    pub(crate) fn upgraded(client: A, instance: B, websocket: bool) -> Self {
        Self { client, instance, up: Flow::new(false), down: Flow::new(websocket), upgraded: true }
    }

    /// Carries bytes until both sides have ended, one has failed, or nothing has moved for `silence` (zero: for ever).
    pub(crate) async fn run(&mut self, watch: &Watch, silence: Duration) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll(cx, watch, Some(silence))).await
    }

    /// What moves puts the end of `watch` off, where there is a `silence`.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        watch: &Watch,
        silence: Option<Duration>,
    ) -> Poll<io::Result<()>> {
        let mut moved = false;
        let up = self.up.poll(cx, &mut self.client, &mut self.instance, &mut moved)?;
        let down = self.down.poll(cx, &mut self.instance, &mut self.client, &mut moved)?;
        let done = down.is_ready() && (up.is_ready() || self.upgraded);
        if done {
            return Poll::Ready(Ok(()));
        }
        if let Some(silence) = silence.filter(|_| moved) {
            watch.set(silence);
        }
        watch.poll_expired(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Says goodbye as WebSocket has it (RFC 6455 §7.4.1: 1001, going away) once the message that is on its way has
    /// passed, and waits for the client's own goodbye; gives up when `watch` comes.
    pub(crate) async fn say_goodbye(&mut self, watch: &Watch) -> io::Result<()> {
        if self.down.frames.is_none() {
            return Ok(());
        }
        std::future::poll_fn(|cx| {
            if self.between_messages() {
                return Poll::Ready(Ok(()));
            }
            self.poll(cx, watch, None)
        })
        .await?;
        if !self.between_messages() || self.down.ended {
            return Ok(());
        }
        self.down.pending.extend_from_slice(&[0x88, 2, 0x03, 0xE9]);
        let goodbye = std::future::poll_fn(|cx| {
            ready!(self.down.poll_write(cx, &mut self.client))?;
            Pin::new(&mut self.client).poll_flush(cx)
        });
        watch.limit(goodbye).await.unwrap_or(Ok(()))?;
        let answer = std::future::poll_fn(|cx| discard(&mut self.client, cx));
        watch.limit(answer).await;
        Ok(())
    }

    fn between_messages(&self) -> bool {
        self.down.pending.is_empty() && self.down.frames.as_ref().is_some_and(Frames::between)
    }
}

/// Both halves of a connection.
trait Side: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Side for T {}

impl Flow {
    fn new(websocket: bool) -> Self {
        Self {
            pending: BytesMut::new(),
            ended: false,
            closed: false,
            unflushed: false,
            frames: websocket.then(Frames::default),
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut dyn Side,
        to: &mut dyn Side,
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write(cx, to))?;
            if self.ended {
                if !self.closed {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.closed = true;
                }
                return Poll::Ready(Ok(()));
            }
            match self.poll_read(cx, from, to)? {
                Poll::Ready(()) => *moved = true,
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(&mut *to).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads once and writes what the other side takes at once; the rest is kept.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut dyn Side,
        to: &mut dyn Side,
    ) -> Result<Poll<()>, io::Error> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            match Pin::new(from).poll_read(cx, &mut buf) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(result) => result?,
            }
            let read = buf.filled();
            self.ended = read.is_empty();
            if let Some(frames) = &mut self.frames {
                frames.pass(read);
            }
            self.unflushed |= !read.is_empty();
            let taken = match Pin::new(to).poll_write(cx, read) {
                Poll::Ready(taken) => taken?,
                Poll::Pending => 0,
            };
            self.pending.extend_from_slice(&read[taken..]);
            Ok(Poll::Ready(()))
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut dyn Side) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let taken = ready!(Pin::new(&mut *to).poll_write(cx, &self.pending))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(taken);
        }
        if self.pending.capacity() > 0 {
            self.pending = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads until the end.
fn discard(from: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        loop {
            let mut buf = ReadBuf::new(scratch);
            match ready!(Pin::new(&mut *from).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::ticker::Ticker;

    #[tokio::test(flavor = "current_thread")]
    async fn a_goodbye_is_given_up_in_time_by_a_message_that_trickles() {
        let local = tokio::task::LocalSet::new();
        let work = async {
            let ticker = Ticker::new();
            tokio::task::spawn_local(std::rc::Rc::clone(&ticker).run());
            let ((near, mut client), (far, mut instance)) = (tokio::io::duplex(64), tokio::io::duplex(64));
            let mut relay = Relay::upgraded(near, far, true);
            let watch = ticker.watch(Duration::from_secs(3600));
            // The head of a message of 100 bytes, and never its end.
            instance.write_all(&[0x82, 100, 1]).await.unwrap();
            let carried = async {
                let mut seen = [0; 3];
                client.read_exact(&mut seen).await.unwrap();
            };
            tokio::select! {
                ended = relay.run(&watch, Duration::ZERO) => panic!("{ended:?}"),
                () = carried => {}
            }
            watch.set(Duration::from_millis(20));
            instance.write_all(&[2]).await.unwrap();
            relay.say_goodbye(&watch).await
        };
        let said = tokio::time::timeout(Duration::from_secs(60), local.run_until(work)).await;
        assert_eq!(said.expect("it was given up").unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
