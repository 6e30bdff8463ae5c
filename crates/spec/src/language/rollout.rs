//! `rollout` and what stands in it. Fields have the names of the peers where those have one that is known; what other
//! names are taken for stands in `peers`.

use super::{Attribute, Block, Count, Kind, Label, attribute, block, only, required};

const STRATEGIES: &[&str] = &["recreate", "rolling", "blue-green", "canary"];
const ROLLING: &[&str] = &["rolling"];
const CANARY: &[&str] = &["canary"];
/// Strategies with a preset.
const PRESET: &[&str] = &["rolling", "canary"];
/// Strategies in which the new fleet stands at full or partial size beside a whole old one.
const BESIDE: &[&str] = &["blue-green", "canary"];
/// Strategies in which two fleets serve at the same time.
const BOTH: &[&str] = &["rolling", "blue-green", "canary"];

pub(super) static ROLLOUT: Block = block(
    "rollout",
    Label::Choice(STRATEGIES),
    Count::Once,
    "How a new release replaces the old one. Default \"blue-green\".",
    ROLLOUT_ATTRIBUTES,
    &[&CHECKPOINT, &APPROVAL, &ANALYSE, &STICKY, &TESTER, &ROLLING_UPGRADE_POLICY],
);

const ROLLOUT_ATTRIBUTES: &[Attribute] = &[
    only(
        PRESET,
        "preset",
        Kind::Text,
        "Values of a peer, by its own name: `kubernetes`, or one of CodeDeploy's such as `Canary10Percent5Minutes`. \
         What stands beside it wins.",
    ),
    only(
        ROLLING,
        "max_surge",
        Kind::Amount,
        "Instances over the wanted number; a percentage rounds up. Default \"25%\".",
    ),
    only(
        ROLLING,
        "max_unavailable",
        Kind::Amount,
        "Instances under it; a percentage rounds down. Default 0.",
    ),
    only(
        ROLLING,
        "batch",
        Kind::Amount,
        "Most instances of one batch; a percentage rounds up. Default: as many as the two above allow.",
    ),
    only(ROLLING, "pause", Kind::Duration, "Rest between two batches. Default 0s."),
    only(CANARY, "steps", Kind::Percents, "Weights in percent. Default [5, 25, 75, 100]."),
    only(
        BESIDE,
        "hold",
        Kind::Duration,
        "How long the old release stays at full size after the shift, or each step lasts. Default 0s.",
    ),
    attribute("min_healthy", Kind::Duration, "How long an instance must be healthy to count. Default 0s."),
    attribute("healthy_deadline", Kind::Duration, "How long one may take to be healthy. Default 2m."),
    attribute("progress_deadline", Kind::Duration, "How long the rollout may stand still. Default 10m."),
    attribute("drain_deadline", Kind::Duration, "How long old requests may take to finish. Default 30s."),
    attribute("auto_rollback", Kind::Bool, "Whether failure brings the last release back. Default true."),
    attribute(
        "max_unhealthy",
        Kind::Share,
        "Share of all instances that may be unhealthy before a stage; more end the rollout. Default \"20%\".",
    ),
    attribute(
        "max_unhealthy_new",
        Kind::Share,
        "Share of the new instances that may be unhealthy after a stage; more end the rollout. Default \"20%\".",
    ),
    attribute(
        "scale_down_delay",
        Kind::Duration,
        "How long the old release stays at full size once the rollout is done. Default 0s.",
    ),
    only(
        BESIDE,
        "mirror",
        Kind::Share,
        "Share of the safe requests to the old release that the new one gets as well, its answers thrown away. \
         Default \"0%\".",
    ),
];

static CHECKPOINT: Block = Block {
    only: BOTH,
    ..block(
        "checkpoint",
        Label::None,
        Count::Any,
        "Where the rollout rests: when the new release has this share of the traffic, in \"rolling\" of the instances.",
        &[
            required("at", Kind::Reached, "The share. For \"canary\" one of its steps."),
            required("hold", Kind::Duration, "How long it rests."),
        ],
        &[],
    )
};

static APPROVAL: Block = block(
    "approval",
    Label::None,
    Count::Once,
    "Where a person must say `kiln promote`.",
    &[
        required(
            "before",
            Kind::Percents,
            "Shares of the traffic, in percent, that the new release gets only then. For \"canary\" some of its steps.",
        ),
        attribute("by", Kind::Texts, "Who may. Default: anyone with a name."),
    ],
    &[],
);

