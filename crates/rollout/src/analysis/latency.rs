//! Latencies of two fleets: the Mann-Whitney U test on buckets.
//!
//! The question is not whether the new fleet is slower at all, since with enough requests every difference is
//! significant, but whether it is slower by more than a quarter (Kayenta's tolerance is 0.25 too) and by more than a
//! millisecond. Every request of the other fleet is taken as slow as its bucket allows, made a quarter or a
//! millisecond slower, and put into the bucket that it then belongs to; the new fleet's requests are taken as they are. The
//! new fleet fails if it is significantly slower than that. Whatever a bucket hides is thus in favour of the new fleet.
//!
//! U's distribution is taken as normal, with the variance corrected for ties and with a correction for continuity (Mann and
//! Whitney 1947; Lehmann, "Nonparametrics", section 1.4). Looking again and again would find something in the
//! end, so there are looks only when the smaller sample has doubled, and one when the hold has passed; look i may
//! be wrong with chance alpha * 6/(pi^2 i^2), which sums to alpha over all of them.

use std::f64::consts::PI;

use kiln_model::{Against, AnalysisSpec};
use serde::{Deserialize, Serialize};

use super::normal::upper_tail;
use super::sample::merged;
use super::{Judgement, Sample, text};

/// Fewer requests than this on either side are never compared: below, U is not near enough to normal.
const FEWEST: u64 = 20;

/// A slow-down that is tolerated, in microseconds.
const TOLERATED_MICROS: u64 = 1000;

/// The Mann-Whitney U test of "the first sample's values are not larger than the second's".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Pairs in which the first one's is larger; ties count half.
    pub u: f64,
    /// The chance of such a U or a larger one if there is no difference.
    pub p: f64,
    /// U as a share of all pairs.
    pub superiority: f64,
}

/// Tests counts in the same ordered buckets: (count of the first, count of the second) for each bucket. All in one
/// bucket, or nothing on one side, is no evidence (p = 1).
pub fn mann_whitney(buckets: impl Iterator<Item = (u64, u64)>) -> MannWhitney {
    let (mut first, mut second, mut u, mut ties) = (0.0, 0.0, 0.0, 0.0);
    for (a, b) in buckets {
        let (a, b) = (a as f64, b as f64);
        u += a * (second + b / 2.0);
        first += a;
        second += b;
        let tied = a + b;
        ties += tied * tied * tied - tied;
    }
    let (pairs, all): (f64, f64) = (first * second, first + second);
    let variance = pairs / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if pairs == 0.0 || variance <= 0.0 {
        return MannWhitney { u, p: 1.0, superiority: 0.5 };
    }
    let z = (u - pairs / 2.0 - 0.5) / variance.sqrt();
    MannWhitney { u, p: upper_tail(z), superiority: u / pairs }
}

/// The looks that were spent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Looks {
    spent: u32,
    /// Size of the smaller sample at the last one.
    at: u64,
    /// The look at the end of the hold is spent.
    end: bool,
}

impl Looks {
    /// The level of a look at samples of which the smaller one has so many, if it is time for one.
    fn level(&mut self, smaller: u64, alpha: f64, over: bool) -> Option<f64> {
        let doubled = smaller >= self.at.saturating_mul(2);
        let end = over && !self.end && smaller > self.at;
        if !doubled && !end {
            return None;
        }
        self.end |= over;
        self.at = smaller;
        self.spent = self.spent.saturating_add(1);
        Some(alpha * 6.0 / (PI * f64::from(self.spent)).powi(2))
    }
}

/// The other fleet as people know it.
pub(super) fn name(against: Against) -> &'static str {
    match against {
        Against::Old => "old fleet",
        Against::Baseline | Against::Limits => "baseline fleet",
    }
}

pub(super) fn findings(
    spec: &AnalysisSpec,
    looks: &mut Looks,
    new: &Sample,
    base: &Sample,
    alpha: f64,
    over: bool,
) -> Option<Judgement> {
    let needed = spec.min_requests.max(FEWEST);
    let (timed, there) = (new.timed(), base.timed());
    let other = name(spec.against);
    if timed.min(there) < needed {
        let (timed, there) = (text::requests(timed), text::requests(there));
        return Some(Judgement::NoData(format!(
            "{timed} with a latency on the new fleet and {there} on the {other} in this stage, and comparing them takes \
             {needed} on each"
        )));
    }
    let level = looks.level(timed.min(there), alpha, over);
    if level.is_none() && !over {
        return None;
    }
    let slowed = slowed(new, base);
    let test = mann_whitney(merged(&new.latency, &slowed).map(|(_, a, b)| (a, b)));
    let medians = || {
        let (here, there) = (text::micros(new.median()), text::micros(base.median()));
        format!(
            "half of the requests take longer than about {here}, on the {other} longer than about {there}"
        )
    };
    if level.is_some_and(|level| test.p <= level) {
        let pairs = text::percent(test.superiority, 1);
        let sure = text::sureness(spec.false_alarm);
        return Some(Judgement::Fail(format!(
            "{}: slower by more than a quarter (Mann-Whitney U: {pairs} of {timed} x {there} pairs) {sure}",
            medians()
        )));
    }
    (test.superiority > 0.5).then(|| {
        Judgement::Inconclusive(format!(
            "{}: slower by more than a quarter, but too few to rule out chance",
            medians()
        ))
    })
}

/// The other fleet's buckets as if everything in them took a quarter, or a millisecond, longer than the bucket allows:
/// each count under the bound of the bucket of either fleet that this falls into.
fn slowed(new: &Sample, base: &Sample) -> Vec<(u64, u64)> {
    let mut buckets: Vec<(u64, u64)> =
        merged(&new.latency, &base.latency).map(|(bound, _, _)| (bound, 0)).collect();
    let Some(last) = buckets.len().checked_sub(1) else { return buckets };
    let mut to = 0;
    for &(bound, count) in &base.latency {
        let slower = bound.saturating_add((bound / 4).max(TOLERATED_MICROS));
        while to < last && buckets[to].0 <= slower {
            to += 1;
        }
        buckets[to].1 = buckets[to].1.saturating_add(count);
    }
    buckets
}
