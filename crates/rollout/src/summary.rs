//! Where a rollout stands, for progress displays.

use serde::{Deserialize, Serialize};

use crate::{FleetView, Gate, Rollout, State, View, gates};

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The stage under way, counted from 1; the last one reached when it is over or on its way back.
    pub stage: usize,
    /// Number of stages.
    pub stages: usize,
    /// What is waited for, while it runs.
    pub waiting: Option<Gate>,
    /// Since when it stands like this, milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// Percent of the traffic that the new fleet is to take.
    pub weight: u8,
    /// All of it in a sentence.
    pub sentence: String,
}

impl Rollout {
    /// Where the rollout stands.
    pub fn summary(&self) -> Summary {
        self.describe(None)
    }

    /// The same with numbers from what was last observed.
    pub fn summary_with(&self, view: &View) -> Summary {
        self.describe(Some(view))
    }

    fn describe(&self, view: Option<&View>) -> Summary {
        let reached = self.memory.furthest.0.min(self.stages.len().saturating_sub(1));
        let (index, since_ms) = match &self.state {
            State::Running { stage, since_ms, .. } => (*stage, *since_ms),
            State::RollingBack { since_ms, .. } => (reached, *since_ms),
            State::RolledBack { at_ms, .. } | State::Failed { at_ms, .. } => (reached, *at_ms),
            State::Succeeded { at_ms } => (self.stages.len().saturating_sub(1), *at_ms),
        };
        Summary {
            stage: index + 1,
            stages: self.stages.len(),
            waiting: self.gate().cloned(),
            since_ms,
            weight: self.memory.wish.weights.get(&self.new).copied().unwrap_or(0),
            sentence: self.sentence(index, view),
        }
    }

    fn sentence(&self, index: usize, view: Option<&View>) -> String {
        match &self.state {
            State::Running { .. } => {
                let wanted = self.gate().map_or_else(|| "for the next stage".into(), Gate::wanted);
                let counts = view.map(|view| self.counts(index, view)).unwrap_or_default();
                let (new, stage, stages) = (&self.new, index + 1, self.stages.len());
                let note = self.memory.note.as_ref().map(|it| format!("; {}", it.text)).unwrap_or_default();
                let paused = self.paused.as_ref().map(|it| format!(" (paused by {})", it.by));
                let paused = paused.unwrap_or_default();
                format!("{new}: stage {stage} of {stages}, waiting {wanted}{counts}{note}{paused}")
            }
            State::RollingBack { reason, .. } => {
                format!("{}: going back to {}: {reason}", self.new, self.target())
            }
            State::Succeeded { .. } => format!("{}: serves with {} instances", self.new, self.replicas),
            State::RolledBack { reason, .. } => {
                format!("{}: rolled back to {}: {reason}", self.new, self.target())
            }
            State::Failed { reason, .. } => format!("{}: failed, both fleets stay: {reason}", self.new),
        }
    }

    fn target(&self) -> String {
        self.old.as_ref().map_or_else(|| "nothing (it was the first release)".into(), ToString::to_string)
    }

    fn counts(&self, index: usize, view: &View) -> String {
        let of = |fleet: &FleetView| (gates::ready(fleet), fleet.leaving, fleet.in_flight);
        match (self.gate(), &self.old) {
            (Some(Gate::Healthy), _) => {
                let wanted = self.stages.get(index).map_or(0, |stage| stage.new);
                format!(" ({} of {wanted} ready)", of(gates::fleet(view, &self.new)).0)
            }
            (Some(Gate::Drained), Some(old)) => {
                let (_, leaving, in_flight) = of(gates::fleet(view, old));
                format!(" ({leaving} leaving, {in_flight} requests in flight)")
            }
            _ => String::new(),
        }
    }
}
