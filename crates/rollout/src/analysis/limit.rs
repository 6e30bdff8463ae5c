//! A share against a limit, looked at as often as one likes.
//!
//! With n requests of which k are bad and a limit p0, every alternative p > p0 has a likelihood ratio
//! (p/p0)^k ((1-p)/(1-p0))^(n-k). As long as no request is bad with more than chance p0, whatever happened before it, the
//! ratio cannot be expected to grow, and neither can an average of such ratios over alternatives that were chosen
//! beforehand. Such an average exceeds 1/alpha at ANY moment with chance alpha at most (Ville 1939; Wald 1945 for one
//! alternative, Robbins 1970 for mixtures). So the release is turned back at the first moment it does.

use kiln_model::{AnalysisSpec, Span};

use super::{Judgement, Sample, text};

/// Alternatives in the mixture. Each one costs all others a part of ln(16) = 2.8 nats, as much as two failures against a
/// limit of 1 %; with 16, one is near enough to the truth from a tenth above the limit up to 95 %.
const ALTERNATIVES: usize = 16;

/// The nearest alternative, as a ratio of odds.
const NEAREST: f64 = 1.1;

/// The farthest one, as odds: 19 to 1 are 95 %.
const FARTHEST: f64 = 19.0;

/// The natural logarithm of the evidence that more than `limit` of the requests are bad, when `bad` of `all` were. A
/// test of level alpha rejects when it reaches ln(1/alpha).
pub fn log_evidence(bad: u64, all: u64, limit: f64) -> f64 {
    if limit <= 0.0 {
        return if bad > 0 { f64::INFINITY } else { 0.0 };
    }
    let odds = limit / (1.0 - limit);
    let farthest = (FARTHEST / odds).ln();
    let nearest = NEAREST.ln();
    if limit >= 1.0 || farthest <= nearest {
        return 0.0;
    }
    let step = (farthest / nearest).powf(1.0 / (ALTERNATIVES - 1) as f64);
    let mut ln_ratio = nearest;
    mixture(&std::array::from_fn::<f64, ALTERNATIVES, _>(|_| {
        let log = log_ratio(bad, all, limit, ln_ratio);
        ln_ratio *= step;
        log
    }))
}

/// The log likelihood ratio of `bad` in `all` when the odds are exp(`ln_ratio`) times those of `share`.
pub(super) fn log_ratio(bad: u64, all: u64, share: f64, ln_ratio: f64) -> f64 {
    bad as f64 * ln_ratio - all as f64 * (share * ln_ratio.exp_m1()).ln_1p()
}

/// The logarithm of the average of what these are the logarithms of.
pub(super) fn mixture(logs: &[f64]) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
    largest + (sum / logs.len() as f64).ln()
}

/// What the evidence must reach at a level.
pub(super) fn threshold(alpha: f64) -> f64 {
    -alpha.ln()
}

pub(super) fn findings(spec: &AnalysisSpec, new: &Sample, alpha: f64) -> Vec<Judgement> {
    let slow =
        [("max_p50", 0.5, spec.max_p50), ("max_p90", 0.1, spec.max_p90), ("max_p99", 0.01, spec.max_p99)];
    let slow = slow.into_iter().filter_map(|(name, allowed, limit)| Some((name, allowed, limit?)));
    let slow = slow.map(|(name, allowed, limit)| Limit::of_latency(new, name, allowed, limit));
    let errors = spec.max_error_rate.map(|allowed| Limit::of_errors(new, allowed));
    errors.into_iter().chain(slow).filter_map(|limit| limit.finding(spec, alpha)).collect()
}

/// One limit and what was counted for it.
struct Limit {
    /// Surely bad.
    bad: u64,
    /// Bad by estimate.
    about: f64,
    all: u64,
    allowed: f64,
    /// What the bad ones did.
    verb: String,
    /// Who allows it.
    whose: String,
    missing: &'static str,
}

impl Limit {
    fn of_errors(new: &Sample, allowed: f64) -> Self {
        let bad = new.failed.min(new.requests);
        let whose = format!("the {} allowed", text::plain_percent(allowed));
        Self { bad, about: bad as f64, all: new.requests, allowed, verb: "failed".into(), whose, missing: "" }
    }

    fn of_latency(new: &Sample, name: &str, allowed: f64, limit: Span) -> Self {
        let micros = limit.millis().saturating_mul(1000);
        Self {
            bad: new.surely_slow(micros),
            about: new.about_slow(micros),
            all: new.timed(),
            allowed,
            verb: format!("took {limit} or longer"),
            whose: format!("the {} that {name} allows", text::plain_percent(allowed)),
            missing: " with a latency",
        }
    }

    fn finding(&self, spec: &AnalysisSpec, alpha: f64) -> Option<Judgement> {
        let Self { bad, about, all, allowed, verb, whose, missing } = self;
        // Within the limit every alternative is less likely than the limit, and there is nothing to compute.
        let over = *bad as f64 > *all as f64 * *allowed;
        if over && log_evidence(*bad, *all, *allowed) >= threshold(alpha) {
            let (of, share) = (text::requests(*all), text::percent(*bad as f64, *all));
            let sure = text::sureness(spec.false_alarm);
            return Some(Judgement::Fail(format!(
                "{bad} of {of} {verb} ({share}), more than {whose} {sure}"
            )));
        }
        if *all < spec.min_requests.max(1) {
            let (seen, needed) = (text::requests(*all), spec.min_requests.max(1));
            return Some(Judgement::NoData(format!(
                "{seen}{missing} on the new fleet in this stage, and a judgement takes {needed}"
            )));
        }
        (about / *all as f64 > *allowed).then(|| {
            let (of, share) = (text::requests(*all), text::percent(*about, *all));
            let about = about.round();
            Judgement::Inconclusive(format!(
                "{about} of {of} {verb} ({share}), more than {whose}, but too few to rule out chance"
            ))
        })
    }
}
