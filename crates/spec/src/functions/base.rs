//! Functions that name what an image starts from.

use std::sync::Arc;

use kiln_model::{Base, DebianBase, OciBase, Scripts};

use super::{Call, Failure, Function, Outcome, function};
use crate::eval::Value;
use crate::language::{Attribute, Kind, attribute};
use crate::suggest::did_you_mean;

pub(super) const FUNCTIONS: &[Function] = &[
    function(
        "debian",
        (1, Some(2)),
        "debian(\"bookworm\", { components = [\"main\"] })",
        "A base of Debian packages. The second argument holds options.",
        debian,
    ),
    function(
        "oci",
        (1, Some(1)),
        "oci(\"ghcr.io/acme/base@sha256:…\")",
        "Another image as base: a registry reference, or the path of an OCI layout, OCI archive or docker archive.",
        oci,
    ),
    function(
        "dockerfile",
        (1, Some(1)),
        "dockerfile(\"Dockerfile\")",
        "A base built from a Dockerfile. Not available yet.",
        |_| {
            Err(Failure::new("building from a Dockerfile is not available yet").help(
                "write the steps as an `image` block, or build it elsewhere and use oci(\"image.tar\")",
            ))
        },
    ),
];

/// The options of `debian(suite, { … })`.
pub(crate) const DEBIAN_OPTIONS: &[Attribute] = &[
    attribute("mirror", Kind::Url, "The archive to use; found on the machine otherwise."),
    attribute("components", Kind::Texts, "Archive components. Default [\"main\"]."),
    attribute(
        "updates",
        Kind::Bool,
        "Whether the suite's updates and security archives are used too. Default true.",
    ),
    attribute(
        "architecture",
        Kind::Text,
        "A Debian architecture such as \"arm64\". Default: the machine's own.",
    ),
    attribute(
        "scripts",
        Kind::Choice(&["none", "run"]),
        "Whether maintainer scripts run in the build sandbox. Default \"none\".",
    ),
    attribute("essential", Kind::Bool, "Whether packages marked essential are installed too. Default false."),
    attribute("recommends", Kind::Bool, "Whether recommended packages are installed too. Default false."),
    attribute("keyring", Kind::PathInside, "An OpenPGP keyring file instead of the Debian archive keys."),
];

fn debian(call: &Call<'_>) -> Outcome {
    let suite = call.text(0)?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if suite.is_empty() || !suite.chars().all(fits) || !suite.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(Failure::at(0, format!("{suite:?} is not the name of a Debian suite"))
            .help("suites are named like \"bookworm\", \"trixie\" or \"stable\""));
    }
    let mut base = DebianBase {
        suite: suite.into(),
        mirror: None,
        components: vec!["main".into()],
        updates: true,
        architecture: None,
        scripts: Scripts::None,
        essential: false,
        recommends: false,
        keyring: None,
    };
    if call.args.len() > 1 {
        let mut failures = Vec::new();
        for (key, value) in call.object(1)? {
            failures.extend(option(&mut base, key, value).err());
        }
        if let Some(last) = failures.pop() {
            return Err(Failure { others: failures, ..last });
        }
    }
    Ok(Value::Base(Arc::new(Base::Debian(base))))
}

fn option(base: &mut DebianBase, key: &str, value: &Value) -> Result<(), Failure> {
    let Some(known) = DEBIAN_OPTIONS.iter().find(|option| option.name == key) else {
        let failure = Failure::at(1, format!("`debian` has no option `{key}`")).key(key);
        let help = did_you_mean(key, DEBIAN_OPTIONS.iter().map(|o| o.name));
        return Err(failure.help(help.unwrap_or_default()));
    };
    if let Err(mismatch) = known.kind.check(value) {
        let message = mismatch.first().map_or_else(String::new, |first| first.message.clone());
        return Err(Failure::at(1, format!("`{key}` {message}"))
            .key(key)
            .help(format!("write it like {key} = {}", known.kind.example())));
    }
    let text = || value.as_text().map(str::to_owned);
    let flag = || value.as_bool().unwrap_or_default();
    match key {
        "mirror" => base.mirror = text(),
        "architecture" => base.architecture = text(),
        "keyring" => base.keyring = text(),
        "updates" => base.updates = flag(),
        "essential" => base.essential = flag(),
        "recommends" => base.recommends = flag(),
        "scripts" if value.as_text() == Some("run") => {
            base.scripts = Scripts::Run;
        }
        "components" => {
            let items = value.as_list().unwrap_or_default();
            base.components = items.iter().filter_map(|item| item.as_text().map(str::to_owned)).collect();
        }
        _ => {}
    }
    Ok(())
}

fn oci(call: &Call<'_>) -> Outcome {
    let reference = call.text(0)?;
    let clean = !reference.is_empty() && !reference.contains(|c: char| c.is_whitespace() || c.is_control());
    if !clean {
        return Err(Failure::at(0, format!("{reference:?} is not the reference of an image")));
    }
    Ok(Value::Base(Arc::new(Base::Oci(OciBase { reference: reference.into() }))))
}
