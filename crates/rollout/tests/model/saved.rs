//! The persisted rollout as a small value that can be hashed, and back.
//!
//! Times are kept as ages below a standing now and lose what no comparison of the engine can tell apart; texts are
//! left out. Everything else is kept, and a field that is added to the engine's memory does not compile here until
//! somebody has thought about it.

use std::collections::BTreeMap;

use kiln_model::FleetId;
use kiln_rollout::analysis::AnalysisState;
use kiln_rollout::{Act, Counted, Memory, Note, NoteKind, Promotion, Retried, Rollout, State, Wish};

/// The time at which everything happens.
pub(crate) const NOW: i64 = 1_000_000;

/// A short rest: `min_healthy`, holds and delays.
pub(crate) const SHORT: u8 = 1;
/// The healthy deadline and the drain deadline; the progress deadline is twice as long.
pub(crate) const LONG: u8 = 10;

/// Ages that differ for some deadline.
const AGES: [u8; 5] = [0, SHORT, LONG, 2 * LONG, 3 * LONG];

pub(crate) fn floor(age: u8) -> u8 {
    AGES.into_iter().rev().find(|level| *level <= age).unwrap_or(0)
}

pub(crate) fn at(age: u8) -> i64 {
    NOW - i64::from(age)
}

pub(crate) fn age(at: i64) -> u8 {
    floor(u8::try_from((NOW - at).clamp(0, 100)).expect("clamped"))
}

