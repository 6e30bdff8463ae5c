//! Further sources: Prometheus, webhooks, commands. The caller asks them; this counts what they said.

use std::collections::BTreeMap;

use kiln_model::Metric;
use serde::{Deserialize, Serialize};

use super::{Judgement, Measured, Reading};

/// What one metric has said in this stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct History {
    /// The last reading that is counted in here.
    at_ms: Option<i64>,
    failures: u32,
    /// Errors in a row.
    errors: u32,
    /// There was a good one.
    passed: bool,
}

/// A reading held against the limits of its metric.
enum Verdict {
    Good,
    Bad(String),
    Unclear(String),
    Nothing,
    Unreadable(String),
}

pub(super) fn findings(
    metrics: &[Metric],
    histories: &mut BTreeMap<String, History>,
    readings: &BTreeMap<String, Reading>,
) -> Vec<Judgement> {
    let finding = |metric: &Metric| match readings.get(&metric.name) {
        None => Some(Judgement::NoData(format!("metric {:?} has not been read yet", metric.name))),
        Some(reading) => {
            let verdict = verdict(metric, &reading.outcome);
            let history = histories.entry(metric.name.clone()).or_default();
            history.count(reading.at_ms, &verdict);
            history.finding(metric, verdict)
        }
    };
    metrics.iter().filter_map(finding).collect()
}

fn verdict(metric: &Metric, outcome: &Result<Measured, String>) -> Verdict {
    let measured = match outcome {
        Ok(measured) => measured,
        Err(error) => return Verdict::Unreadable(error.clone()),
    };
    match measured {
        Measured::Pass => Verdict::Good,
        Measured::Fail(reason) => Verdict::Bad(format!("failed: {reason}")),
        Measured::Inconclusive(reason) => Verdict::Unclear(reason.clone()),
        Measured::NoData => Verdict::Nothing,
        Measured::Value(value) if value.is_nan() => Verdict::Nothing,
        Measured::Value(value) => match (metric.max, metric.min) {
            (Some(max), _) if *value > max => Verdict::Bad(format!("is {value}, above its max of {max}")),
            (_, Some(min)) if *value < min => Verdict::Bad(format!("is {value}, below its min of {min}")),
            _ => Verdict::Good,
        },
    }
}

impl History {
    /// Counts a reading unless it is the one counted last.
    fn count(&mut self, at_ms: i64, verdict: &Verdict) {
        if self.at_ms == Some(at_ms) {
            return;
        }
        self.at_ms = Some(at_ms);
        self.passed |= matches!(verdict, Verdict::Good);
        if matches!(verdict, Verdict::Bad(_)) {
            self.failures = self.failures.saturating_add(1);
        }
        let unreadable = matches!(verdict, Verdict::Unreadable(_));
        self.errors = if unreadable { self.errors.saturating_add(1) } else { 0 };
    }

    /// What this says about the stage, its last reading being `last`.
    fn finding(&self, metric: &Metric, last: Verdict) -> Option<Judgement> {
        let name = &metric.name;
        match last {
            Verdict::Bad(what) if self.failures > metric.failure_limit => {
                let times = times(self.failures);
                let limit = metric.failure_limit;
                Some(Judgement::Fail(format!(
                    "metric {name:?} {what}; bad {times}, more than the {limit} allowed"
                )))
            }
            Verdict::Unreadable(error) if self.errors > metric.error_limit => {
                let row =
                    if self.errors == 1 { String::new() } else { format!(" {} times in a row", self.errors) };
                Some(Judgement::Error(format!("metric {name:?} could not be read{row}: {error}")))
            }
            Verdict::Nothing => Some(Judgement::NoData(format!("metric {name:?} has no data"))),
            Verdict::Unclear(why) => {
                Some(Judgement::Inconclusive(format!("metric {name:?} is inconclusive: {why}")))
            }
            _ if self.passed => None,
            Verdict::Unreadable(error) => {
                Some(Judgement::NoData(format!("metric {name:?} has not been read yet: {error}")))
            }
            Verdict::Bad(what) => Some(Judgement::Inconclusive(format!(
                "metric {name:?} {what}, and was never good in this stage"
            ))),
            Verdict::Good => None,
        }
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".into() } else { format!("{count} times") }
}
