//! The control plane's events as lines for a person.

use std::collections::BTreeMap;
use std::time::Duration;

use kiln_control::{Counts, Event, Progress, What};
use kiln_model::Name;
use kiln_provider::Failure;
use kiln_rollout::{Gate, Note};

use crate::ui::{Ui, took};

/// How a rollout ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// The new release serves.
    Succeeded,
    /// It does not, and why.
    Failed(String),
}

/// Tells the events of some services and remembers how each one's rollout ended.
pub(crate) struct Teller<'a> {
    ui: &'a Ui,
    ended: BTreeMap<Name, Ended>,
    gates: BTreeMap<Name, String>,
    failures: BTreeMap<Name, Failure>,
}

impl<'a> Teller<'a> {
    pub(crate) fn new(ui: &'a Ui) -> Self {
        Self { ui, ended: BTreeMap::new(), gates: BTreeMap::new(), failures: BTreeMap::new() }
    }

    /// How the service's rollout ended, once it has.
    pub(crate) fn ended(&self, service: &Name) -> Option<&Ended> {
        self.ended.get(service)
    }

    /// Tells one event.
    pub(crate) fn tell(&mut self, event: &Event) {
        let key = event.service.as_str();
        let label = match event.release {
            Some(release) => format!("{key} release {release}"),
            None => key.to_owned(),
        };
        match &event.what {
            What::Waiting { after } if !after.is_empty() => {
                let names: Vec<&str> = after.iter().map(Name::as_str).collect();
                self.ui.working(key, &format!("{label}: waits for {}", names.join(", ")));
            }
            What::Started { old, replicas, stages, .. } => {
                let from =
                    old.map_or_else(|| "first release".into(), |old| format!("replaces release {old}"));
                let text = format!("{label}: {from}, {replicas} instances, {} stages", stages.len());
                self.ui.working(key, &text);
            }
            What::Gate { stage, stages, gate } => {
                let text = format!("{label}: stage {stage}/{stages}, {}", gate_text(gate));
                self.ui.working(key, &text);
                self.gates.insert(event.service.clone(), text);
            }
            What::Progress(progress) => {
                let gate = self.gates.get(&event.service).cloned().unwrap_or(label);
                self.ui.ticking(key, &format!("{gate} · {}", progress_text(progress)));
            }
            What::Checked { check, passed: true, millis, .. } => {
                self.ui.working(key, &format!("{label}: check \"{check}\" passed in {millis} ms"));
            }
            What::Checked { check, detail, .. } => {
                let detail = detail.as_deref().unwrap_or("no detail");
                self.ui.failed(key, &format!("{label}: check \"{check}\" failed: {detail}"));
            }
            What::InstanceFailed { failure } => self.instance_failed(event, &label, failure),
            What::RollingBack { reason } => {
                self.ui.working(key, &format!("{label}: going back: {reason}"));
            }
            What::RoutesRefused { error } => {
                self.ui.failed(key, &format!("{label}: the proxy refused: {error}"));
            }
            What::Retired { instance, reason } => {
                let reason = serde_json::to_value(reason).ok();
                let reason = reason.as_ref().and_then(|value| value.as_str()).unwrap_or("retired");
                self.ui.working(key, &format!("{label}: replaces {instance} ({reason})"));
            }
            What::Noted { note } => self.noted(event, &label, note.as_ref()),
            other if other.is_act() => {
                if let Some(text) = act_text(other) {
                    self.ui.working(key, &format!("{label}: {} {text}", event.who));
                }
            }
            other => self.tell_end(event, &label, other),
        }
    }

    fn tell_end(&mut self, event: &Event, label: &str, what: &What) {
        let key = event.service.as_str();
        let ended = match what {
            What::Succeeded { millis } => {
                let time = took(Duration::from_millis(u64::try_from(*millis).unwrap_or(0)));
                self.ui.done(key, &format!("{label}: serves ({time})"));
                Ended::Succeeded
            }
            What::RolledBack { reason, to, .. } => {
                let to = to.map_or_else(|| "nothing serves".into(), |to| format!("release {to} serves"));
                self.ui.failed(key, &format!("{label}: rolled back, {to}: {reason}"));
                Ended::Failed(reason.clone())
            }
            What::Failed { reason, .. } | What::Cancelled { reason } => {
                self.ui.failed(key, &format!("{label}: {reason}"));
                Ended::Failed(reason.clone())
            }
            _ => return,
        };
        self.ended.insert(event.service.clone(), ended);
    }

