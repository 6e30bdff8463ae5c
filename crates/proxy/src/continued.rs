//! `Expect: 100-continue` across the proxy: the client is told to go on when the instance says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::{Request, StatusCode};

use crate::ticker::{Ticker, Watch};

/// An instance that knows nothing of `Expect` stays silent; then the body is sent after this time, as RFC 9110
/// §10.1.1 asks of a client.
const PATIENCE: Duration = Duration::from_secs(1);

/// Holds a body back until the instance wants it.
pub(crate) struct Gate {
    open: Arc<Signal>,
    patience: Watch,
}

#[derive(Default)]
struct Signal {
    open: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    /// A gate that opens at the instance's `100 Continue` to this request.
    pub(crate) fn of<B>(request: &mut Request<B>, ticker: &std::rc::Rc<Ticker>) -> Self {
        let open = Arc::new(Signal::default());
        let opener = Arc::clone(&open);
        hyper::ext::on_informational(request, move |head| {
            if head.status() == StatusCode::CONTINUE {
                opener.open.store(true, SeqCst);
                opener.waker.wake();
            }
        });
        Self { open, patience: ticker.watch(PATIENCE) }
    }

    pub(crate) fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        self.open.waker.register(cx.waker());
        if self.open.open.load(SeqCst) {
            return Poll::Ready(());
        }
        self.patience.poll_expired(cx)
    }
}
