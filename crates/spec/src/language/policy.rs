//! The words of `policy` blocks.

use super::{Attribute, Block, Count, Kind, Label, attribute, block, required};

const LEVELS: Kind = Kind::Choice(&["low", "medium", "high", "critical", "never"]);
const ACTION: Kind = Kind::Choice(&["allow", "warn", "deny"]);

pub(super) static POLICY: Block = block(
    "policy",
    Label::Name,
    Count::Unique,
    "What a scan of an image must find, and must not, for the image to pass. `policy \"default\"` holds for every image \
     that no other policy names; without one, what the defaults say holds.",
    &[
        attribute("image", Kind::Image, "The one image it holds for. Only `policy \"default\"` has none."),
        attribute(
            "secrets",
            Kind::Choice(&["proven", "deny", "warn", "allow"]),
            "What a secret found in an image does. `proven`: one that a checksum or its structure proves fails, any \
             other warns; `deny`: each fails. Default \"proven\".",
        ),
        attribute(
            "max_size",
            Kind::Size,
            "Most bytes of all layers as they are stored, which is compressed.",
        ),
        attribute("max_age", Kind::Duration, "The image may have been made no longer ago."),
        attribute("base_max_age", Kind::Duration, "The base that the image starts from may be no older."),
        action("root_user", "What it does that the image's program runs as root. Default \"allow\"."),
        action("setuid", "What files do that give rights: setuid, setgid, capabilities. Default \"allow\"."),
        action(
            "world_writable",
            "What files do that everybody may write, and such folders without the sticky bit. Default \"allow\".",
        ),
        action(
            "health_check",
            "What it does that the image does not say how to tell its health. Default \"allow\".",
        ),
    ],
    &[&VULNERABILITIES, &ALLOW_SECRET, &LICENSES],
);

const fn action(name: &'static str, doc: &'static str) -> Attribute {
    attribute(name, ACTION, doc)
}

static VULNERABILITIES: Block = block(
    "vulnerabilities",
    Label::None,
    Count::Once,
    "Which known vulnerabilities fail. Without `fail_on`, critical ones for which there is a fix.",
    &[
        attribute("fail_on", LEVELS, "The least severity that fails. Default \"critical\"."),
        attribute("warn_on", LEVELS, "The least severity that warns. Default \"high\"."),
        attribute(
            "fixable_only",
            Kind::Bool,
            "Whether those without a fix only warn. Default false where `fail_on` is given, else true.",
        ),
        attribute(
            "ignore",
            Kind::Texts,
            "Identifiers that do not count, for good; `except` is for a while and says why.",
        ),
        attribute(
            "vex",
            Kind::Texts,
            "VEX documents (OpenVEX, CycloneDX, CSAF) inside of the spec's folder.",
        ),
        attribute("advisories_max_age", Kind::Duration, "The advisories that are matched may be no older."),
    ],
    &[&EXCEPT],
);

static EXCEPT: Block = block(
    "except",
    Label::Text(" \"CVE-2026-0001\""),
    Count::Any,
    "A vulnerability that does not count until a day; after it, it counts again.",
    &[
        attribute("package", Kind::Text, "Only in this package. Default: in any."),
        required("reason", Kind::Text, "Why it does not count; it stands in every report."),
        required("until", Kind::Date, "The last day on which it does not count, in UTC."),
    ],
    &[],
);

static ALLOW_SECRET: Block = block(
    "allow_secret",
    Label::Text(" \"test key\""),
    Count::Unique,
    "Findings that are no secrets, or are meant to be in the image. At least one of `rule`, `path` and `fingerprint`; \
     all that are given must fit.",
    &[
        attribute("rule", Kind::Text, "Identifier of the rule, as the report shows it."),
        attribute("path", Kind::AbsolutePath, "Path in the image, or a glob such as \"/srv/app/tests/**\"."),
        attribute("fingerprint", Kind::Text, "The finding's fingerprint, as the report shows it."),
        required("reason", Kind::Text, "Why it may be there; it stands in every report."),
    ],
    &[],
);

static LICENSES: Block = block(
    "licenses",
    Label::None,
    Count::Once,
    "Licences of packages, by SPDX identifier. A `*` at the end stands for any rest: \"AGPL-*\". Of a choice (`OR`) the \
     best licence counts, of a sum (`AND`) the worst.",
    &[
        attribute("deny", Kind::Texts, "Those that fail."),
        attribute("warn", Kind::Texts, "Those that warn."),
        attribute("allow", Kind::Texts, "When there are any: all others fail, and unknown ones warn."),
    ],
    &[],
);
