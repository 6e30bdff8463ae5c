//! Rules of a rollout, and what holds one up, in words.

use kiln_control::api::{FreezeStatus, RolloutStatus, UnderWay};
use kiln_model::{Against, AnalysisSpec, Approval, Checkpoint, Name, RolloutSpec, Span};
use kiln_rollout::NoteKind;

use crate::ui::age;

/// What a rollout does beside going through its stages, a line each.
pub(crate) fn rules(rollout: &RolloutSpec) -> Vec<String> {
    let mut lines: Vec<String> = rollout.checkpoints.iter().map(checkpoint).collect();
    lines.extend(rollout.approval.as_ref().map(approval));
    lines.extend(rollout.analysis.as_ref().map(analysis));
    if !rollout.auto_rollback {
        lines.push("stays where it is when it fails: nothing is rolled back by itself".into());
    }
    lines
}

fn checkpoint(at: &Checkpoint) -> String {
    format!("rests {} at {} %", at.hold, at.at)
}

fn approval(approval: &Approval) -> String {
    let shares: Vec<String> = approval.before.iter().map(|share| format!("{share} %")).collect();
    format!("before {} of the traffic, {} must approve", shares.join(" and "), people(&approval.by))
}

/// Who may do something.
pub(crate) fn people(names: &[String]) -> String {
    if names.is_empty() { "anyone".into() } else { names.join(" or ") }
}

fn analysis(analysis: &AnalysisSpec) -> String {
    let mut limits = Vec::new();
    limits.extend(analysis.max_error_rate.map(|rate| format!("at most {} % of errors", percent(rate))));
    let slow = |share: &str, limit: Option<Span>| limit.map(|limit| format!("{share} within {limit}"));
    limits.extend(slow("half of the requests", analysis.max_p50));
    limits.extend(slow("90 % of the requests", analysis.max_p90));
    limits.extend(slow("99 % of the requests", analysis.max_p99));
    limits.extend(match analysis.against {
        Against::Limits => None,
        Against::Baseline => Some("no worse than a fresh baseline of the old release".to_owned()),
        Against::Old => Some("no worse than the old release".to_owned()),
    });
    limits.extend(analysis.metrics.iter().map(|metric| format!("metric \"{}\"", metric.name)));
    format!("the answers are analysed: {}", limits.join(", "))
}

/// 0.015 is 1.5.
fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A freeze that is on or comes.
pub(crate) fn freeze(freeze: &FreezeStatus) -> String {
    let (name, at) = (&freeze.name, &freeze.at);
    if freeze.active {
        format!("freeze \"{name}\" is on until {at}: a deploy needs `--emergency \"why\"`")
    } else {
        format!("freeze \"{name}\" begins {at}: what is under way then waits at the next stage")
    }
}

/// Whose rollout takes the place of whose.
pub(crate) fn supersedes(under_way: &UnderWay, now_ms: i64) -> String {
    let UnderWay { release, author, since_ms, .. } = under_way;
    format!("supersedes release {release}, which {author} began rolling out {} ago", age(*since_ms, now_ms))
}

/// A rollout under way: whose it is, where it stands, what it waits for and what can be done, a line each.
pub(crate) fn under_way(
    environment: &Name,
    service: &Name,
    rollout: &RolloutStatus,
    now_ms: i64,
) -> Vec<String> {
    let by = format!("{} began it {} ago", rollout.author, age(rollout.created_ms, now_ms));
    let place = match &rollout.summary {
        None => "waits for its turn".into(),
        // The sentence names the fleet, as the line does already.
        Some(summary) => match summary.sentence.split_once(": ") {
            Some((_, rest)) => rest.to_owned(),
            None => summary.sentence.clone(),
        },
    };
    let mut lines = vec![format!("rollout of release {} ({by}): {place}", rollout.release)];
    let call = |verb: &str| command(verb, environment, service);
    if let Some(act) = &rollout.paused {
        let why = act.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let since = age(act.at_ms, now_ms);
        lines.push(format!("paused by {} {since} ago{why}; {} lets it go on", act.by, call("resume")));
    }
    if let Some(names) = &rollout.approvers {
        lines.push(format!("{} may approve it: {}", people(names), call("promote")));
    }
    if let Some(note) = &rollout.note {
        lines.extend(advice(note.kind, &call));
    }
    if rollout.status == kiln_control::state::RolloutState::Failed {
        lines.push(format!("{} tries it again, {} goes back", call("retry"), call("abort")));
    }
    if let Some(why) = &rollout.emergency {
        lines.push(format!("an emergency, which no freeze holds up: {why}"));
    }
    lines
}

/// What a person can do about what holds a rollout up.
fn advice(note: NoteKind, call: &dyn Fn(&str) -> String) -> Option<String> {
    match note {
        NoteKind::Inconclusive => {
            Some(format!("a person decides: {} goes on, {} goes back", call("promote"), call("abort")))
        }
        NoteKind::NoData => Some(format!(
            "Kiln sends requests of its own meanwhile; {} goes on without an answer",
            call("promote")
        )),
        NoteKind::Frozen => Some(format!(
            "it goes on when the freeze ends; {} does not wait for that",
            call("promote --emergency \"why\"")
        )),
        NoteKind::Budget | NoteKind::Unhealthy => None,
    }
}

/// A command line to type.
fn command(verb: &str, environment: &Name, service: &Name) -> String {
    match environment.as_str() {
        "dev" => format!("`kiln {verb} {service}`"),
        other => format!("`kiln {verb} {service} -e {other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_in_words() {
        let rollout = RolloutSpec {
            checkpoints: vec![Checkpoint { at: 50, hold: Span::from_secs(3600) }],
            approval: Some(Approval { before: vec![50, 100], by: vec!["ann".into(), "bob".into()] }),
            analysis: Some(AnalysisSpec {
                against: Against::Baseline,
                max_error_rate: Some(0.015),
                max_p99: Some(Span::from_millis(300)),
                ..AnalysisSpec::default()
            }),
            ..RolloutSpec::default()
        };
        assert_eq!(
            rules(&rollout),
            [
                "rests 1h at 50 %",
                "before 50 % and 100 % of the traffic, ann or bob must approve",
                "the answers are analysed: at most 1.5 % of errors, 99 % of the requests within 300ms, no worse than \
                 a fresh baseline of the old release",
            ]
        );
        assert_eq!(rules(&RolloutSpec::default()), [""; 0]);
    }

    #[test]
    fn commands_name_the_environment_when_it_is_not_the_usual_one() {
        let name = |text: &str| Name::new(text).expect("a name");
        assert_eq!(command("promote", &name("dev"), &name("web")), "`kiln promote web`");
        assert_eq!(command("promote", &name("prod"), &name("web")), "`kiln promote web -e prod`");
    }
}
