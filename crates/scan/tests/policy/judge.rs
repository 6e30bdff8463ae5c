//! What passes, what warns, what fails.

use kiln_model::{Action, Bytes, Level, LicensePolicy, Policy, SecretAction, Span, VulnerabilityPolicy};
use kiln_scan::Severity;
use kiln_scan::policy::{Found, Outcome};
use kiln_scan::secrets::Confidence;
use proptest::prelude::*;

use crate::kit::{exception, facts, judge, nothing, outcome, package, rule, secret, weakness};

fn with(vulnerabilities: VulnerabilityPolicy) -> Policy {
    Policy { vulnerabilities, ..Policy::built_in() }
}

fn weak(list: Vec<kiln_scan::policy::Weakness>) -> Found {
    Found { vulnerabilities: Some(list), ..nothing() }
}

#[test]
fn nothing_found_passes_the_built_in_policy_and_nothing_looked_for_does_not() {
    assert_eq!(judge(&Policy::built_in(), &nothing()).outcome, Outcome::Pass);
    let unknown = judge(&Policy::built_in(), &Found::default());
    assert_eq!(unknown.outcome, Outcome::Fail);
    assert!(unknown.rules.iter().all(|rule| rule.next.is_some()), "{unknown:?}");
}

#[test]
fn the_built_in_policy_stops_what_can_be_acted_upon() {
    let policy = Policy::built_in();
    for (severity, fixed, wanted) in [
        (Severity::Critical, Some("1.1"), Outcome::Fail),
        (Severity::Critical, None, Outcome::Warn),
        (Severity::High, Some("1.1"), Outcome::Warn),
        (Severity::Medium, Some("1.1"), Outcome::Pass),
        (Severity::Unknown, Some("1.1"), Outcome::Pass),
    ] {
        let found = weak(vec![weakness("CVE-1", "zlib", severity, fixed)]);
        assert_eq!(outcome(&policy, &found, "vulnerabilities"), wanted, "{severity:?} {fixed:?}");
    }
    for (confidence, wanted) in [
        (Confidence::Proven, Outcome::Fail),
        (Confidence::Likely, Outcome::Warn),
        (Confidence::Possible, Outcome::Warn),
    ] {
        let found = Found { secrets: Some(vec![secret("github-token", confidence, "a")]), ..nothing() };
        assert_eq!(outcome(&policy, &found, "secrets"), wanted, "{confidence:?}");
    }
}

#[test]
fn exceptions_hold_for_their_package_until_their_day_is_over() {
    let found = weak(vec![weakness("CVE-1", "zlib", Severity::Critical, Some("1.1"))]);
    for (exception, wanted) in [
        (exception("CVE-1", None, "2026-11-21"), Outcome::Pass),
        (exception("ghsa-cve-1", Some("zlib"), "2026-12-31"), Outcome::Pass),
        (exception("CVE-1", None, "2026-11-20"), Outcome::Fail),
        (exception("CVE-1", Some("openssl"), "2026-12-31"), Outcome::Fail),
        (exception("CVE-2", None, "2026-12-31"), Outcome::Fail),
        (exception("CVE-1", None, "soon"), Outcome::Fail),
    ] {
        let policy = with(VulnerabilityPolicy {
            exceptions: vec![exception.clone()],
            ..VulnerabilityPolicy::default()
        });
        assert_eq!(outcome(&policy, &found, "vulnerabilities"), wanted, "{exception:?}");
    }
    let over = with(VulnerabilityPolicy {
        exceptions: vec![exception("CVE-1", None, "2026-11-20")],
        ..VulnerabilityPolicy::default()
    });
    let told = &rule(&over, &found, "vulnerabilities").findings[0].what;
    assert!(told.ends_with("(the exception ended on 2026-11-20)"), "{told}");
}

#[test]
fn what_is_ignored_or_suppressed_is_listed_and_passes() {
    let mut vex = weakness("CVE-2", "zlib", Severity::Critical, Some("1.1"));
    vex.suppressed = Some("not affected: the code is not there".into());
    let found = weak(vec![weakness("CVE-1", "zlib", Severity::Critical, Some("1.1")), vex]);
    let policy =
        with(VulnerabilityPolicy { ignore: vec!["GHSA-CVE-1".into()], ..VulnerabilityPolicy::default() });
    let result = rule(&policy, &found, "vulnerabilities");
    assert_eq!((result.outcome, result.findings.len()), (Outcome::Pass, 2));
    assert!(result.findings.iter().all(|finding| finding.accepted.is_some()));
    assert!(result.what.ends_with("2 accepted"), "{}", result.what);
}

#[test]
fn levels_and_fixes_are_as_the_policy_says() {
    let strict = VulnerabilityPolicy {
        fail_on: Some(Level::Medium),
        warn_on: Some(Level::Low),
        fixable_only: false,
        ..VulnerabilityPolicy::default()
    };
    let never = VulnerabilityPolicy { fail_on: None, warn_on: None, ..VulnerabilityPolicy::default() };
    for (rule, severity, wanted) in [
        (&strict, Severity::Medium, Outcome::Fail),
        (&strict, Severity::Low, Outcome::Warn),
        (&strict, Severity::None, Outcome::Pass),
        (&never, Severity::Critical, Outcome::Pass),
    ] {
        let found = weak(vec![weakness("CVE-1", "zlib", severity, None)]);
        assert_eq!(outcome(&with(rule.clone()), &found, "vulnerabilities"), wanted, "{severity:?}");
    }
}

