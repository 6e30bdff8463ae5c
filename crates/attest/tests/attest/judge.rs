//! What is missing, as a table and as laws.

use std::collections::BTreeMap;

use kiln_attest::evidence::{Claim, Evidence, ImageSignature};
use kiln_attest::judge::{CLOCK_SKEW_MS, judge};
use kiln_attest::predicate::{Outcome, Predicate, TestOutcome};
use kiln_model::{Digest, Requirement};
use proptest::prelude::*;

use crate::kit::{NOW, approved, built, name, scanned, soaked, tested};

const HOUR: u64 = 3_600_000;

fn image() -> Digest {
    Digest::from_bytes([1; 32])
}

fn said(predicate: Predicate) -> Evidence {
    let at_ms = predicate.at_ms();
    by("ci", Claim::Attestation(predicate), at_ms)
}

fn by(key: &str, claim: Claim, at_ms: Option<u64>) -> Evidence {
    Evidence {
        manifest: Digest::from_bytes([2; 32]),
        document: None,
        image: Some(image()),
        claim,
        signers: vec![name(key)],
        problem: None,
        at_ms,
    }
}

fn signature(key: &str) -> Evidence {
    let claim = ImageSignature { reference: "web".into(), annotations: BTreeMap::new() };
    by(key, Claim::Signature(claim), None)
}

fn undated(mut evidence: Evidence) -> Evidence {
    evidence.at_ms = None;
    evidence
}

fn about_another(mut evidence: Evidence) -> Evidence {
    evidence.image = Some(Digest::from_bytes([9; 32]));
    evidence
}

fn bad(mut evidence: Evidence) -> Evidence {
    evidence.signers.clear();
    evidence.problem = Some("no trusted key signed it".into());
    evidence
}

/// Why a requirement is not met for production, and the command; empty when it is.
fn missing(requirement: &str, evidence: &[Evidence]) -> (String, String) {
    let requirements = [requirement.parse::<Requirement>().unwrap()];
    let missing = judge(&requirements, evidence, &image(), &name("prod"), NOW);
    missing.into_iter().next().map(|one| (one.why, one.command)).unwrap_or_default()
}

#[track_caller]
fn met(requirement: &str, evidence: &[Evidence]) {
    assert_eq!(missing(requirement, evidence).0, "", "{requirement}");
}

#[track_caller]
fn unmet(requirement: &str, evidence: &[Evidence], words: &str) {
    let (why, command) = missing(requirement, evidence);
    assert!(why.contains(words) && !why.is_empty(), "{requirement}: {why:?} lacks {words:?}");
    assert!(command.starts_with("kiln "), "{command}");
}

#[test]
fn built_from() {
    met("built-from", &[said(built(NOW))]);
    unmet("built-from", &[], "nothing says");
    unmet("built-from", &[bad(said(built(NOW)))], "1 found that does not count: no trusted key signed it");
    unmet("built-from", &[about_another(said(built(NOW)))], "nothing says");
}

#[test]
fn tested_by_the_newest_result() {
    let pass = |at| said(tested(TestOutcome::Passed, at));
    let fail = |at| said(tested(TestOutcome::Failed, at));
    met("tested", &[pass(NOW)]);
    met("tested", &[said(tested(TestOutcome::Warned, NOW))]);
    met("tested", &[fail(NOW - 1), pass(NOW)]);
    met("tested", &[undated(pass(NOW))]);
    met("tested", &[pass(NOW - 1), bad(fail(NOW))]);
    met("tested", &[pass(NOW - 1), about_another(fail(NOW))]);
    unmet("tested", &[], "never tested");
    unmet("tested", &[pass(NOW - 1), fail(NOW)], "failure (port)");
    unmet("tested", &[fail(NOW), pass(NOW)], "failure");
    unmet("tested", &[fail(1), undated(pass(NOW))], "failure");
    met("tested", &[pass(NOW + CLOCK_SKEW_MS)]);
    unmet("tested", &[pass(NOW + CLOCK_SKEW_MS + 1)], "in the future");
    unmet("tested", &[pass(NOW), fail(NOW + HOUR)], "failure");
    assert!(missing("tested", &[]).1.starts_with("kiln check 0101"));
}

