//! Scanning as the verbs need it: advisories of the home, the policy that holds, and the evidence.

use std::path::Path;

use jiff::Timestamp;
use kiln_attest::predicate::{
    Finding, Outcome, PolicyRef, Predicate, SbomFormat, ScanResult, Score, SeverityCounts,
};
use kiln_model::{Digest, Policy};
use kiln_scan::advisories::{AdvisoryDb, AdvisoryError};
use kiln_scan::policy::Outcome as Judged;
use kiln_scan::vex::Vex;
use kiln_scan::{Examined, Request, Severity, Subject, cyclonedx, examine};
use kiln_store::Store;

use crate::error::{Failure, Kind, Result};
use crate::evidence::{KeyArgs, swear};
use crate::home::Home;
use crate::ledger::Act;

/// Where the home keeps advisories.
pub(crate) fn folder() -> Result<std::path::PathBuf> {
    Ok(Home::find()?.path().join("advisories"))
}

/// The advisories of the home; `None` when there are none yet.
pub(crate) fn advisories() -> Result<Option<AdvisoryDb>> {
    match AdvisoryDb::open(&folder()?) {
        Ok(db) => Ok(Some(db)),
        Err(AdvisoryError::Empty { .. }) => Ok(None),
        Err(error) => Err(Failure::from_error(Kind::Failed, &error)
            .hint("`kiln advisories update` makes the store anew where it must")),
    }
}

/// Examines an image by a policy. `folder` is where the policy's files are.
pub(crate) fn scan(
    store: &Store,
    image: &Digest,
    name: &str,
    policy: &Policy,
    folder: &Path,
) -> Result<Examined> {
    let advisories = advisories()?;
    let vex = policy.vulnerabilities.vex.iter().map(|file| read_vex(&folder.join(file)));
    let vex = vex.collect::<Result<Vec<Vex>>>()?;
    let request = Request {
        store,
        image,
        name,
        policy,
        advisories: advisories.as_ref(),
        vex: &vex,
        now: Timestamp::now(),
    };
    examine(&request).map_err(|error| {
        Failure::new(Kind::Failed, format!("cannot scan image {}", image.short())).because(&error)
    })
}

fn read_vex(path: &Path) -> Result<Vex> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::new(Kind::Spec, format!("cannot read the VEX document {}", path.display())).because(&error)
    })?;
    Vex::parse(&bytes).map_err(|error| {
        Failure::new(Kind::Spec, format!("cannot understand the VEX document {}", path.display()))
            .because(&error)
    })
}

/// Writes down what a scan found: the inventory and the judgement, both signed.
pub(crate) fn prove(store: &Store, image: &Digest, examined: &Examined, key: &KeyArgs) -> Result<Digest> {
    let signer = key.load()?;
    let subject = Subject { name: &examined.report.name, created: None };
    let document = serde_json::from_str(&cyclonedx(&examined.inventory, &subject))
        .map_err(|error| Failure::new(Kind::Failed, "the SBOM is no JSON").because(&error))?;
    let sbom = swear(store, image, &Predicate::Sbom { format: SbomFormat::CycloneDx, document }, &signer)?;
    let result = result(examined, sbom);
    let details = serde_json::json!({
        "policy": examined.report.judgement.policy,
        "outcome": examined.report.judgement.outcome,
        "advisories": result.advisories,
    });
    let evidence = swear(store, image, &Predicate::Scanned(result), &signer)?;
    Act::new("image.scanned").image(image).evidence(&evidence).evidence(&sbom).details(details).record()?;
    Ok(evidence)
}

fn result(examined: &Examined, sbom: Digest) -> ScanResult {
    let report = &examined.report;
    let findings = examined.findings.as_ref();
    let open = findings.iter().flat_map(|it| &it.vulnerabilities).filter(|it| it.suppressed.is_none());
    let mut counts = SeverityCounts::default();
    let mut told = Vec::new();
    for found in open {
        *match found.severity {
            Severity::Critical => &mut counts.critical,
            Severity::High => &mut counts.high,
            Severity::Medium => &mut counts.medium,
            Severity::Low | Severity::None => &mut counts.low,
            Severity::Unknown => &mut counts.unknown,
        } += 1;
        let score = found.vector.clone().map(|score| Score { method: "cvss".into(), score });
        told.push(Finding {
            id: found.id.clone(),
            severity: score.into_iter().collect(),
            annotations: vec![serde_json::json!({ "purl": found.package.purl, "fixed": found.fixed })],
        });
    }
    let time = |at: Timestamp| at.as_millisecond().max(0).unsigned_abs();
    ScanResult {
        scanner: "kiln".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        advisories: findings.map(|it| it.database),
        advisories_at_ms: report.advisories.map(time),
        policy: Some(PolicyRef { name: report.judgement.policy.clone(), digest: examined.policy }),
        outcome: Some(match report.judgement.outcome {
            Judged::Pass => Outcome::Pass,
            Judged::Warn => Outcome::Warn,
            Judged::Fail => Outcome::Fail,
        }),
        counts,
        findings: told,
        sbom: Some(sbom),
        at_ms: Some(time(report.judged)),
    }
}
