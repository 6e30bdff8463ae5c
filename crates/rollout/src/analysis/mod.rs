//! Canary analysis: whether the new fleet's answers are good enough to go on, as arithmetic over counters.
//!
//! [`judge`] is called at every decision. It looks at what both fleets answered since the stage's gate began and
//! at the latest reading of every further metric, and costs as much as there are latency buckets, whatever the traffic.
//!
//! | question | test |
//! |---|---|
//! | more failed requests than `max_error_rate`? more slow ones than `max_p50`, `max_p90`, `max_p99` allow? | a mixture of likelihood ratios, valid at every moment (`limit`) |
//! | more failed requests than on the other fleet? | the same on whose each failure is, block by block (`share`) |
//! | slower than the other fleet? | Mann-Whitney U at doubling sample sizes (`latency`) |
//!
//! `false_alarm` is divided evenly over the tests that the spec asks for (Bonferroni), so it holds for a whole stage
//! whatever the tests have to do with each other. All of them take requests as independent of each other.
//!
//! Nothing in here weights metrics into a score: one test that rejects is enough to go back.

mod latency;
mod limit;
mod metric;
mod normal;
mod sample;
mod share;
mod text;

use std::collections::BTreeMap;

use kiln_model::{Against, AnalysisSpec};
use serde::{Deserialize, Serialize};

pub use latency::{MannWhitney, mann_whitney};
pub use limit::log_evidence;
pub use sample::Sample;

/// What was counted since the stage's gate began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// On the new fleet.
    pub new: Sample,
    /// On the fleet that it is compared with, over the same time; its share of the traffic may be another. `None` says
    /// that this stage has no such fleet, and the comparison falls away; a fleet without requests is an empty sample.
    pub base: Option<Sample>,
}

/// The latest reading of one further metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When it was taken: two readings are the same one when their times are equal.
    pub at_ms: i64,
    /// What the source said, or why it could not be asked.
    pub outcome: Result<Measured, String>,
}

/// What a source said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measured {
    /// A number, to be held against `min` and `max`. NaN is no data.
    Value(f64),
    /// The source judged by itself: good.
    Pass,
    /// Bad, and why.
    Fail(String),
    /// It cannot tell, and why.
    Inconclusive(String),
    /// It has nothing to judge by.
    NoData,
}

/// What is remembered between the decisions of one stage; a stage begins with the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct AnalysisState {
    /// The first failure. It stays: the promise about false alarms is about ever rejecting, not about rejecting now.
    failed: Option<String>,
    share: share::Evidence,
    looks: latency::Looks,
    metrics: BTreeMap<String, metric::History>,
}

/// What the analysis says now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "reason", rename_all = "kebab-case")]
pub enum Judgement {
    /// The hold has not passed, and nothing speaks against the release yet.
    GoesOn,
    /// The hold has passed and everything keeps to its limits.
    Pass,
    /// A limit is broken.
    Fail(String),
    /// The hold has passed without enough to judge by.
    NoData(String),
    /// The hold has passed, something looks too high, and it may be chance.
    Inconclusive(String),
    /// A source cannot be read.
    Error(String),
}

impl Judgement {
    /// The first finding of the gravest kind decides.
    fn rank(&self) -> u8 {
        match self {
            Self::Fail(_) => 0,
            Self::Error(_) => 1,
            Self::NoData(_) => 2,
            Self::Inconclusive(_) => 3,
            Self::GoesOn | Self::Pass => 4,
        }
    }

    fn waits_for_the_end(&self) -> bool {
        matches!(self, Self::NoData(_) | Self::Inconclusive(_))
    }
}

/// Judges a stage by what was counted so far; `over` says that its hold has passed.
///
/// The same input a second time gives the same answer and spends nothing: `state` moves only with new data.
pub fn judge(
    spec: &AnalysisSpec,
    state: &mut AnalysisState,
    window: &Window,
    readings: &BTreeMap<String, Reading>,
    over: bool,
) -> Judgement {
    let mut findings = metric::findings(&spec.metrics, &mut state.metrics, readings);
    if let Some(reason) = &state.failed {
        return Judgement::Fail(reason.clone());
    }
    let alpha = share_of_alarm(spec);
    findings.extend(limit::findings(spec, &window.new, alpha));
    if let (true, Some(base)) = (compares(spec), &window.base) {
        findings.extend(share::findings(spec, &mut state.share, &window.new, base, alpha));
        findings.extend(latency::findings(spec, &mut state.looks, &window.new, base, alpha, over));
    }
    let gravest = findings.into_iter().filter(|f| over || !f.waits_for_the_end()).min_by_key(Judgement::rank);
    if let Some(Judgement::Fail(reason)) = &gravest {
        state.failed = Some(reason.clone());
    }
    gravest.unwrap_or(if over { Judgement::Pass } else { Judgement::GoesOn })
}

fn compares(spec: &AnalysisSpec) -> bool {
    spec.against != Against::Limits
}

/// The chance of a false alarm that each test may use. It depends on the spec alone, so that it cannot move
/// within a stage.
fn share_of_alarm(spec: &AnalysisSpec) -> f64 {
    let limits = [spec.max_p50, spec.max_p90, spec.max_p99].iter().flatten().count();
    let tests = limits + usize::from(spec.max_error_rate.is_some()) + if compares(spec) { 2 } else { 0 };
    spec.false_alarm.clamp(0.0, 1.0) / tests.max(1) as f64
}