#[test]
fn scanned_by_the_newest_scan_and_lately() {
    let scan = |outcome, at| said(scanned(outcome, at));
    let pass = |at| scan(Some(Outcome::Pass), at);
    met("scanned", &[pass(NOW - 99 * HOUR)]);
    met("scanned", &[scan(Some(Outcome::Warn), NOW)]);
    met("scanned(24h)", &[pass(NOW - 24 * HOUR)]);
    met("scanned(24h)", &[pass(NOW - 99 * HOUR), pass(NOW - HOUR)]);
    unmet("scanned(24h)", &[pass(NOW - 24 * HOUR - 1000)], "1d1s old, more than 1d");
    unmet("scanned(24h)", &[undated(pass(NOW))], "does not say when");
    unmet("scanned", &[], "never scanned");
    unmet("scanned", &[pass(NOW - 1), scan(Some(Outcome::Fail), NOW)], "refused by the policy");
    unmet("scanned", &[pass(NOW - 1), scan(None, NOW)], "says nothing of a policy");
    unmet("scanned(24h)", &[pass(NOW + HOUR)], "in the future");
}

#[test]
fn signed_by_each_key() {
    met("signed", &[signature("any")]);
    met("signed(release, qa)", &[signature("qa"), signature("release")]);
    unmet("signed", &[], "no trusted key");
    unmet("signed", &[said(built(NOW))], "no trusted key");
    unmet("signed(release, qa)", &[signature("qa")], "not signed by release");
    unmet("signed(release)", &[bad(signature("release"))], "does not count");
    assert!(missing("signed(release)", &[]).1.ends_with("--key release"));
}

#[test]
fn soaked_long_enough_and_without_trouble_since() {
    let soak = |from: u64, until: u64, failures| said(soaked("staging", NOW - from, NOW - until, failures));
    met("soaked(staging, 1h)", &[soak(HOUR, 0, 0)]);
    met("soaked(staging, 1h)", &[soak(3 * HOUR, HOUR, 0), soak(HOUR / 2, 0, 0)]);
    met("soaked(staging, 1h)", &[soak(4 * HOUR, 3 * HOUR, 2), soak(2 * HOUR, 0, 0)]);
    unmet("soaked(staging, 1h)", &[], "did not run in staging");
    unmet("soaked(staging, 1h)", &[soak(HOUR - 1000, 0, 0)], "for 59m59s only, 1h are asked for");
    unmet("soaked(staging, 1h)", &[soak(HOUR, 0, 1)], "trouble");
    unmet("soaked(staging, 1h)", &[soak(3 * HOUR, HOUR, 0), soak(HOUR, 0, 1)], "trouble");
    unmet("soaked(other, 1h)", &[soak(HOUR, 0, 0)], "did not run in other");
    let backwards = said(soaked("staging", NOW, NOW - 9 * HOUR, 0));
    unmet("soaked(staging, 1h)", &[backwards], "for 0s only");
    let promised = said(soaked("staging", NOW, NOW + 9 * HOUR, 0));
    unmet("soaked(staging, 1h)", &[promised], "did not run");
}

#[test]
fn approved_by_different_people_for_this_environment() {
    let yes = |environment, person| said(approved(environment, person, NOW));
    met("approved(1)", &[yes("prod", "alice")]);
    met("approved(2)", &[yes("prod", "alice"), yes("prod", "bob")]);
    met("approved(1, carol, bob)", &[yes("prod", "alice"), yes("prod", "bob")]);
    unmet("approved(1)", &[], "nobody did");
    unmet("approved(2)", &[yes("prod", "alice"), yes("prod", "alice")], "alice did");
    unmet("approved(1)", &[yes("staging", "alice")], "nobody did");
    unmet("approved(1, bob)", &[yes("prod", "alice")], "1 of bob must approve it for prod");
    unmet("approved(1)", &[yes("prod", "")], "nobody");
    unmet("approved(1)", &[said(approved("prod", "alice", NOW + HOUR))], "nobody");
    assert_eq!(missing("approved(1)", &[]).1, "kiln approve prod");
}

#[test]
fn all_that_is_missing_is_told_in_the_order_it_is_required() {
    let texts = ["tested", "signed", "scanned(24h)", "approved(2)"];
    let requirements: Vec<Requirement> = texts.iter().map(|text| text.parse().unwrap()).collect();
    let missing = judge(&requirements, &[signature("ci")], &image(), &name("prod"), NOW);
    let told: Vec<String> = missing.iter().map(|one| one.requirement.to_string()).collect();
    assert_eq!(told, ["tested", "scanned(1d)", "approved(2)"]);
}

