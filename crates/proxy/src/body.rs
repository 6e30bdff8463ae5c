//! Bodies on their way through: nothing is collected, each side is as slow as the other.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::conn::Busy;
use crate::continued::Gate;
use crate::metrics::FleetStats;
use crate::pool::Borrowed;
use crate::target::Lease;
use crate::ticker::Watch;

/// Why a body broke off.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body on its way to an instance.
pub(crate) enum RequestBody {
    Empty,
    Client(Rc<Upload>),
}

/// A client's body, kept in reach of the exchange: as long as nothing of it has been read, it can be sent again.
pub(crate) struct Upload {
    incoming: RefCell<Incoming>,
    /// Something has been read.
    pub(crate) begun: Cell<bool>,
    /// Something has been read since this was last looked at.
    pub(crate) moved: Cell<bool>,
    /// The client broke it off.
    broken: Cell<bool>,
    /// Opens when the instance says `100 Continue`.
    gate: RefCell<Option<Gate>>,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        Self::Client(Rc::new(Upload {
            incoming: RefCell::new(incoming),
            begun: Cell::new(false),
            moved: Cell::new(false),
            broken: Cell::new(false),
            gate: RefCell::new(None),
        }))
    }

    /// Another handle on the same body.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Client(upload) => Self::Client(Rc::clone(upload)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn upload(&self) -> Option<Rc<Upload>> {
        match self {
            Self::Empty => None,
            Self::Client(upload) => Some(Rc::clone(upload)),
        }
    }
}

impl Upload {
    /// Nothing is read before the gate opens.
    pub(crate) fn wait_for(&self, gate: Gate) {
        *self.gate.borrow_mut() = Some(gate);
    }

    /// Whether the instance has yet to hear something from the client.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.incoming.borrow().is_end_stream()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self::Client(upload) = self.get_mut() else { return Poll::Ready(None) };
        if let Some(gate) = upload.gate.borrow().as_ref()
            && gate.poll_open(cx).is_pending()
        {
            return Poll::Pending;
        }
        let result = Pin::new(&mut *upload.incoming.borrow_mut()).poll_frame(cx);
        if result.is_ready() {
            upload.begun.set(true);
            upload.moved.set(true);
        }
        if let Poll::Ready(Some(Err(_))) = &result {
            upload.broken.set(true);
        }
        result.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(upload) => upload.incoming.borrow().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(upload) => upload.incoming.borrow().size_hint(),
        }
    }
}

/// An answer's body on its way to the client.
pub(crate) enum ResponseBody {
    Empty,
    Text(Option<Bytes>),
    Instance(Box<Download>),
}

/// An instance's body with all that ends when it ends.
pub(crate) struct Download {
    pub(crate) incoming: Incoming,
    /// The connection it comes on.
    pub(crate) borrowed: Option<Borrowed>,
    pub(crate) lease: Option<Lease>,
    /// Silence that ends it, for connections that carry several answers at once.
    pub(crate) silence: Option<(Watch, std::time::Duration)>,
    /// None for a copy, which nobody waits for.
    pub(crate) busy: Option<Busy>,
    /// The request's body, which may still be under way.
    pub(crate) upload: Option<Rc<Upload>>,
    /// The last look found nothing: the instance is being waited for.
    pub(crate) waiting: bool,
    /// Where a break is counted, by which worker, and with which status the answer was counted.
    pub(crate) stats: Arc<FleetStats>,
    pub(crate) worker: usize,
    pub(crate) status: StatusCode,
}

impl ResponseBody {
    pub(crate) fn text(text: Bytes) -> Self {
        Self::Text(Some(text))
    }
}

impl Download {
    fn ended(&mut self) {
        if let (Some(borrowed), Some(lease)) = (self.borrowed.take(), self.lease.take()) {
            borrowed.give_back(lease.target());
        }
        self.silence = None;
    }

    /// The instance broke the answer off, unless the client's own body did.
    fn broke_off(&mut self) {
        if !self.upload.as_ref().is_some_and(|upload| upload.broken.get()) {
            self.stats.broke_off(self.worker, self.status);
        }
    }

    /// The instance fell silent. In a body without a length that is no fault: streams of events may be quiet.
    fn fell_silent(&mut self) {
        if self.incoming.size_hint().exact().is_some() {
            self.broke_off();
        }
    }

    fn poll_silence(&self, cx: &Context<'_>) -> Poll<()> {
        self.silence.as_ref().map_or(Poll::Pending, |(watch, _)| watch.poll_expired(cx))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.ended();
        } else if self.waiting && self.busy.as_ref().is_some_and(Busy::cut) {
            self.fell_silent();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let download = match self.get_mut() {
            Self::Empty => return Poll::Ready(None),
            Self::Text(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Instance(download) => download,
        };
        let polled = Pin::new(&mut download.incoming).poll_frame(cx);
        download.waiting = polled.is_pending();
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some((watch, silence)) = &download.silence {
                    watch.set(*silence);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                download.ended();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                download.broke_off();
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => match download.poll_silence(cx) {
                Poll::Ready(()) => {
                    download.waiting = false;
                    download.fell_silent();
                    Poll::Ready(Some(Err("the instance fell silent".into())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(text) => text.is_none(),
            Self::Instance(download) => download.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Instance(download) => download.incoming.size_hint(),
        }
    }
}
