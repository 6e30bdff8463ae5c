//! The route table as the workers use it: compiled once, never changed, replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use kiln_model::Protocol;
use rustls::ServerConfig;

use crate::hold::{Gap, Queue};
use crate::metrics::FleetStats;
use crate::router::Router;
use crate::sticky::{Key, Keys, LiveSticky};
use crate::table::RouteTable;
use crate::target::Target;
use crate::turns::Turns;

/// A compiled table.
pub(crate) struct Live {
    /// Grows with every replacement in this process.
    pub(crate) generation: u64,
    pub(crate) table: Arc<RouteTable>,
    /// By slot; listeners keep their slot as long as they stand.
    pub(crate) listeners: HashMap<usize, Arc<LiveListener>>,
}

/// One listener.
pub(crate) struct LiveListener {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) mode: LiveMode,
}

/// What a listener serves.
pub(crate) enum LiveMode {
    Http(Router<Destination>),
    Tcp(Arc<LiveBackend>),
}

/// Where a route leads.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) backend: Arc<LiveBackend>,
    /// The route means this fleet, whatever the weights.
    pub(crate) fleet: Option<usize>,
}

/// One backend.
pub(crate) struct LiveBackend {
    pub(crate) protocol: Protocol,
    pub(crate) fleets: Vec<LiveFleet>,
    /// The turns of one round, such that every prefix comes as close to the weights as whole requests can; empty
    /// when all weights are 0.
    pub(crate) round: Box<[u8]>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) preview: Option<LivePreview>,
    pub(crate) testers: Box<[LiveTester]>,
    pub(crate) sticky: Option<LiveSticky>,
    pub(crate) mirror: Option<LiveMirror>,
    pub(crate) request_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    /// How long requests wait while no fleet can take them, and those that do.
    pub(crate) hold: Duration,
    pub(crate) queue: Arc<Queue>,
}

/// One fleet.
pub(crate) struct LiveFleet {
    pub(crate) weight: u8,
    pub(crate) ready: Vec<Arc<Target>>,
    pub(crate) stats: Arc<FleetStats>,
}

/// How requests reach a fleet at weight 0.
pub(crate) struct LivePreview {
    pub(crate) header: HeaderName,
    pub(crate) newest: Option<usize>,
}

/// Whose requests go to a fleet whatever the weights.
pub(crate) struct LiveTester {
    pub(crate) header: HeaderName,
    pub(crate) value: Option<HeaderValue>,
    pub(crate) fleet: usize,
}

/// Which fleet gets copies, and of how many requests in a hundred.
pub(crate) struct LiveMirror {
    pub(crate) fleet: usize,
    pub(crate) percent: u8,
}

/// Why no instance can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTarget {
    /// All weights are 0.
    NoWeight,
    /// No instance is ready, or all of them have been tried.
    NoneReady,
}

/// A choice among fleets and instances.
pub(crate) struct Choice<'a> {
    pub(crate) fleet: usize,
    pub(crate) target: &'a Arc<Target>,
}

/// What one request has already been through.
#[derive(Default)]
pub(crate) struct Attempts {
    /// Its turn among the fleets: taken once, so that nobody else misses one when this request looks again.
    turn: Option<usize>,
    /// The key that its client is given, having had none.
    pub(crate) drawn: Option<Key>,
    /// It is a copy for the fleet that mirrors.
    pub(crate) copy: bool,
    /// Keys of the targets that could not be reached.
    pub(crate) tried: Vec<u64>,
    /// How long it was held: no fleet's doing.
    pub(crate) held: Duration,
}

impl Attempts {
    /// Those of a copy.
    pub(crate) fn of_a_copy() -> Self {
        Self { copy: true, ..Self::default() }
    }
}

impl Live {
    /// Before the first table.
    pub(crate) fn empty() -> Self {
        Self { generation: 0, table: Arc::default(), listeners: HashMap::new() }
    }
}

impl LiveBackend {
    /// Why a request by weight has to wait: no fleet with weight has a ready instance, whatever has been tried.
    pub(crate) fn gap(&self, generation: u64) -> Option<Gap> {
        let serves = || self.fleets.iter().any(|fleet| fleet.weight > 0 && !fleet.ready.is_empty());
        let waits = !self.hold.is_zero() && !serves();
        waits.then(|| Gap { generation, hold: self.hold, queue: Arc::clone(&self.queue) })
    }

    /// The fleet that the preview header asks for: `Err` when there is none of that name.
    pub(crate) fn asked(&self, headers: &HeaderMap) -> Result<Option<usize>, ()> {
        let Some(preview) = &self.preview else { return Ok(None) };
        let Some(value) = headers.get(&preview.header) else { return Ok(None) };
        if value.as_bytes() == b"next" {
            return preview.newest.map(Some).ok_or(());
        }
        let number: Option<u64> = value.to_str().ok().and_then(|text| text.parse().ok());
        let fleet = self.fleets.iter().position(|fleet| Some(fleet.stats.id.release.0) == number);
        fleet.map(Some).ok_or(())
    }

