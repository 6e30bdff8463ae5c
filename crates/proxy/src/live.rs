//! The route table as the workers use it: compiled once, never changed, replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use kiln_model::Protocol;
use rustls::ServerConfig;

use crate::metrics::FleetStats;
use crate::router::Router;
use crate::table::RouteTable;
use crate::target::Target;

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
    /// Requests so far; survives replacements, so that weights stay exact over them.
    pub(crate) turn: Arc<AtomicUsize>,
    pub(crate) preview: Option<LivePreview>,
    pub(crate) request_timeout: Duration,
    pub(crate) idle_timeout: Duration,
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
    /// The fleet whose turn it was.
    pub(crate) fleet: Option<usize>,
    /// Keys of the targets that could not be reached.
    pub(crate) tried: Vec<u64>,
}

impl Live {
    /// Before the first table.
    pub(crate) fn empty() -> Self {
        Self { generation: 0, table: Arc::default(), listeners: HashMap::new() }
    }
}

impl LiveBackend {
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

    /// Chooses an instance: the fleet by weight (or `forced`), then round robin or, of two, the less busy one.
    pub(crate) fn choose(
        &self,
        forced: Option<usize>,
        attempts: &Attempts,
        now: u64,
    ) -> Result<Choice<'_>, NoTarget> {
        if let Some(fleet) = forced {
            return self.choose_in(fleet, attempts, now).ok_or(NoTarget::NoneReady);
        }
        if self.round.is_empty() {
            return Err(NoTarget::NoWeight);
        }
        // The table may have changed since the turn was taken.
        let weighted = |fleet: &usize| self.fleets.get(*fleet).is_some_and(|fleet| fleet.weight > 0);
        let first = attempts.fleet.filter(weighted).unwrap_or_else(|| {
            let turn = if self.round.len() == 1 { 0 } else { self.turn.fetch_add(1, Relaxed) };
            usize::from(self.round[turn % self.round.len()])
        });
        if let Some(choice) = self.choose_in(first, attempts, now) {
            return Ok(choice);
        }
        let mut others = (0..self.fleets.len()).filter(|fleet| *fleet != first && weighted(fleet));
        others.find_map(|fleet| self.choose_in(fleet, attempts, now)).ok_or(NoTarget::NoneReady)
    }

    fn choose_in(&self, fleet: usize, attempts: &Attempts, now: u64) -> Option<Choice<'_>> {
        self.fleets[fleet].choose(&attempts.tried, now).map(|target| Choice { fleet, target })
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

/// The turns of one round by smooth weighted round robin (nginx's algorithm): as many as the sum of the weights over
/// their greatest common divisor.
pub(crate) fn round(weights: &[u8]) -> Box<[u8]> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, u32::from(*b))).max(1);
    let shares: Vec<i64> = weights.iter().map(|weight| i64::from(u32::from(*weight) / divisor)).collect();
    let total: i64 = shares.iter().sum();
    let mut credit = vec![0_i64; shares.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        credit.iter_mut().zip(&shares).for_each(|(credit, share)| *credit += share);
        let most = (0..credit.len()).rev().max_by_key(|fleet| credit[*fleet]).unwrap_or(0);
        credit[most] -= total;
        turns.push(u8::try_from(most).unwrap_or(0));
    }
    turns.into()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_gives_each_fleet_exactly_its_share_and_never_clumps() {
        for weights in
            [&[90_u8, 10][..], &[1, 99], &[33, 33, 34], &[100, 0], &[0, 100], &[50, 50], &[5, 95, 0]]
        {
            let round = round(weights);
            let total: usize = weights.iter().map(|w| usize::from(*w)).sum();
            for (fleet, weight) in weights.iter().enumerate() {
                let mut seen = 0_usize;
                for (turn, chosen) in round.iter().enumerate() {
                    seen += usize::from(usize::from(*chosen) == fleet);
                    let due = (turn + 1) * usize::from(*weight);
                    assert!((seen * total).abs_diff(due) <= total, "{weights:?} {turn}");
                }
                assert_eq!(seen * total, usize::from(*weight) * round.len());
            }
        }
        assert!(round(&[0, 0]).is_empty() && round(&[]).is_empty());
        assert_eq!(round(&[0, 100]).as_ref(), [1]);
    }
}
