//! How a new release replaces the old one: strategies, thresholds, analysis, approval.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Name, Span};

/// How a new release replaces the old: `rollout "blue-green" { … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutSpec {
    /// Which list of stages.
    pub strategy: Strategy,
    /// An instance must have been healthy without a break for so long to count. Default 0s.
    pub min_healthy: Span,
    /// One instance may take so long to become healthy. Default 2m.
    pub healthy_deadline: Span,
    /// The rollout may stand still for so long; restarts with progress, stops while paused. Default 10m.
    pub progress_deadline: Span,
    /// Requests of the old fleet may take so long to finish once it has no weight. Default 30s.
    pub drain_deadline: Span,
    /// Whether failure or deadline brings the last stable release back. Default true.
    pub auto_rollback: bool,
    /// Share of all the instances, in percent, that may be unhealthy before a stage begins; more end the rollout.
    /// Default 20 (Azure's maxUnhealthyInstancePercent).
    #[serde(default = "twenty")]
    pub max_unhealthy: u8,
    /// Share of the new instances with traffic, in percent, that may be unhealthy; more end the rollout. Rounds down.
    /// Default 20 (Azure's maxUnhealthyUpgradedInstancePercent).
    #[serde(default = "twenty")]
    pub max_unhealthy_new: u8,
    /// How long the old fleet stays at full size once the rollout is done with it and before it drains. Default 0s
    /// (Argo Rollouts' scaleDownDelaySeconds, CodeDeploy's terminationWaitTimeInMinutes).
    #[serde(default)]
    pub scale_down_delay: Span,
    /// Where the rollout rests, in ascending order (checkpoints of an instance refresh).
    #[serde(default)]
    pub checkpoints: Vec<Checkpoint>,
    /// Where a person must approve, and who may.
    #[serde(default)]
    pub approval: Option<Approval>,
    /// What the new fleet's answers are held against.
    #[serde(default)]
    pub analysis: Option<AnalysisSpec>,
    /// How requests find the new fleet beside its weight.
    #[serde(default)]
    pub canary_traffic: CanaryTraffic,
}

/// The list of stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Strategy {
    /// Old to 0, then new to N.
    Recreate,
    /// Batches within `max_surge` (rounds up) and `max_unavailable` (rounds down).
    Rolling {
        /// Default 25 %.
        max_surge: Amount,
        /// Default 0.
        max_unavailable: Amount,
        /// Most instances of one batch; a percentage rounds up, and is never less than one. Default: as many as surge
        /// and unavailability allow.
        #[serde(default)]
        batch: Option<Amount>,
        /// Rest between batches. Default 0s.
        pause: Span,
    },
    /// New at full size and weight 0, verified, all the weight at once, hold, old to 0.
    BlueGreen {
        /// How long the old fleet stays at full size after the shift. Default 0s.
        hold: Span,
    },
    /// New at a part of the weight, growing by steps.
    Canary {
        /// Weights in percent, ascending; 100 is added at the end when it is missing.
        steps: Vec<u8>,
        /// Rest on each step.
        hold: Span,
    },
}

/// `checkpoint { at = 50 hold = "1h" }`: the rollout rests when the new fleet has reached a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// Percent: of the traffic for canary and blue-green, of the instances for rolling. 1 to 100.
    pub at: u8,
    /// How long it rests there.
    pub hold: Span,
}

/// `approval { before = [100] by = ["alice"] }`: a person says `kiln promote` before the new fleet gets a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The rollout waits before the new fleet gets at least this share of the traffic, in percent; ascending, 1 to 100.
    pub before: Vec<u8>,
    /// Who may approve, as `kiln` knows its callers; empty is anyone but nobody unnamed.
    pub by: Vec<String>,
}

/// `analyse { max_error_rate = "1%" max_p99 = "300ms" against = "baseline" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnalysisSpec {
    /// What the new fleet is compared with.
    pub against: Against,
    /// Share of the requests that may fail (5xx, or no answer), 0 to 1.
    pub max_error_rate: Option<f64>,
    /// At most one in two requests may take longer to the response's head.
    pub max_p50: Option<Span>,
    /// At most one in ten.
    pub max_p90: Option<Span>,
    /// At most one in a hundred.
    pub max_p99: Option<Span>,
    /// Chance of turning back a release that keeps to its limits, over one whole rollout stage, 0 to 1. Default 0.01.
    pub false_alarm: f64,
    /// Fewer requests than this on the new fleet are "no data". Default 50.
    pub min_requests: u64,
    /// How often Prometheus, webhooks and commands are asked. Default 10s.
    pub interval: Span,
    /// Requests that Kiln sends itself while there is no data; empty: the health endpoint of the image.
    pub probes: Vec<SyntheticProbe>,
    /// Further sources.
    pub metrics: Vec<Metric>,
}