    /// Chooses an instance for an HTTP request: of the fleet that its tester's header means, else of the one that its
    /// client is kept with, else by weight.
    pub(crate) fn choose_for(
        &self,
        headers: &HeaderMap,
        keys: &Keys,
        attempts: &mut Attempts,
        now: u64,
    ) -> Result<Choice<'_>, NoTarget> {
        let tester = self.testers.iter().find(|tester| tester.fits(headers));
        if let Some(choice) = tester.and_then(|tester| self.choose_in(tester.fleet, attempts, now)) {
            return Ok(choice);
        }
        match &self.sticky {
            Some(sticky) if !self.round.is_empty() => {
                let first = self.kept(sticky, headers, keys, attempts);
                self.choose_from(first, attempts, now)
            }
            _ => self.choose(attempts, now),
        }
    }

    /// Chooses an instance: the fleet by weight, then round robin or, of two, the less busy one.
    pub(crate) fn choose(&self, attempts: &mut Attempts, now: u64) -> Result<Choice<'_>, NoTarget> {
        if self.round.is_empty() {
            return Err(NoTarget::NoWeight);
        }
        let first = self.turn(attempts);
        self.choose_from(first, attempts, now)
    }

    /// Chooses an instance of one fleet.
    pub(crate) fn choose_in(&self, fleet: usize, attempts: &Attempts, now: u64) -> Option<Choice<'_>> {
        self.fleets[fleet].choose(&attempts.tried, now).map(|target| Choice { fleet, target })
    }

    /// The fleet whose turn it is; there must be a round.
    fn turn(&self, attempts: &mut Attempts) -> usize {
        if let [only] = *self.round {
            return usize::from(only);
        }
        let turn = *attempts.turn.get_or_insert_with(|| self.turns.weighted());
        usize::from(self.round[turn % self.round.len()])
    }

    /// The fleet that a client is kept with. A new client takes its turn, and is given a key to match.
    fn kept(&self, sticky: &LiveSticky, headers: &HeaderMap, keys: &Keys, attempts: &mut Attempts) -> usize {
        let point = sticky.point(headers).or(attempts.drawn.map(|key| key.point()));
        if let Some(fleet) = point.and_then(|point| sticky.fleet(point)) {
            return fleet;
        }
        let fleet = self.turn(attempts);
        attempts.drawn = sticky.draw(fleet, keys);
        fleet
    }

    /// Chooses an instance of this fleet, or of another one with weight.
    fn choose_from(&self, first: usize, attempts: &Attempts, now: u64) -> Result<Choice<'_>, NoTarget> {
        if let Some(choice) = self.choose_in(first, attempts, now) {
            return Ok(choice);
        }
        let mut others =
            (0..self.fleets.len()).filter(|fleet| *fleet != first && self.fleets[*fleet].weight > 0);
        others.find_map(|fleet| self.choose_in(fleet, attempts, now)).ok_or(NoTarget::NoneReady)
    }
}

impl LiveTester {
    fn fits(&self, headers: &HeaderMap) -> bool {
        match &self.value {
            None => headers.contains_key(&self.header),
            Some(value) => headers.get_all(&self.header).iter().any(|other| other == value),
        }
    }
}

impl LiveFleet {
    fn choose(&self, tried: &[u64], now: u64) -> Option<&Arc<Target>> {
        let count = self.ready.len();
        if count == 0 {
            return None;
        }
        let turn = self.stats.turn.fetch_add(1, Relaxed);
        let untried = |target: &&Arc<Target>| tried.is_empty() || !tried.contains(&target.key);
        let in_order = || (0..count).map(|step| &self.ready[(turn + step) % count]).filter(untried);
        // An ejected instance is better than none.
        let first = in_order().find(|target| !target.ejected(now)).or_else(|| in_order().next())?;
        // Of two, the less busy (M. Mitzenmacher, The Power of Two Choices, 2001); the turn decides between equals.
        let step = 1 + mix(turn) % count.saturating_sub(1).max(1);
        let second = Some(&self.ready[(turn + step) % count])
            .filter(untried)
            .filter(|second| !second.ejected(now) && second.load() < first.load());
        Some(second.unwrap_or(first))
    }

    /// Whether another instance than `target` is available.
    pub(crate) fn others(&self, target: &Target, now: u64) -> bool {
        self.ready.iter().any(|other| other.key != target.key && !other.ejected(now))
    }
}

/// Spreads the bits of a counter (Fibonacci hashing).
fn mix(turn: usize) -> usize {
    turn.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize) >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Source, compile};
    use crate::registry::Registry;
    use crate::table::Mode;

    #[test]
    fn a_request_that_looks_again_takes_no_further_turn() {
        let table = r#"{"version": 1, "listeners": [], "backends": {"b": {"protocol": "tcp", "preview": null,
            "request_timeout": "1s", "idle_timeout": "1s", "upgraded": "wait", "fleets": [
            {"id": "dev/web/1", "weight": 50, "draining": [],
             "instances": [{"id": "a", "endpoint": {"kind": "tcp", "addr": "127.0.0.1:1"}}]},
            {"id": "dev/web/2", "weight": 50, "draining": [],
             "instances": [{"id": "b", "endpoint": {"kind": "tcp", "addr": "127.0.0.1:1"}}]}]}}}"#;
        let table: Arc<RouteTable> = Arc::new(serde_json::from_str(table).unwrap());
        let mut registry = Registry::new(1, Arc::new(tokio::sync::watch::Sender::new(0)));
        let mode = Mode::Tcp { tls: Vec::new(), backend: "b".into() };
        let mut fleets = Vec::new();
        for generation in 0..6 {
            let sources = vec![Source { slot: 1, mode: &mode, tls: None }];
            let live = compile(&mut registry, &table, generation, sources);
            let LiveMode::Tcp(backend) = &live.listeners[&1].mode else { panic!() };
            let mut attempts = Attempts::default();
            let mut chosen = || backend.choose(&mut attempts, 0).ok().map(|choice| choice.fleet);
            let first = chosen();
            assert_eq!((chosen(), chosen()), (first, first));
            fleets.extend(first);
        }
        assert_eq!(fleets, [0, 1, 0, 1, 0, 1]);
    }
}
