//! `policy` blocks.

use std::collections::BTreeMap;

use kiln_model::{
    Action, AllowedSecret, Exception, Level, LicensePolicy, Name, Policy, SecretAction, VulnerabilityPolicy,
};

use crate::eval::World;
use crate::files::stays_inside;
use crate::read::Section;
use crate::report::Problem;
use crate::source::Place;
use crate::suggest::did_you_mean;

pub(super) fn build_all<'s>(
    world: &World<'_>,
    sections: impl Iterator<Item = &'s Section<'s>>,
) -> BTreeMap<Name, Policy> {
    let mut policies = BTreeMap::new();
    let mut bound: BTreeMap<Name, Place> = BTreeMap::new();
    for section in sections {
        let Some(name) = section.name() else { continue };
        let policy = build(world, section);
        check_image(world, section, &policy, &mut bound);
        policies.entry(name).or_insert(policy);
    }
    policies
}

fn build(world: &World<'_>, section: &Section<'_>) -> Policy {
    let vulnerabilities = section.one("vulnerabilities");
    Policy {
        image: section.named("image"),
        vulnerabilities: vulnerabilities.map(|block| weaknesses(world, block)).unwrap_or_default(),
        secrets: secrets(section),
        allowed_secrets: section.all("allow_secret").map(|block| allowed(world, block)).collect(),
        licenses: section.one("licenses").map(|block| licenses(world, block)).unwrap_or_default(),
        max_size: section.size("max_size"),
        max_age: section.span("max_age"),
        base_max_age: section.span("base_max_age"),
        root_user: action(section, "root_user"),
        setuid: action(section, "setuid"),
        world_writable: action(section, "world_writable"),
        health_check: action(section, "health_check"),
        ..Policy::named(section.label_text())
    }
}

/// A policy that holds for nothing, or two that hold for one image.
fn check_image(world: &World<'_>, section: &Section<'_>, policy: &Policy, bound: &mut BTreeMap<Name, Place>) {
    let default = policy.name == "default";
    match &policy.image {
        Some(_) if default => {
            let problem = Problem::error(
                section.at("image"),
                "policy \"default\" holds for all images without a policy of their own",
            );
            world.report.add(problem.help("give this policy another name, or take `image` out"));
        }
        Some(image) => {
            if let Some(first) = bound.get(image) {
                let message = format!("there is a second policy for the image `{image}`");
                world.report.add(
                    Problem::error(section.at("image"), message)
                        .also(*first, "the first one")
                        .help("policies are not mixed: put both into one"),
                );
            } else {
                bound.insert(image.clone(), section.at("image"));
            }
        }
        None if !default && !section.has("image") => {
            let problem = Problem::error(section.label_place(), "this policy holds for no image");
            world.report.add(problem.help("add image = image.web, or call it \"default\""));
        }
        None => {}
    }
}

fn action(section: &Section<'_>, name: &str) -> Action {
    match section.text(name).as_deref() {
        Some("deny") => Action::Deny,
        Some("warn") => Action::Warn,
        _ => Action::Allow,
    }
}

fn secrets(section: &Section<'_>) -> SecretAction {
    match section.text("secrets").as_deref() {
        Some("deny") => SecretAction::Deny,
        Some("warn") => SecretAction::Warn,
        Some("allow") => SecretAction::Allow,
        _ => SecretAction::Proven,
    }
}

fn level(block: &Section<'_>, name: &str, default: Option<Level>) -> Option<Level> {
    match block.text(name).as_deref() {
        Some("low") => Some(Level::Low),
        Some("medium") => Some(Level::Medium),
        Some("high") => Some(Level::High),
        Some("critical") => Some(Level::Critical),
        Some(_) => None,
        None => default,
    }
}

fn weaknesses(world: &World<'_>, block: &Section<'_>) -> VulnerabilityPolicy {
    let usual = VulnerabilityPolicy::default();
    let fail_on = level(block, "fail_on", usual.fail_on);
    let warn_on = level(block, "warn_on", usual.warn_on);
    if let (true, Some(warn), Some(fail)) = (block.has("warn_on"), warn_on, fail_on)
        && warn >= fail
    {
        let problem = Problem::warning(block.at("warn_on"), "this never warns: what it names fails already");
        let named = block.has("fail_on");
        world.report.add(if named {
            problem.also(block.at("fail_on"), "the least severity that fails")
        } else {
            problem.note("without `fail_on`, critical ones fail").help("name a lower severity")
        });
    }
    let vex = block.texts("vex").unwrap_or_default();
    for (index, path) in vex.iter().enumerate().filter(|(_, path)| !stays_inside(path) || path.is_empty()) {
        let message = format!("{path:?} is not a path inside of the spec's folder");
        world.report.add(
            Problem::error(block.item_at("vex", index), message).help("write it like vex = [\"vex.json\"]"),
        );
    }
    for (index, _) in
        block.texts("ignore").iter().flatten().enumerate().filter(|(_, id)| id.trim().is_empty())
    {
        let problem = Problem::error(block.item_at("ignore", index), "this identifier is empty");
        world.report.add(problem.help("write it like ignore = [\"CVE-2026-0001\"]"));
    }
    VulnerabilityPolicy {
        fail_on,
        warn_on,
        fixable_only: block.flag("fixable_only").unwrap_or(!block.has("fail_on")),
        ignore: block.texts("ignore").unwrap_or_default(),
        exceptions: exceptions(world, block),
        vex,
        advisories_max_age: block.span("advisories_max_age"),
    }
}