    /// What holds a rollout up, until nothing does.
    fn noted(&mut self, event: &Event, label: &str, note: Option<&Note>) {
        let gate = self.gates.get(&event.service).cloned().unwrap_or_else(|| label.to_owned());
        let text = note.map_or(gate.clone(), |note| format!("{gate}: {}", note.text));
        self.ui.working(event.service.as_str(), &text);
    }

    /// A failing program says the same again and again; each text is told once.
    fn instance_failed(&mut self, event: &Event, label: &str, failure: &Failure) {
        let before = self.failures.insert(event.service.clone(), failure.clone());
        let same = |other: &Failure| other.what == failure.what && other.log_tail == failure.log_tail;
        if before.as_ref().is_some_and(same) {
            return;
        }
        self.ui.line(failure_text(label, failure).trim_end());
    }
}

/// What failed, and what it printed last.
pub(crate) fn failure_text(label: &str, failure: &Failure) -> String {
    let mut out = format!("  {label}: {}\n", failure.what);
    for line in &failure.log_tail {
        out.push_str(&format!("    | {line}\n"));
    }
    out
}

/// What a person did to a rollout, after their name.
pub(crate) fn act_text(what: &What) -> Option<String> {
    let (text, why) = match what {
        What::Paused { reason } => ("paused it".to_owned(), reason),
        What::Resumed { reason } => ("let it go on".to_owned(), reason),
        What::Promoted { all: true, reason, .. } => {
            ("promoted it past every gate to come".to_owned(), reason)
        }
        What::Promoted { gate: Some(Gate::Approved), stage, reason, .. } => {
            (format!("approved it in stage {stage}"), reason)
        }
        What::Promoted { stage, reason, .. } => (format!("promoted it in stage {stage}"), reason),
        What::Retried { reason, .. } => ("had it tried again".to_owned(), reason),
        What::Emergency { freeze: Some(freeze), reason } => {
            (format!("passed the freeze \"{freeze}\" in an emergency"), &Some(reason.clone()))
        }
        What::Emergency { freeze: None, reason } => {
            ("called it an emergency".to_owned(), &Some(reason.clone()))
        }
        What::Bypassed { missing, reason } => {
            (format!("went past what is missing ({})", missing.join("; ")), &Some(reason.clone()))
        }
        What::RollingBack { reason } => ("took it back".to_owned(), &Some(reason.clone())),
        What::Lifted { .. } => ("lifted the quarantine".to_owned(), &None),
        What::Resized { from, to } => (format!("resized it, {from} -> {to} instances"), &None),
        What::Executed { instance, argv } => (format!("ran {} in {instance}", argv.join(" ")), &None),
        What::Tainted { instance, reason } => (format!("tainted {instance}"), &Some(reason.clone())),
        What::Down { reason } => ("stopped the service".to_owned(), reason),
        _ => return None,
    };
    Some(why.as_ref().map_or(text.clone(), |why| format!("{text}: {why}")))
}

/// A gate in words.
fn gate_text(gate: &Gate) -> String {
    match gate {
        Gate::Healthy => "waits for healthy instances".into(),
        Gate::Verified => "runs the checks".into(),
        Gate::Acknowledged => "moves the traffic".into(),
        Gate::Held { millis } => format!("holds for {}", kiln_model::Span::from_millis(*millis)),
        Gate::Approved => "waits for a person to approve: `kiln promote`".into(),
        Gate::Analysed { millis: 0 } => "analyses the answers".into(),
        Gate::Analysed { millis } => {
            format!("analyses the answers for {}", kiln_model::Span::from_millis(*millis))
        }
        Gate::Delayed { millis } => {
            format!("keeps the old instances for {}", kiln_model::Span::from_millis(*millis))
        }
        Gate::Drained => "drains the old instances".into(),
    }
}

fn progress_text(progress: &Progress) -> String {
    let mut parts = vec![format!("new {}/{} ready", progress.new.ready, progress.wanted)];
    if progress.old != Counts::default() {
        parts.push(format!("old {} ready, {} leaving", progress.old.ready, progress.old.leaving));
    }
    parts.push(format!("{} % of the traffic", progress.weight));
    parts.join(" · ")
}
