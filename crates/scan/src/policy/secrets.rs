//! The rule about secrets.

use kiln_model::{Policy, SecretAction};

use super::{Finding, Found, Outcome, RuleResult, Spot, count};
use crate::secrets::{Confidence, Place, SecretFinding};

const NEXT: &str =
    "revoke each, then bake without it; what is none gets an `allow_secret` block with a reason";

pub(super) fn judge(policy: &Policy, found: &Found) -> RuleResult {
    let Some(secrets) = &found.secrets else {
        if policy.secrets == SecretAction::Allow {
            return RuleResult::of("secrets", "not asked for".into(), Vec::new(), NEXT);
        }
        return RuleResult::unknown("secrets", "nobody looked for secrets", "scan the image: `kiln scan`");
    };
    let findings: Vec<Finding> = secrets.iter().map(|secret| finding(policy.secrets, secret)).collect();
    let asked = match policy.secrets {
        SecretAction::Proven => "no proven secret",
        SecretAction::Deny => "no secret",
        SecretAction::Warn | SecretAction::Allow => "nothing fails",
    };
    let accepted = findings.iter().filter(|finding| finding.accepted.is_some()).count();
    let mut what = format!("{asked}; {} found", count(findings.len() as u64, "secret"));
    if accepted > 0 {
        what.push_str(&format!(", {accepted} accepted"));
    }
    RuleResult::of("secrets", what, findings, NEXT)
}

fn finding(action: SecretAction, secret: &SecretFinding) -> Finding {
    let outcome = match action {
        _ if secret.allowed.is_some() => Outcome::Pass,
        SecretAction::Proven if secret.confidence == Confidence::Proven => Outcome::Fail,
        SecretAction::Proven | SecretAction::Warn => Outcome::Warn,
        SecretAction::Deny => Outcome::Fail,
        SecretAction::Allow => Outcome::Pass,
    };
    let sure = match secret.confidence {
        Confidence::Proven => "",
        Confidence::Likely => "likely a ",
        Confidence::Possible => "possibly a ",
    };
    let mut what = format!("{sure}{} {}", secret.title, secret.redacted);
    if let Some(note) = &secret.note {
        what.push_str(&format!(", {note}"));
    }
    if let Place::File { visible: false, .. } = &secret.place {
        what.push_str(", deleted or replaced by a later layer but still in the image");
    }
    Finding {
        outcome,
        id: secret.rule.clone(),
        severity: secret.severity,
        what,
        spot: spot(&secret.place),
        fingerprint: secret.fingerprint.clone(),
        fix: Some(secret.fix.clone()),
        accepted: secret.allowed.clone(),
    }
}

fn spot(place: &Place) -> Spot {
    match place {
        Place::File { path, line, layer, .. } => {
            Spot { path: Some(path.clone()), line: Some(*line), layer: *layer, thing: None }
        }
        other => Spot { thing: Some(other.to_string()), ..Spot::default() },
    }
}