fn any_requirement() -> impl Strategy<Value = Requirement> {
    prop::sample::select(vec![
        "built-from",
        "tested",
        "scanned",
        "scanned(24h)",
        "signed",
        "signed(ci)",
        "signed(qa, ci)",
        "soaked(staging, 1h)",
        "approved(1)",
        "approved(2)",
        "approved(1, bob)",
    ])
    .prop_map(|text| text.parse().unwrap())
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let time = prop::sample::select(vec![NOW - 48 * HOUR, NOW - HOUR, NOW, NOW + HOUR]);
    let person = prop::sample::select(vec!["alice", "bob"]);
    let place = prop::sample::select(vec!["prod", "staging"]);
    let kind = (0..9_u8, time, person, place).prop_map(|(kind, at, person, place)| match kind {
        0 => said(built(at)),
        1 => said(tested(TestOutcome::Passed, at)),
        2 => said(tested(TestOutcome::Failed, at)),
        3 => said(scanned(Some(Outcome::Pass), at)),
        4 => said(scanned(Some(Outcome::Fail), at)),
        5 => said(approved(place, person, at)),
        6 => said(soaked(place, at - 2 * HOUR, at, 0)),
        7 => said(soaked(place, at - 2 * HOUR, at, 1)),
        _ => signature(if person == "bob" { "qa" } else { "ci" }),
    });
    (kind, 0..6_u8).prop_map(|(evidence, flaw)| match flaw {
        0 => bad(evidence),
        1 => about_another(evidence),
        2 => undated(evidence),
        _ => evidence,
    })
}

/// Whether a piece of evidence speaks against the image, and so may be what a pass lacks.
fn speaks_against(evidence: &Evidence) -> bool {
    match &evidence.claim {
        Claim::Attestation(Predicate::Tested(result)) => result.outcome == TestOutcome::Failed,
        Claim::Attestation(Predicate::Scanned(scan)) => scan.outcome == Some(Outcome::Fail),
        Claim::Attestation(Predicate::Soaked(soak)) => soak.failures > 0,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Taking away what speaks for an image never meets more. (Taking away a failure may: that is why the ledger
    /// keeps the digests of evidence.)
    #[test]
    fn less_support_never_meets_more(
        requirements in prop::collection::vec(any_requirement(), 1..5),
        evidence in prop::collection::vec(any_evidence(), 0..8),
        taken in any::<prop::sample::Index>(),
    ) {
        let before = judge(&requirements, &evidence, &image(), &name("prod"), NOW);
        if evidence.is_empty() {
            return Ok(());
        }
        let mut less = evidence.clone();
        let gone = less.remove(taken.index(evidence.len()));
        // What speaks against the image may be all that a pass lacks; so may a date in the future, which refuses.
        if speaks_against(&gone) || gone.at_ms.is_some_and(|at| at > NOW + CLOCK_SKEW_MS) {
            return Ok(());
        }
        let after = judge(&requirements, &less, &image(), &name("prod"), NOW);
        for one in &before {
            prop_assert!(after.iter().any(|other| other.requirement == one.requirement), "{one:?}");
        }
    }

    /// What does not verify, or is about another image, changes no verdict, for or against.
    #[test]
    fn what_does_not_count_changes_nothing(
        requirements in prop::collection::vec(any_requirement(), 1..5),
        evidence in prop::collection::vec(any_evidence(), 0..8),
    ) {
        let verdict = |evidence: &[Evidence]| -> Vec<Requirement> {
            let missing = judge(&requirements, evidence, &image(), &name("prod"), NOW);
            missing.into_iter().map(|one| one.requirement).collect()
        };
        let counting: Vec<Evidence> = evidence
            .iter()
            .filter(|one| one.verified() && one.image == Some(image()))
            .cloned()
            .collect();
        prop_assert_eq!(verdict(&evidence), verdict(&counting));
    }

    /// The order in which evidence is found does not matter.
    #[test]
    fn order_does_not_matter(
        requirements in prop::collection::vec(any_requirement(), 1..5),
        evidence in prop::collection::vec(any_evidence(), 0..8).prop_shuffle(),
    ) {
        let mut sorted = evidence.clone();
        sorted.reverse();
        let verdict = |evidence: &[Evidence]| -> Vec<Requirement> {
            let missing = judge(&requirements, evidence, &image(), &name("prod"), NOW);
            missing.into_iter().map(|one| one.requirement).collect()
        };
        prop_assert_eq!(verdict(&evidence), verdict(&sorted));
    }
}
