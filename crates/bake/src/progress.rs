//! Passing on what other crates report.

use crate::request::{Event, Progress};

/// Hands kiln-debian's events to a bake's listener.
pub(crate) struct Relay<'a>(pub(crate) &'a dyn Progress);

impl kiln_debian::Progress for Relay<'_> {
    fn event(&self, event: kiln_debian::Event<'_>) {
        self.0.event(Event::Debian(event));
    }
}
