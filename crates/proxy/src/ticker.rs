//! Deadlines that cost next to nothing: most requests end long before their time-out, so a request only writes a
//! number into a slot, and one task per worker looks at all slots when the earliest may be due.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;

/// Deadlines are looked at no more often than this.
const FINEST: Duration = Duration::from_millis(5);
/// And at least so often while there are any, so that a cancelled early one costs nothing.
const COARSEST: Duration = Duration::from_secs(1);

/// The deadlines of one worker.
pub(crate) struct Ticker {
    slots: RefCell<Slab<Slot>>,
    /// The next look is planned for this time, in milliseconds since `origin`.
    planned: Cell<u64>,
    sooner: Notify,
    origin: Instant,
}

struct Slot {
    /// Milliseconds since the ticker's origin.
    deadline: u64,
    /// The sweep has seen the deadline pass; so that polls need not look at the clock.
    passed: bool,
    waker: Option<Waker>,
}

/// One deadline; forgotten when dropped.
pub(crate) struct Watch {
    ticker: Rc<Ticker>,
    key: usize,
}

impl Ticker {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::new(Slab::with_capacity(64)),
            planned: Cell::new(u64::MAX),
            sooner: Notify::new(),
            origin: Instant::now(),
        })
    }

    /// Milliseconds since the ticker was made.
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A deadline so far from now; zero never comes.
    pub(crate) fn watch(self: &Rc<Self>, after: Duration) -> Watch {
        let key = self.slots.borrow_mut().insert(Slot { deadline: u64::MAX, passed: false, waker: None });
        let watch = Watch { ticker: Rc::clone(self), key };
        watch.set(after);
        watch
    }

    /// Wakes those whose time has come, for ever.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            let next = self.sweep();
            self.planned.set(next);
            if next == u64::MAX {
                self.sooner.notified().await;
                continue;
            }
            let rest = Duration::from_millis(next.saturating_sub(self.now())).max(FINEST);
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    /// Wakes what is due and says when to look again.
    fn sweep(&self) -> u64 {
        let now = self.now();
        let mut next = u64::MAX;
        let mut due = Vec::new();
        for (_, slot) in &mut *self.slots.borrow_mut() {
            if slot.deadline > now {
                next = next.min(slot.deadline);
            } else {
                slot.passed = true;
                due.extend(slot.waker.take());
            }
        }
        due.into_iter().for_each(Waker::wake);
        let coarsest = now + u64::try_from(COARSEST.as_millis()).unwrap_or(u64::MAX);
        if next == u64::MAX && self.slots.borrow().is_empty() { u64::MAX } else { next.min(coarsest) }
    }
}

impl Watch {
    /// Moves the deadline to so far from now; zero never comes.
    pub(crate) fn set(&self, after: Duration) {
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let deadline = if millis == 0 { u64::MAX } else { self.ticker.now().saturating_add(millis) };
        if let Some(slot) = self.ticker.slots.borrow_mut().get_mut(self.key) {
            slot.deadline = deadline;
            slot.passed = false;
        }
        if deadline < self.ticker.planned.get() {
            self.ticker.planned.set(deadline);
            self.ticker.sooner.notify_one();
        }
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll_expired(&self, cx: &Context<'_>) -> Poll<()> {
        let mut slots = self.ticker.slots.borrow_mut();
        let Some(slot) = slots.get_mut(self.key) else { return Poll::Pending };
        if slot.passed {
            return Poll::Ready(());
        }
        match &slot.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => slot.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The future's output, or `None` when the deadline came first.
    pub(crate) async fn limit<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_expired(cx).map(|()| None),
        })
        .await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ticker.slots.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn earlier_deadlines_are_not_kept_waiting_by_later_ones() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let ticker = Ticker::new();
                tokio::task::spawn_local(Rc::clone(&ticker).run());
                let late = ticker.watch(Duration::from_secs(600));
                tokio::task::yield_now().await;
                let begun = Instant::now();
                let soon = ticker.watch(Duration::from_millis(30));
                assert!(soon.limit(std::future::pending::<()>()).await.is_none());
                assert!(begun.elapsed() >= Duration::from_millis(29), "{:?}", begun.elapsed());
                assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
                assert!(late.limit(async { 1 }).await.is_some());
                drop((late, soon));
                assert!(ticker.slots.borrow().is_empty());
            })
            .await;
    }
}
