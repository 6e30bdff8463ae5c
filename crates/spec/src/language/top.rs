//! The file itself and the blocks that describe neither an image nor a service.

use super::check::CHECK;
use super::image::IMAGE;
use super::policy::POLICY;
use super::service::{SECRET_HERE, SERVICE};
use super::{Block, Count, Kind, Label, attribute, block, required};

/// The file.
pub(crate) static ROOT: Block = block(
    "kiln.hcl",
    Label::None,
    Count::Once,
    "All `*.kiln.hcl` files and `kiln.hcl` of a folder are read together as one spec.",
    &[
        attribute("project", Kind::Name, "The project's name. Default: the folder's name, made fit."),
        attribute(
            "registry",
            Kind::Text,
            "Where `kiln ship` pushes images, such as \"registry.example.com/shop\": a repository below it for each image.",
        ),
    ],
    &[&VARIABLE, &LOCALS, &IMAGE, &CHECK, &POLICY, &SERVICE, &ENVIRONMENT, &KEY],
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

static ENVIRONMENT: Block = block(
    "environment",
    Label::Name,
    Count::Unique,
    "A place to deploy to. Images are promoted from each environment to the next, in the order of the spec. \
     There is always a `dev`.",
    &[
        attribute(
            "protected",
            Kind::Bool,
            "Whether images come here by `kiln promote` alone. Without `requires`, a protected environment requires \
             `built-from`, `tested`, `scanned` and `signed`. Default false.",
        ),
        attribute(
            "requires",
            Kind::Evidence,
            "Evidence an image needs: `built-from`, `tested`, `scanned`, `scanned(max age)`, `signed`, `signed(key, …)`, \
             `soaked(environment, duration)`, `approved(count)`, `approved(count, person, …)`.",
        ),
        attribute(
            "env",
            Kind::EnvMap,
            "Environment variables of every service here, over the service's own.",
        ),
        attribute("provider", Kind::Choice(&["local"]), "What runs the instances. Default \"local\"."),
    ],
    &[&VARIABLES, &SECRET_HERE, &FREEZE],
);

static VARIABLES: Block = Block {
    open: true,
    ..block(
        "variables",
        Label::None,
        Count::Once,
        "Values of the spec's variables here. `--var` and `KILN_VAR_name` come before them, defaults after.",
        &[],
        &[],
    )
};

static KEY: Block = block(
    "key",
    Label::Name,
    Count::Unique,
    "A public key that signatures are verified with. Without any, the keys of the home are trusted.",
    &[required("file", Kind::LocalFile, "PEM file, as `kiln key public` prints it.")],
    &[],
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
