//! Failed requests of two fleets with any shares of the traffic, looked at as often as one likes.
//!
//! Requests are taken in blocks, each closed as soon as both fleets have ended ten requests or more in it. When both fail
//! equally often, which of a block's failures are the new fleet's is a draw without putting back, from its a requests
//! and the other's b. A likelihood ratio that treats it as a draw with putting back, of chance a/(a+b), is expected to
//! be 1 at most: it is convex in the count, and no draw without putting back is more spread out than one with (Hoeffding
//! 1963, theorem 4). So the product over the blocks keeps the promise that `limit` describes, and since every block has its own
//! shares and its own count of failures, traffic that shifts between the fleets, or a dependency that fails both for
//! a while, cannot be taken for a difference. An open block is not looked at.

use kiln_model::AnalysisSpec;
use serde::{Deserialize, Serialize};

use super::limit::{log_ratio, mixture, threshold};
use super::{Judgement, Sample, latency, text};

/// Requests of each fleet that close a block: few enough to decide within tens of requests, and enough that a request
/// that is counted a moment late moves the shares little.
const BLOCK: u64 = 10;

/// How much higher the odds may be, as alternatives. The nearest one makes a tolerance: the ratio that leaves the
/// evidence for 1.5 standing still is (1.5-1)/ln(1.5) = 1.23, so a fleet that fails less than a fifth more often is
/// never turned back by this test, however long it looks.
const RATIOS: [f64; 8] = [1.5, 2.0, 3.0, 4.5, 7.0, 12.0, 25.0, 60.0];

/// Evidence at which a difference that is not sure is worth a person's look: reached by chance in one of 20 stages at most.
const DOUBT: f64 = 20.0;

/// Logarithms are kept as whole billionths, rounded down: the state can be compared, hashed and written as text
/// without losing a digit.
const UNIT: f64 = 1e9;

/// What is known from the closed blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Evidence {
    /// Counters (requests, failed) of the new fleet when the last block was closed.
    new: (u64, u64),
    /// The same of the other fleet.
    base: (u64, u64),
    /// Log likelihood ratio for each of [`RATIOS`], in billionths; empty before the first block.
    logs: Vec<i64>,
}

impl Evidence {
    /// Closes a block if there is enough.
    fn take(&mut self, new: &Sample, base: &Sample) {
        let (a, bad_a) = difference(new, self.new);
        let (b, bad_b) = difference(base, self.base);
        if a < BLOCK || b < BLOCK {
            return;
        }
        self.logs.resize(RATIOS.len(), 0);
        let share = a as f64 / (a + b) as f64;
        for (log, ratio) in self.logs.iter_mut().zip(RATIOS) {
            let gained = log_ratio(bad_a, bad_a + bad_b, share, ratio.ln()) * UNIT;
            *log = log.saturating_add(gained.floor() as i64);
        }
        self.new = (new.requests, new.failed);
        self.base = (base.requests, base.failed);
    }

    /// The natural logarithm of the evidence that the new fleet fails more often.
    fn log(&self) -> f64 {
        if self.logs.is_empty() {
            return 0.0;
        }
        let logs: Vec<f64> = self.logs.iter().map(|&log| log as f64 / UNIT).collect();
        mixture(&logs)
    }
}

/// (requests, failed) since a block was closed; everything when the counters began anew.
fn difference(now: &Sample, then: (u64, u64)) -> (u64, u64) {
    let (requests, failed) = match (now.requests.checked_sub(then.0), now.failed.checked_sub(then.1)) {
        (Some(requests), Some(failed)) => (requests, failed),
        _ => (now.requests, now.failed),
    };
    (requests, failed.min(requests))
}

pub(super) fn findings(
    spec: &AnalysisSpec,
    evidence: &mut Evidence,
    new: &Sample,
    base: &Sample,
    alpha: f64,
) -> Vec<Judgement> {
    evidence.take(new, base);
    let log = evidence.log();
    let other = latency::name(spec.against);
    let counts = || {
        let side = |sample: &Sample| {
            let share = text::percent(sample.failed as f64, sample.requests);
            format!("{} of {}", sample.failed, text::requests(sample.requests))
                + &format!(" failed ({share})")
        };
        format!("{}, on the {other} {}", side(new), side(base))
    };
    if log >= threshold(alpha) {
        let sure = text::sureness(spec.false_alarm);
        return vec![Judgement::Fail(format!("{}: more than chance explains {sure}", counts()))];
    }
    let needed = spec.min_requests.max(BLOCK);
    if new.requests < needed || base.requests < needed {
        let (seen, there) = (text::requests(new.requests), text::requests(base.requests));
        return vec![Judgement::NoData(format!(
            "{seen} on the new fleet and {there} on the {other} in this stage, and comparing them takes {needed} on each"
        ))];
    }
    if log >= DOUBT.ln() {
        return vec![Judgement::Inconclusive(format!("{}: more, but too few to rule out chance", counts()))];
    }
    Vec::new()
}