#[test]
fn old_advisories_fail_where_the_policy_asks_for_new_ones() {
    let asks = |hours: u64| {
        let most = Some(Span::from_secs(hours * 3600));
        with(VulnerabilityPolicy { advisories_max_age: most, ..VulnerabilityPolicy::default() })
    };
    assert_eq!(outcome(&asks(24), &nothing(), "advisories_max_age"), Outcome::Pass);
    assert_eq!(outcome(&asks(23), &nothing(), "advisories_max_age"), Outcome::Fail);
    let unknown = Found { advisories: None, ..nothing() };
    assert_eq!(outcome(&asks(24), &unknown, "advisories_max_age"), Outcome::Fail);
}

#[test]
fn secrets_do_what_the_policy_says_and_allowed_ones_nothing() {
    let mut allowed = secret("jwt", Confidence::Proven, "b");
    allowed.allowed = Some("a test key".into());
    let found =
        Found { secrets: Some(vec![secret("github-token", Confidence::Likely, "a"), allowed]), ..nothing() };
    for (action, wanted) in [
        (SecretAction::Deny, Outcome::Fail),
        (SecretAction::Proven, Outcome::Warn),
        (SecretAction::Warn, Outcome::Warn),
        (SecretAction::Allow, Outcome::Pass),
    ] {
        let policy = Policy { secrets: action, ..Policy::built_in() };
        let result = rule(&policy, &found, "secrets");
        assert_eq!(result.outcome, wanted, "{action:?}");
        assert!(result.findings.iter().any(|finding| finding.accepted.as_deref() == Some("a test key")));
    }
}

#[test]
fn licences_of_a_package_hold_together() {
    let licenses = LicensePolicy { deny: vec!["AGPL-*".into()], ..LicensePolicy::default() };
    let policy = Policy { licenses, ..Policy::built_in() };
    let of = |licenses: &[&str]| Found { packages: Some(vec![package("lib", licenses)]), ..nothing() };
    assert_eq!(outcome(&policy, &of(&["MIT"]), "licenses"), Outcome::Pass);
    assert_eq!(outcome(&policy, &of(&["MIT", "AGPL-3.0-only"]), "licenses"), Outcome::Fail);
    assert_eq!(outcome(&policy, &of(&[]), "licenses"), Outcome::Pass);
    let listed = LicensePolicy { allow: vec!["MIT".into()], ..LicensePolicy::default() };
    let policy = Policy { licenses: listed, ..Policy::built_in() };
    assert_eq!(outcome(&policy, &of(&[]), "licenses"), Outcome::Warn);
    assert_eq!(outcome(&policy, &of(&["BSD-3-Clause"]), "licenses"), Outcome::Fail);
}

#[test]
fn facts_are_limited() {
    let days = |days: u64| Some(Span::from_secs(days * 86_400));
    let found = Found { facts: Some(facts()), ..nothing() };
    let built_in = Policy::built_in();
    assert_eq!(judge(&built_in, &found).outcome, Outcome::Pass, "nothing is asked of facts");
    let cases: Vec<(&str, Policy, Policy)> = vec![
        (
            "max_size",
            Policy { max_size: Some(Bytes::new(90 << 20)), ..built_in.clone() },
            Policy { max_size: Some(Bytes::new((90 << 20) - 1)), ..built_in.clone() },
        ),
        (
            "max_age",
            Policy { max_age: days(21), ..built_in.clone() },
            Policy { max_age: days(20), ..built_in.clone() },
        ),
        (
            "base_max_age",
            Policy { base_max_age: days(174), ..built_in.clone() },
            Policy { base_max_age: days(173), ..built_in.clone() },
        ),
    ];
    for (name, good, bad) in cases {
        assert_eq!(outcome(&good, &found, name), Outcome::Pass, "{name}");
        assert_eq!(outcome(&bad, &found, name), Outcome::Fail, "{name}");
    }
    let all = |action| Policy {
        root_user: action,
        setuid: action,
        world_writable: action,
        health_check: action,
        ..Policy::built_in()
    };
    for name in ["root_user", "setuid", "world_writable", "health_check"] {
        assert_eq!(outcome(&all(Action::Deny), &found, name), Outcome::Fail, "{name}");
        assert_eq!(outcome(&all(Action::Warn), &found, name), Outcome::Warn, "{name}");
    }
    assert_eq!(outcome(&all(Action::Deny), &nothing(), "root_user"), Outcome::Pass);
    assert_eq!(outcome(&all(Action::Deny), &nothing(), "health_check"), Outcome::Pass);
}

proptest! {
    #[test]
    fn a_stricter_policy_never_passes_more(
        severities in proptest::collection::vec((0..6_usize, any::<bool>()), 0..8),
        fail in 0..4_usize, warn in 0..4_usize, fixable in any::<bool>(),
    ) {
        let all = [Severity::Unknown, Severity::None, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        let levels = [Level::Low, Level::Medium, Level::High, Level::Critical];
        let list = severities.iter().enumerate().map(|(number, (severity, fix))| {
            weakness(&format!("CVE-{number}"), "zlib", all[*severity], fix.then_some("2"))
        });
        let found = weak(list.collect());
        let policy = |fail: usize, fixable| with(VulnerabilityPolicy {
            fail_on: Some(levels[fail]), warn_on: Some(levels[warn]), fixable_only: fixable, ..VulnerabilityPolicy::default()
        });
        let base = judge(&policy(fail, fixable), &found);
        prop_assert!(judge(&policy(0, fixable), &found).outcome >= base.outcome);
        prop_assert!(judge(&policy(fail, false), &found).outcome >= base.outcome);
        prop_assert_eq!(base.outcome, base.rules.iter().map(|rule| rule.outcome).max().unwrap());
    }
}