/// Percent by fleet: new, old, baseline.
pub(crate) type Weights = [u8; 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Running { stage: u8, gate: u8, since: u8 },
    Back { since: u8 },
    Succeeded,
    RolledBack,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Saved {
    pub(crate) place: Place,
    pub(crate) progress: u8,
    pub(crate) paused: bool,
    pub(crate) furthest: (u8, u8),
    pub(crate) ready: u8,
    pub(crate) sizes: [u8; 3],
    pub(crate) weights: Weights,
    pub(crate) shifted_back: bool,
    turned_back: bool,
    ill_before: Option<u8>,
    pub(crate) promotions: Vec<(u8, u8)>,
    pub(crate) promoted: bool,
    retried: Option<(u8, u8)>,
    pub(crate) note: Option<u8>,
    pub(crate) window: bool,
    /// What is measured, as the text that would be saved.
    measured: String,
}

const NOTES: [NoteKind; 5] =
    [NoteKind::Budget, NoteKind::Frozen, NoteKind::Unhealthy, NoteKind::NoData, NoteKind::Inconclusive];

/// The note of an analysis that a person must decide.
pub(crate) fn inconclusive_note() -> u8 {
    4
}

pub(crate) fn small(number: impl TryInto<u8>) -> u8 {
    number.try_into().ok().expect("worlds are small")
}

pub(crate) fn packed(weights: &BTreeMap<FleetId, u8>, fleets: &[FleetId; 3]) -> Weights {
    let packed = [0, 1, 2].map(|index| weights.get(&fleets[index]).copied().unwrap_or(0));
    assert_eq!(
        weights.len(),
        packed.iter().filter(|it| **it > 0).count(),
        "weights of strangers: {weights:?}"
    );
    packed
}

pub(crate) fn unpacked(weights: Weights, fleets: &[FleetId; 3]) -> BTreeMap<FleetId, u8> {
    fleets.iter().cloned().zip(weights).filter(|(_, weight)| *weight > 0).collect()
}

fn act() -> Act {
    Act { by: "alice".into(), reason: None, at_ms: NOW }
}

impl Saved {
    pub(crate) fn of(rollout: &Rollout, fleets: &[FleetId; 3]) -> Self {
        let Memory {
            furthest,
            ready,
            wish,
            shifted_back,
            turned_back,
            ill_before,
            window,
            analysis,
            promotions,
            promoted,
            retried,
            note,
            blameless: _,
        } = rollout.memory.clone();
        let place = match rollout.state {
            State::Running { stage, gate, since_ms } => {
                let rests = rollout.gate().is_some_and(kiln_rollout::Gate::is_promotable);
                let since = if rests { age(since_ms) } else { 0 };
                Place::Running { stage: small(stage), gate: small(gate), since }
            }
            State::RollingBack { since_ms, .. } => {
                Place::Back { since: LONG.min(age(since_ms)) / LONG * LONG }
            }
            State::Succeeded { .. } => Place::Succeeded,
            State::RolledBack { .. } => Place::RolledBack,
            State::Failed { .. } => Place::Failed,
        };
        let over = matches!(place, Place::Succeeded | Place::RolledBack);
        let progress = if rollout.is_over() { 0 } else { age(rollout.progress_ms) / LONG * LONG };
        // Who let pass a gate that is behind, or one of many where all are let pass, changes nothing any more.
        let back = over || matches!(place, Place::Back { .. });
        let first = if back || promoted { usize::MAX } else { furthest.0 };
        let passes = |it: &&Promotion| {
            let gate = rollout.stages.get(it.stage).and_then(|stage| stage.gates.get(it.gate));
            it.stage >= first && gate.is_some_and(kiln_rollout::Gate::is_promotable)
        };
        let mut promotions: Vec<_> =
            promotions.iter().filter(passes).map(|it| (small(it.stage), small(it.gate))).collect();
        promotions.sort_unstable();
        promotions.dedup();
        let measured = match (&window, &analysis) {
            (None, state) if *state == AnalysisState::default() => String::new(),
            _ if over => String::new(),
            both => serde_json::to_string(&both).expect("it is saved as JSON"),
        };
        Self {
            place,
            progress,
            paused: rollout.paused.is_some(),
            furthest: if over { (0, 0) } else { (small(furthest.0), small(furthest.1)) },
            ready: if over { 0 } else { small(ready) },
            sizes: [small(wish.new), small(wish.old), small(wish.baseline)],
            weights: packed(&wish.weights, fleets),
            shifted_back: shifted_back && !over,
            turned_back: turned_back && !over,
            ill_before: ill_before.map(small).filter(|_| !over),
            promotions,
            promoted: promoted && !back,
            retried: retried
                .map(|it| (age(it.at_ms) / LONG * LONG, small(it.failed_starts)))
                .filter(|_| !over),
            note: note
                .filter(|_| !over)
                .map(|it| small(NOTES.iter().position(|kind| *kind == it.kind).expect("a kind"))),
            window: window.is_some() && !over,
            measured,
        }
    }

    /// The rollout that this stands for; `template` is how it began.
    pub(crate) fn rollout(&self, template: &Rollout, fleets: &[FleetId; 3]) -> Rollout {
        let mut rollout = template.clone();
        let reason = String::new;
        rollout.state = match self.place {
            Place::Running { stage, gate, since } => {
                State::Running { stage: stage.into(), gate: gate.into(), since_ms: at(since) }
            }
            Place::Back { since } => State::RollingBack { reason: reason(), since_ms: at(since) },
            Place::Succeeded => State::Succeeded { at_ms: NOW },
            Place::RolledBack => State::RolledBack { reason: reason(), at_ms: NOW },
            Place::Failed => State::Failed { reason: reason(), at_ms: NOW },
        };
        rollout.progress_ms = at(self.progress);
        rollout.paused = self.paused.then(act);
        let (window, analysis): (Option<Counted>, AnalysisState) = if self.measured.is_empty() {
            (None, AnalysisState::default())
        } else {
            serde_json::from_str(&self.measured).expect("it was saved as JSON")
        };
        rollout.memory = Memory {
            furthest: (self.furthest.0.into(), self.furthest.1.into()),
            ready: self.ready.into(),
            wish: Wish {
                new: self.sizes[0].into(),
                old: self.sizes[1].into(),
                baseline: self.sizes[2].into(),
                weights: unpacked(self.weights, fleets),
            },
            shifted_back: self.shifted_back,
            turned_back: self.turned_back,
            ill_before: self.ill_before.map(Into::into),
            window,
            analysis,
            promotions: self
                .promotions
                .iter()
                .map(|(stage, gate)| Promotion { stage: (*stage).into(), gate: (*gate).into(), act: act() })
                .collect(),
            promoted: self.promoted,
            retried: self
                .retried
                .map(|(age, failed)| Retried { at_ms: at(age), failed_starts: failed.into() }),
            note: self.note.map(|kind| Note { kind: NOTES[usize::from(kind)], text: String::new() }),
            blameless: false,
        };
        rollout
    }

    /// A person let it pass the gate that it waits for.
    pub(crate) fn is_let_pass(&self) -> bool {
        let named = |stage, gate| self.promotions.contains(&(stage, gate));
        self.promoted || matches!(self.place, Place::Running { stage, gate, .. } if named(stage, gate))
    }

    pub(crate) fn is_retried(&self) -> bool {
        self.retried.is_some()
    }

    /// Time passes. The clock of a paused rollout's deadline stands: resuming adds the time that it was paused.
    pub(crate) fn older(&mut self, by: u8) {
        match &mut self.place {
            Place::Back { since } => *since = (floor(*since + by) / LONG * LONG).min(LONG),
            Place::Running { .. } | Place::Succeeded | Place::RolledBack | Place::Failed => {}
        }
        if !self.paused && !matches!(self.place, Place::Succeeded | Place::RolledBack | Place::Failed) {
            self.progress = floor(self.progress + by) / LONG * LONG;
        }
        if let Some((age, _)) = &mut self.retried {
            *age = (floor(*age + by) / LONG * LONG).min(LONG);
        }
    }

    /// The same for a gate that rests.
    pub(crate) fn rested(&mut self, by: u8) {
        if let Place::Running { since, .. } = &mut self.place {
            *since = floor(*since + by);
        }
    }
}