/// What the new fleet is compared with, beside the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// The limits alone.
    #[default]
    Limits,
    /// A fresh fleet of the old release, of equal size and with equal traffic, while the weight allows it.
    Baseline,
    /// The old fleet as it stands.
    Old,
}

/// `probe { get = "/search?q=x" status = 200 }` in `analyse`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyntheticProbe {
    /// Path of the GET request.
    pub get: String,
    /// Named port; `None` is the first one.
    pub port: Option<Name>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
}

/// `metric "errors" { prometheus { … } max = 0.01 }` in `analyse`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// The label of the block.
    pub name: String,
    /// Where the number comes from.
    pub source: MetricSource,
    /// Failure above this.
    pub max: Option<f64>,
    /// Failure below this.
    pub min: Option<f64>,
    /// So many bad values are allowed in a stage; one more fails it. Default 0 (Argo Rollouts' failureLimit).
    pub failure_limit: u32,
    /// So many readings in a row may go wrong; one more stops the rollout. Default 4 (consecutiveErrorLimit).
    pub error_limit: u32,
}

/// Where a number comes from. `{environment}`, `{service}`, `{release}` and `{old}` stand for their values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MetricSource {
    /// An instant query; the answer is a scalar or a vector of one element. An empty vector and NaN are "no data".
    Prometheus {
        /// Base address, such as `http://127.0.0.1:9090`.
        url: String,
        /// PromQL.
        query: String,
    },
    /// POST with JSON about the rollout. 200 with `{"value": NUMBER}`, or `{"verdict": "pass" | "fail" |
    /// "inconclusive" | "no-data", "reason": "…"}`.
    Webhook {
        /// Address.
        url: String,
    },
    /// A command on the machine of the control plane: exit 0 passes, 1 fails, 2 is inconclusive, 3 is "no data", anything
    /// else is an error. A number on standard output is the value.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// How requests find the new fleet beside its weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryTraffic {
    /// Keeps a client with the fleet that it was given.
    pub sticky: Option<Sticky>,
    /// Requests with these headers go to the new fleet whatever its weight.
    pub testers: Vec<HeaderMatch>,
    /// Percent of the safe requests (GET, HEAD, OPTIONS without a body) to the old fleet that are also sent to the new one; its
    /// answers are thrown away. Default 0.
    pub mirror: u8,
}

/// What a client is recognised by. The share that a key falls into grows with the weight: who has been with
/// the new fleet stays with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Sticky {
    /// A cookie that the proxy sets where it is missing.
    Cookie {
        /// Its name.
        name: String,
        /// How long it lives. Default 24h.
        max_age: Span,
    },
    /// A request header that the client sends, such as a user's id; requests without it go by weight.
    Header {
        /// Its name.
        name: String,
    },
}

/// `tester { header = "x-tester" value = "yes" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderMatch {
    /// Name of the header.
    pub header: String,
    /// Exact value; `None` is any.
    pub value: Option<String>,
}

/// `2` or `"25%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// So many instances.
    Count(u32),
    /// A share of the wanted instances, 0 to 100.
    Percent(u32),
}

impl Default for RolloutSpec {
    fn default() -> Self {
        Self {
            strategy: Strategy::BlueGreen { hold: Span::from_secs(0) },
            min_healthy: Span::from_secs(0),
            healthy_deadline: Span::from_secs(120),
            progress_deadline: Span::from_secs(600),
            drain_deadline: Span::from_secs(30),
            auto_rollback: true,
            max_unhealthy: twenty(),
            max_unhealthy_new: twenty(),
            scale_down_delay: Span::from_secs(0),
            checkpoints: Vec::new(),
            approval: None,
            analysis: None,
            canary_traffic: CanaryTraffic::default(),
        }
    }
}

impl Default for AnalysisSpec {
    fn default() -> Self {
        Self {
            against: Against::Limits,
            max_error_rate: None,
            max_p50: None,
            max_p90: None,
            max_p99: None,
            false_alarm: 0.01,
            min_requests: 50,
            interval: Span::from_secs(10),
            probes: Vec::new(),
            metrics: Vec::new(),
        }
    }
}

fn twenty() -> u8 {
    20
}
