//! The rules about facts: sizes, ages, the user, files that give rights, health.

use jiff::{SignedDuration, Timestamp};
use kiln_model::{Action, Bytes, Policy, Span};

use super::{Finding, Found, Outcome, RuleResult, Spot, count, outcome};
use crate::Severity;
use crate::facts::{FileFact, FileList};
use crate::secrets::short_hash;

pub(super) fn judge(policy: &Policy, found: &Found, now: Timestamp) -> Vec<RuleResult> {
    let Some(facts) = &found.facts else {
        return asked(policy)
            .into_iter()
            .map(|rule| {
                RuleResult::unknown(rule, "nobody looked at the image", "scan the image: `kiln scan`")
            })
            .collect();
    };
    let mut rules = Vec::new();
    rules.extend(policy.max_size.map(|most| size(facts.size, facts.unpacked, most)));
    rules.extend(policy.max_age.map(|most| {
        age("max_age", "the image", facts.created, most, now, "bake the image again and deploy the new one")
    }));
    rules.extend(policy.base_max_age.map(|most| {
        age(
            "base_max_age",
            "the base",
            facts.base_created,
            most,
            now,
            "update the lock, and bake on a newer base",
        )
    }));
    rules.extend(flag("root_user", policy.root_user, facts.root, &ROOT));
    rules.extend(files("setuid", policy.setuid, &facts.privileged, &RIGHTS));
    rules.extend(files("world_writable", policy.world_writable, &facts.world_writable, &WRITABLE));
    rules.extend(flag("health_check", policy.health_check, !facts.health_check, &HEALTH));
    rules
}

/// The rules that a policy has.
fn asked(policy: &Policy) -> Vec<&'static str> {
    let deny = |action| action != Action::Allow;
    [
        ("max_size", policy.max_size.is_some()),
        ("max_age", policy.max_age.is_some()),
        ("base_max_age", policy.base_max_age.is_some()),
        ("root_user", deny(policy.root_user)),
        ("setuid", deny(policy.setuid)),
        ("world_writable", deny(policy.world_writable)),
        ("health_check", deny(policy.health_check)),
    ]
    .into_iter()
    .filter_map(|(rule, asked)| asked.then_some(rule))
    .collect()
}

/// What a rule says.
struct Words {
    good: &'static str,
    bad: &'static str,
    severity: Severity,
    next: &'static str,
}

const ROOT: Words = Words {
    good: "the program runs as an ordinary user",
    bad: "the program runs as root",
    severity: Severity::Medium,
    next: "add user = \"www-data\", or another user, to the image",
};

const HEALTH: Words = Words {
    good: "the image says how to tell its health",
    bad: "the image does not say how to tell its health",
    severity: Severity::Low,
    next: "add a block to the image: health { http = \"/healthz\" }",
};

const RIGHTS: Words = Words {
    good: "no file gives rights",
    bad: "gives rights to whoever starts it",
    severity: Severity::Medium,
    next: "take the bits away in the image, such as run = [\"chmod a-s /usr/bin/su\"], or take the package out",
};

const WRITABLE: Words = Words {
    good: "no file can be written by everybody",
    bad: "can be written by everybody",
    severity: Severity::Medium,
    next: "give the files a `mode` in their `copy` block, or an owner and no write permission for others",
};

fn one(rule: &str, outcome: Outcome, severity: Severity, what: &str, next: &str) -> Finding {
    Finding {
        outcome,
        id: rule.into(),
        severity,
        what: what.into(),
        spot: Spot { thing: Some("the image".into()), ..Spot::default() },
        fingerprint: short_hash(b"fact", rule.as_bytes()),
        fix: Some(next.into()),
        accepted: None,
    }
}

fn flag(rule: &str, action: Action, bad: bool, words: &Words) -> Option<RuleResult> {
    let outcome = outcome(action);
    if action == Action::Allow {
        return None;
    }
    let findings = bad.then(|| one(rule, outcome, words.severity, words.bad, words.next));
    let what = if bad { words.bad } else { words.good };
    Some(RuleResult::of(rule, what.into(), findings.into_iter().collect(), words.next))
}

fn files(rule: &str, action: Action, list: &FileList, words: &Words) -> Option<RuleResult> {
    let outcome = outcome(action);
    if action == Action::Allow {
        return None;
    }
    let finding = |file: &FileFact| {
        let capabilities = if file.capabilities { ", with capabilities" } else { "" };
        let what =
            format!("{} (mode {}, owner {}:{}{capabilities})", words.bad, file.mode, file.uid, file.gid);
        Finding {
            spot: Spot { path: Some(file.path.clone()), ..Spot::default() },
            fingerprint: short_hash(rule.as_bytes(), file.path.as_bytes()),
            ..one(rule, outcome, words.severity, &what, words.next)
        }
    };
    let what = match list.count {
        0 => words.good.to_owned(),
        1 => format!("1 file {}", words.bad),
        many => format!("{} like this: {}", count(many, "file"), words.bad),
    };
    Some(RuleResult::of(rule, what, list.files.iter().map(finding).collect(), words.next))
}

fn size(size: u64, unpacked: u64, most: Bytes) -> RuleResult {
    let next = "leave out what the program does not need: fewer packages, a smaller base, `exclude` in `copy` blocks";
    let what = format!("{} of at most {most}, {} unpacked", readable(size), readable(unpacked));
    let findings = if size > most.get() {
        let what =
            format!("the image has {}, {} more than {most}", readable(size), readable(size - most.get()));
        vec![one("max_size", Outcome::Fail, Severity::Medium, &what, next)]
    } else {
        Vec::new()
    };
    RuleResult::of("max_size", what, findings, next)
}

/// Tenths of MiB.
fn readable(bytes: u64) -> String {
    let tenths = (u128::from(bytes) * 10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// A time that may be no longer ago. One that nobody knows is not new enough.
pub(super) fn age(
    rule: &str,
    thing: &str,
    made: Option<Timestamp>,
    most: Span,
    now: Timestamp,
    next: &str,
) -> RuleResult {
    let Some(made) = made else {
        return RuleResult::unknown(rule, &format!("nobody knows how old {thing} is"), next);
    };
    // A clock that is behind makes nothing old.
    let age = now.duration_since(made).max(SignedDuration::ZERO);
    let too_old = age.as_millis() > i128::from(most.millis());
    let what = format!("{thing}: {} old, of at most {most}", days(age));
    let findings =
        if too_old { vec![one(rule, Outcome::Fail, Severity::Medium, &what, next)] } else { Vec::new() };
    RuleResult::of(rule, what, findings, next)
}

fn days(age: SignedDuration) -> String {
    let hours = age.as_hours();
    if hours >= 48 { format!("{} days", hours / 24) } else { format!("{hours} hours") }
}
