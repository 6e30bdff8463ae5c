//! What an image must satisfy: the `policy` blocks of a spec, as plain data.
//!
//! What is not written has a built-in value, which is [`Policy::default`]: it stops only what somebody can act upon
//! today, and says the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Bytes, Name, Project, Span};

/// `policy "default" { … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// The label of the block; `built-in` when the spec has none.
    pub name: String,
    /// The image it holds for; `None`: all that no other policy names.
    pub image: Option<Name>,
    /// Known vulnerabilities.
    pub vulnerabilities: VulnerabilityPolicy,
    /// What a secret found in the image does. Default: proven ones fail.
    pub secrets: SecretAction,
    /// Findings that are no secrets, or are meant to be there.
    pub allowed_secrets: Vec<AllowedSecret>,
    /// Licences of the packages.
    pub licenses: LicensePolicy,
    /// Most compressed bytes of all layers.
    pub max_size: Option<Bytes>,
    /// The image's `created` may be no longer ago.
    pub max_age: Option<Span>,
    /// The base's newest layer may be no older.
    pub base_max_age: Option<Span>,
    /// Whether the image may run as root. Default allow.
    pub root_user: Action,
    /// Files with setuid, setgid or capabilities. Default allow.
    pub setuid: Action,
    /// Files that everybody may write, and such folders without the sticky bit. Default allow.
    pub world_writable: Action,
    /// An image that says nothing about its health. Default allow.
    pub health_check: Action,
}

/// `vulnerabilities { … }` of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VulnerabilityPolicy {
    /// The least severity that fails; `None`: none does. Default critical.
    pub fail_on: Option<Level>,
    /// The least severity that warns; `None`: none does. Default high.
    pub warn_on: Option<Level>,
    /// Whether those without a fix only warn. Default true where `fail_on` is not written, else false.
    pub fixable_only: bool,
    /// Identifiers that do not count.
    pub ignore: Vec<String>,
    /// Those that do not count for a time, with the reason.
    pub exceptions: Vec<Exception>,
    /// VEX documents, relative to the spec.
    pub vex: Vec<String>,
    /// The advisories may be no older; `None`: any age.
    pub advisories_max_age: Option<Span>,
}

/// `except "CVE-2026-0001" { reason = "…" until = "2026-12-31" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exception {
    /// The identifier, or one of the aliases, of the vulnerability.
    pub id: String,
    /// Only in this package; `None`: in any.
    pub package: Option<String>,
    /// Why it does not count.
    pub reason: String,
    /// The last day on which it holds, in UTC: `2026-12-31`.
    pub until: String,
}

/// `allow_secret "test key" { path = "/srv/app/tests/**" reason = "…" }`. All that is given must fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AllowedSecret {
    /// The label of the block.
    pub name: String,
    /// Identifier of the rule that found it.
    pub rule: Option<String>,
    /// Glob over the absolute path in the image.
    pub path: Option<String>,
    /// The finding's fingerprint.
    pub fingerprint: Option<String>,
    /// Why it may be there.
    pub reason: String,
}

/// `licenses { deny = ["AGPL-*"] }`: SPDX identifiers; a `*` at the end stands for any rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LicensePolicy {
    /// Those that fail.
    pub deny: Vec<String>,
    /// Those that warn.
    pub warn: Vec<String>,
    /// When there are any: all others fail.
    pub allow: Vec<String>,
}

/// What a finding does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The image passes.
    #[default]
    Allow,
    /// The image passes, and it is said.
    Warn,
    /// The image fails.
    Deny,
}

/// What secrets do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretAction {
    /// Those that a checksum or their structure proves fail, others warn.
    #[default]
    Proven,
    /// Each fails.
    Deny,
    /// Each warns.
    Warn,
    /// They are listed and do nothing.
    Allow,
}

/// A severity that a policy can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// CVSS 0.1 and more.
    Low,
    /// CVSS 4.0 and more.
    Medium,
    /// CVSS 7.0 and more.
    High,
    /// CVSS 9.0 and more.
    Critical,
}

impl Default for VulnerabilityPolicy {
    fn default() -> Self {
        Self {
            fail_on: Some(Level::Critical),
            warn_on: Some(Level::High),
            fixable_only: true,
            ignore: Vec::new(),
            exceptions: Vec::new(),
            vex: Vec::new(),
            advisories_max_age: None,
        }
    }
}

impl Policy {
    /// A policy of this name, with nothing written in it.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            image: None,
            vulnerabilities: VulnerabilityPolicy::default(),
            secrets: SecretAction::default(),
            allowed_secrets: Vec::new(),
            licenses: LicensePolicy::default(),
            max_size: None,
            max_age: None,
            base_max_age: None,
            root_user: Action::Allow,
            setuid: Action::Allow,
            world_writable: Action::Allow,
            health_check: Action::Allow,
        }
    }

    /// What holds where a spec says nothing: proven secrets fail, and so do critical vulnerabilities that have a fix.
    pub fn built_in() -> Self {
        Self::named("built-in")
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::built_in()
    }
}

impl Project {
    /// The policy that holds for an image: its own, else `default`, else the built-in one. They are not mixed.
    pub fn policy_for(&self, image: &Name) -> Policy {
        let own = self.policies.values().find(|policy| policy.image.as_ref() == Some(image));
        let default =
            || self.policies.iter().find(|(name, _)| name.as_str() == "default").map(|(_, policy)| policy);
        own.or_else(default).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        serde_json::from_str(
            r#"{"name": "shop", "images": {}, "checks": [], "services": {}, "environments": {}}"#,
        )
        .unwrap()
    }

    #[test]
    fn an_image_has_its_own_policy_or_the_default_or_the_built_in_one() {
        let name = |text: &str| Name::new(text).unwrap();
        let mut project = project();
        assert_eq!(project.policy_for(&name("web")), Policy::built_in());
        let common = Policy { max_size: Some(Bytes::new(1)), ..Policy::named("default") };
        let own = Policy { image: Some(name("web")), ..Policy::named("strict") };
        project.policies = [common.clone(), own.clone()].into_iter().map(|p| (name(&p.name), p)).collect();
        assert_eq!(project.policy_for(&name("web")), own);
        assert_eq!(project.policy_for(&name("api")), common);
    }
}