fn exceptions(world: &World<'_>, block: &Section<'_>) -> Vec<Exception> {
    let mut exceptions: Vec<(Exception, Place)> = Vec::new();
    for inner in block.all("except") {
        let (Some(reason), Some(until)) = (reason(world, inner), inner.text("until")) else { continue };
        let exception =
            Exception { id: inner.label_text().into(), package: inner.text("package"), reason, until };
        let same = |other: &Exception| other.id == exception.id && other.package == exception.package;
        if let Some((_, first)) = exceptions.iter().find(|(other, _)| same(other)) {
            let message = format!("there is a second exception of {}", exception.id);
            world.report.add(
                Problem::error(inner.place, message)
                    .also(*first, "the first one")
                    .help("keep one of the two, or name the `package` that each is for"),
            );
        }
        exceptions.push((exception, inner.place));
    }
    exceptions.into_iter().map(|(exception, _)| exception).collect()
}

/// An empty reason is none.
fn reason(world: &World<'_>, block: &Section<'_>) -> Option<String> {
    let reason = block.text("reason")?;
    if reason.trim().is_empty() {
        let problem = Problem::error(block.at("reason"), "this reason says nothing");
        world.report.add(problem.help("say why, for whoever reads the report in a year"));
    }
    Some(reason)
}

fn allowed(world: &World<'_>, block: &Section<'_>) -> AllowedSecret {
    let names = ["rule", "path", "fingerprint"];
    if !names.iter().any(|name| block.has(name)) {
        let problem = Problem::error(block.place, "this allows every secret");
        world.report.add(problem.help("add at least one of `rule`, `path` and `fingerprint`"));
    }
    if let Some(fault) = block.text("path").and_then(|path| globset::Glob::new(&path).err()) {
        let problem = Problem::error(block.at("path"), format!("`path` is no glob: {}", fault.kind()));
        world.report.add(problem.help("write it like path = \"/srv/app/tests/**\""));
    }
    AllowedSecret {
        name: block.label_text().into(),
        rule: block.text("rule"),
        path: block.text("path"),
        fingerprint: block.text("fingerprint"),
        reason: reason(world, block).unwrap_or_default(),
    }
}

fn licenses(world: &World<'_>, block: &Section<'_>) -> LicensePolicy {
    let list = |name: &'static str| {
        let names = block.texts(name).unwrap_or_default();
        for (index, license) in names.iter().enumerate() {
            check_license(world, license, block.item_at(name, index));
        }
        names
    };
    let policy = LicensePolicy { deny: list("deny"), warn: list("warn"), allow: list("allow") };
    for (index, both) in policy.allow.iter().enumerate().filter(|(_, name)| policy.deny.contains(name)) {
        let message = format!("{both} is allowed and denied");
        world.report.add(Problem::error(block.item_at("allow", index), message).help("keep one of the two"));
    }
    policy
}

/// A denied licence that does not exist would never be met.
fn check_license(world: &World<'_>, text: &str, place: Place) {
    let known = || spdx::identifiers::LICENSES.iter().map(|license| license.name);
    let exists = match text.strip_suffix('*') {
        Some(start) => known().any(|name| name.starts_with(start)),
        None => text.starts_with("LicenseRef-") || known().any(|name| name == text),
    };
    if exists {
        return;
    }
    let problem = Problem::error(place, format!("{text:?} is not the SPDX identifier of a licence"));
    let help = known()
        .find(|name| name.eq_ignore_ascii_case(text))
        .map(|name| format!("did you mean \"{name}\"?"))
        .or_else(|| did_you_mean(text, known()));
    world.report.add(problem.help(help.unwrap_or_else(|| {
        "spdx.org/licenses lists them; one that is not listed is written \"LicenseRef-…\"".into()
    })));
}
