//! What fake instances do, and what goes wrong around them.

/// The life of one fake instance. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// From the wish to the start.
    pub starts_after: u64,
    /// From the start to being ready; `None` is never.
    pub ready_after: Option<u64>,
    /// From the start to an exit, whether it is ready by then or not.
    pub exits_after: Option<u64>,
    /// From being ready first: when it is unready, and when it has recovered.
    pub unready: Vec<(u64, u64)>,
    /// From the signal to the exit.
    pub stops_after: u64,
}

impl Default for Behaviour {
    /// Good: starts at once, is ready after 100 ms, lives, and stops 50 ms after the signal.
    fn default() -> Self {
        Self {
            starts_after: 0,
            ready_after: Some(100),
            exits_after: None,
            unready: Vec::new(),
            stops_after: 50,
        }
    }
}

impl Behaviour {
    /// Exits so many milliseconds after its start without ever being ready.
    pub fn exits_at_start(millis: u64) -> Self {
        Self { ready_after: None, exits_after: Some(millis), ..Self::default() }
    }

    /// Lives, but is never ready.
    pub fn never_ready() -> Self {
        Self { ready_after: None, ..Self::default() }
    }

    /// Is ready after 100 ms and exits so many milliseconds after its start.
    pub fn dies_after(millis: u64) -> Self {
        Self { exits_after: Some(millis), ..Self::default() }
    }
}

/// How often something goes wrong, in a thousand calls each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A call fails and has done nothing.
    pub error_before: u32,
    /// A call fails though it has done all that was asked.
    pub error_after: u32,
}
