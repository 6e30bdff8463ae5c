//! The file itself and the blocks that describe neither an image nor a service.

use super::check::CHECK;
use super::image::IMAGE;
use super::service::SERVICE;
use super::{Attribute, Block, Count, Kind, Label, attribute, block, required};

/// The file.
pub(crate) static ROOT: Block = block(
    "kiln.hcl",
    Label::None,
    Count::Once,
    "All `*.kiln.hcl` files and `kiln.hcl` of a folder are read together as one spec.",
    &[attribute("project", Kind::Name, "The project's name. Default: the folder's name, made fit.")],
    &[&VARIABLE, &LOCALS, &IMAGE, &CHECK, &POLICY, &SERVICE, &ENVIRONMENT],
);

static VARIABLE: Block = block(
    "variable",
    Label::Identifier,
    Count::Unique,
    "A value that is given from outside with `--var name=…` or `KILN_VAR_name`, and used as `var.name`.",
    &[
        attribute(
            "type",
            Kind::Type,
            "`string`, `number`, `bool`, `any` (default), `list(…)` or `map(…)` of these.",
        ),
        attribute("default", Kind::Any, "The value when none is given; a constant."),
        attribute("description", Kind::Text, "What it is for."),
    ],
    &[],
);

static LOCALS: Block = Block {
    open: true,
    ..block("locals", Label::None, Count::Any, "Named values, used as `local.name`.", &[], &[])
};

static POLICY: Block = Block {
    without_effect: true,
    ..block(
        "policy",
        Label::Name,
        Count::Unique,
        "What an image must satisfy before it is deployed.",
        &[
            attribute(
                "secrets",
                Kind::Choice(&["deny", "warn", "allow"]),
                "What a secret found in an image does.",
            ),
            attribute("max_size", Kind::Size, "Largest image."),
        ],
        &[&VULNERABILITIES],
    )
};

static VULNERABILITIES: Block = block(
    "vulnerabilities",
    Label::None,
    Count::Once,
    "Which known vulnerabilities stop a deployment.",
    &[
        attribute(
            "fail_on",
            Kind::Choice(&["low", "medium", "high", "critical"]),
            "The least severity that stops.",
        ),
        attribute("ignore", Kind::Texts, "Identifiers that do not."),
    ],
    &[],
);

static ENVIRONMENT: Block = block(
    "environment",
    Label::Name,
    Count::Unique,
    "A place to deploy to. There is always a `dev`.",
    &[
        attribute("protected", Kind::Bool, "Whether deployments need evidence and approval. Default false."),
        Attribute {
            without_effect: true,
            ..attribute(
                "requires",
                Kind::Evidence,
                "Evidence an image needs: `tested`, `scanned`, `approved(count)`, `soaked(environment, duration)`.",
            )
        },
    ],
    &[&FREEZE],
);

static FREEZE: Block = block(
    "freeze",
    Label::Text(" \"weekend\""),
    Count::Unique,
    "A time in which nothing is deployed, except with `--emergency`. Freezes that touch are one.",
    &[
        required(
            "begins",
            Kind::Cron,
            "When it begins: minute, hour, day of the month, month, day of the week. `L` is the last, `FRI#2` the \
             second Friday.",
        ),
        required("lasts", Kind::Duration, "How long it lasts."),
        attribute("timezone", Kind::TimeZone, "IANA name of the time zone of `begins`. Default \"UTC\"."),
    ],
    &[],
);
