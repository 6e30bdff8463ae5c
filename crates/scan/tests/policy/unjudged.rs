//! Packages that no advisories are about.

use kiln_model::{Level, Policy};
use kiln_scan::policy::Outcome;

use crate::kit::{nothing, outcome, rule};

#[test]
fn what_nothing_is_known_about_is_not_good() {
    let mut found = nothing();
    found.vulnerabilities = Some(Vec::new());
    found.unjudged = vec!["no advisories about debian:12 are on this machine".into()];
    let mut policy = Policy::built_in();
    let vulnerabilities = rule(&policy, &found, "vulnerabilities");
    assert_eq!(vulnerabilities.outcome, Outcome::Fail);
    assert!(vulnerabilities.findings[0].what.contains("debian:12"));
    policy.vulnerabilities.fail_on = None;
    policy.vulnerabilities.warn_on = Some(Level::High);
    assert_eq!(outcome(&policy, &found, "vulnerabilities"), Outcome::Fail);
    policy.vulnerabilities.warn_on = None;
    assert_eq!(outcome(&policy, &found, "vulnerabilities"), Outcome::Pass);
}
