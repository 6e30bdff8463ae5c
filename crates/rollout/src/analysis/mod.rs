#![allow(missing_docs)]
//! What was measured, and what it says.

use std::collections::BTreeMap;

use kiln_model::AnalysisSpec;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub requests: u64,
    pub failed: u64,
    pub latency: Vec<(u64, u64)>,
}
impl Sample {
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failed: self.failed.saturating_sub(earlier.failed),
            latency: vec![],
        }
    }
    pub fn plus(&self, other: &Self) -> Self {
        Self { requests: self.requests + other.requests, failed: self.failed + other.failed, latency: vec![] }
    }
}
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    pub new: Sample,
    pub base: Option<Sample>,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub at_ms: i64,
    pub outcome: Result<Measured, String>,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Measured {
    Value(f64),
    Pass,
    Fail(String),
    Inconclusive(String),
    NoData,
}
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AnalysisState {}
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    GoesOn,
    Pass,
    Fail(String),
    NoData(String),
    Inconclusive(String),
    Error(String),
}
pub fn judge(
    spec: &AnalysisSpec,
    _state: &mut AnalysisState,
    window: &Window,
    _readings: &BTreeMap<String, Reading>,
    over: bool,
) -> Judgement {
    let share = window.new.failed as f64 / window.new.requests.max(1) as f64;
    if window.new.requests >= spec.min_requests && share > spec.max_error_rate.unwrap_or(1.0) {
        return Judgement::Fail("too many failed".into());
    }
    if !over {
        return Judgement::GoesOn;
    }
    if window.new.requests < spec.min_requests {
        return Judgement::NoData("no data".into());
    }
    Judgement::Pass
}
