//! The report for a terminal: what fails first, then what warns, then one line about the rest.

use std::fmt::Write as _;

use super::Report;
use crate::Severity;
use crate::policy::{Finding, Outcome, RuleResult, Spot};

/// As many findings of one rule are shown; the first are the worst.
const MOST: usize = 20;

struct Ink {
    colour: bool,
}

impl Ink {
    fn paint(&self, outcome: Outcome, text: &str) -> String {
        let code = match outcome {
            Outcome::Fail => "1;31",
            Outcome::Warn => "1;33",
            Outcome::Pass => "32",
        };
        self.with(code, text)
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

pub(super) fn render(report: &Report, colour: bool, all: bool) -> String {
    let ink = Ink { colour };
    let mut out = String::new();
    let mut rules: Vec<&RuleResult> = report.judgement.rules.iter().collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.outcome));
    for rule in &rules {
        let _ = writeln!(
            out,
            "{} {}: {}",
            ink.paint(rule.outcome, word(rule.outcome)),
            ink.with("1", &shown(&rule.rule)),
            shown(&rule.what)
        );
        let listed = rule.findings.iter().filter(|finding| all || finding.outcome > Outcome::Pass);
        let listed: Vec<&Finding> = listed.collect();
        let most = if all { listed.len() } else { MOST };
        for finding in listed.iter().take(most) {
            write_finding(&mut out, &ink, finding, rule.next.as_deref());
        }
        if listed.len() > most {
            let _ = writeln!(out, "    … and {} more; `--all` shows them", listed.len() - most);
        }
        if let Some(next) = &rule.next {
            let _ = writeln!(out, "  next: {}", shown(next));
        }
    }
    write_summary(&mut out, &ink, report);
    out
}

/// What is to be done for all of a rule is said once, below its findings.
fn write_finding(out: &mut String, ink: &Ink, finding: &Finding, next: Option<&str>) {
    let mark = match finding.outcome {
        Outcome::Fail => ink.paint(Outcome::Fail, "x"),
        Outcome::Warn => ink.paint(Outcome::Warn, "!"),
        Outcome::Pass => "-".into(),
    };
    let severity = severity(finding.severity);
    let _ = writeln!(out, "  {mark} {} [{severity}] {}", shown(&finding.id), shown(&finding.what));
    let at = spot(&finding.spot);
    if !at.is_empty() {
        let _ = writeln!(out, "      at {}", shown(&at));
    }
    if let Some(reason) = &finding.accepted {
        let _ = writeln!(out, "      accepted: {}", shown(reason));
    } else if let Some(fix) = finding.fix.as_deref().filter(|fix| Some(*fix) != next) {
        let _ = writeln!(out, "      fix: {}", shown(fix));
    }
}

fn write_summary(out: &mut String, ink: &Ink, report: &Report) {
    let judgement = &report.judgement;
    let number = |outcome| judgement.rules.iter().filter(|rule| rule.outcome == outcome).count();
    let digest = report.image.map(|digest| format!(" ({})", digest.short())).unwrap_or_default();
    let verdict = match judgement.outcome {
        Outcome::Fail => "fails",
        Outcome::Warn => "passes with warnings",
        Outcome::Pass => "passes",
    };
    let _ = writeln!(
        out,
        "\n{}{digest} {} policy \"{}\": {} failed, {} warned, {} passed",
        shown(&report.name),
        ink.paint(judgement.outcome, verdict),
        shown(&judgement.policy),
        number(Outcome::Fail),
        number(Outcome::Warn),
        number(Outcome::Pass)
    );
}

/// Texts are from the image, whose author may know how terminals are fooled.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Fail => "FAIL",
        Outcome::Warn => "WARN",
        Outcome::Pass => "pass",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Unknown => "unknown",
        Severity::None => "none",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn spot(spot: &Spot) -> String {
    let mut text = match (&spot.path, spot.line) {
        (Some(path), Some(line)) => format!("/{path}:{line}"),
        (Some(path), None) => format!("/{path}"),
        (None, _) => spot.thing.clone().unwrap_or_default(),
    };
    if let Some(layer) = spot.layer {
        let _ = write!(text, " in layer {}", layer.short());
    }
    text
}