static ANALYSE: Block = Block {
    only: BOTH,
    ..block(
        "analyse",
        Label::None,
        Count::Once,
        "What the new release must achieve on each stage: limits, a comparison, or metrics.",
        &[
            attribute("against", Kind::Choice(&["limits", "baseline", "old"]), AGAINST),
            attribute(
                "max_error_rate",
                Kind::Percent,
                "Largest share of requests that fail: 5xx, or no answer.",
            ),
            attribute("max_p50", Kind::Duration, "Largest median of the time to the response's head."),
            attribute("max_p90", Kind::Duration, "Largest 90th percentile of it."),
            attribute("max_p99", Kind::Duration, "Largest 99th percentile of it."),
            attribute(
                "false_alarm",
                Kind::Percent,
                "Chance of turning back a release that is good, over a stage. Default \"1%\".",
            ),
            attribute(
                "min_requests",
                Kind::Count(1, 1_000_000_000),
                "Fewer are no data: the stage holds and Kiln probes. Default 50.",
            ),
            attribute("interval", Kind::Duration, "How often metrics are asked. Default 10s."),
        ],
        &[&PROBE, &METRIC],
    )
};

const AGAINST: &str = "What it is compared with: nothing but the limits, a fresh and equally large fleet of the old \
                       release, or the old fleet as it stands. Default \"limits\".";

static PROBE: Block = block(
    "probe",
    Label::None,
    Count::Any,
    "A request that Kiln sends itself while users send too few. Default: the path of the image's health.",
    &[
        required("get", Kind::HttpPath, "The path to get."),
        attribute("port", Kind::Name, "The port. Default: the first one."),
        attribute("headers", Kind::HeaderMap, "Further headers."),
    ],
    &[],
);

static METRIC: Block = block(
    "metric",
    Label::Text(" \"errors\""),
    Count::Unique,
    "A further source: exactly one of `prometheus`, `webhook` and `command`. `{environment}`, `{service}`, `{release}` \
     and `{old}` in it stand for their values.",
    &[
        attribute(
            "command",
            Kind::Argv,
            "A program of the control plane's machine: exit 0 passes, 1 fails, 2 is inconclusive, 3 is no data.",
        ),
        attribute("max", Kind::Number, "It fails above this."),
        attribute("min", Kind::Number, "It fails below this."),
        attribute(
            "failure_limit",
            Kind::Count(0, 1000),
            "So many bad values are allowed in a stage. Default 0.",
        ),
        attribute(
            "error_limit",
            Kind::Count(0, 1000),
            "So many readings in a row may go wrong before the rollout stops. Default 4.",
        ),
    ],
    &[&PROMETHEUS, &WEBHOOK],
);

static PROMETHEUS: Block = block(
    "prometheus",
    Label::None,
    Count::Once,
    "An instant query that gives one number.",
    &[required("url", Kind::Url, "Base address."), required("query", Kind::Text, "PromQL.")],
    &[],
);

static WEBHOOK: Block = block(
    "webhook",
    Label::None,
    Count::Once,
    "A POST with JSON about the rollout; the answer has a `value` or a `verdict`.",
    &[required("url", Kind::Url, "Address.")],
    &[],
);

static STICKY: Block = Block {
    only: BOTH,
    ..block(
        "sticky",
        Label::None,
        Count::Once,
        "Keeps a client with the release that it was given: exactly one of `cookie` and `header`.",
        &[
            attribute("cookie", Kind::CookieName, "Name of a cookie that the proxy sets."),
            attribute("max_age", Kind::Duration, "How long the cookie lives. Default 24h."),
            attribute("header", Kind::HeaderName, "Name of a header that the client sends."),
        ],
        &[],
    )
};

static TESTER: Block = Block {
    only: BOTH,
    ..block(
        "tester",
        Label::None,
        Count::Any,
        "Requests with this header go to the new release whatever its weight.",
        &[
            required("header", Kind::HeaderName, "Name of the header."),
            attribute("value", Kind::HeaderValue, "Its value. Default: any."),
        ],
        &[],
    )
};

static ROLLING_UPGRADE_POLICY: Block = Block {
    only: ROLLING,
    ..block(
        "rolling_upgrade_policy",
        Label::None,
        Count::Once,
        "Azure's `rollingUpgradePolicy` of a scale set, as it is written there. Fields of the rollout beside it win.",
        AZURE,
        &[],
    )
};

const AZURE: &[Attribute] = &[
    attribute(
        "maxBatchInstancePercent",
        Kind::Count(5, 100),
        "`batch`, and `max_unavailable` or with maxSurge `max_surge`. Default 20.",
    ),
    attribute("maxUnhealthyInstancePercent", Kind::Count(5, 100), "`max_unhealthy`. Default 20."),
    attribute("maxUnhealthyUpgradedInstancePercent", Kind::Count(0, 100), "`max_unhealthy_new`. Default 20."),
    attribute("pauseTimeBetweenBatches", Kind::IsoDuration, "`pause`. Default \"PT0S\"."),
    attribute("prioritizeUnhealthyInstances", Kind::Bool, "Kiln always does."),
    attribute(
        "rollbackFailedInstancesOnPolicyBreach",
        Kind::Bool,
        "`auto_rollback`, which brings all instances back.",
    ),
    attribute(
        "maxSurge",
        Kind::Bool,
        "Whether a batch is new instances before old ones go, not old ones replaced. Default false.",
    ),
    attribute("enableCrossZoneUpgrade", Kind::Bool, "One machine has no zones: without effect."),
];
