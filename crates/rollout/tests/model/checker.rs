//! The model for stateright: what can happen in a state, and a record of all the edges for the questions about endings.

use std::sync::{Mutex, PoisonError};

use kiln_rollout::{Gate, abort, pause, promote, resume, retry};
use stateright::{Model, Property};

use crate::control::{self, Fate};
use crate::live::{Class, Edges};
use crate::promises;
use crate::saved::{LONG, NOW, Place, SHORT, Saved, floor};
use crate::world::{ACKED, Fleet, Measured, NEW, OLD, One, Phase, Quality, State, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Decide,
    Perform(Fate),
    Stop(usize, One),
    BecomesReady(usize, One),
    StartFails(usize, One),
    Fails(usize, One),
    Recovers(usize, One),
    Exits(usize, One),
    Arrives,
    Passes(u8),
    Check(bool),
    Measure(Measured),
    Crash,
    DataPlaneRestarts,
    Abort,
    Supersede,
    Pause,
    Resume,
    Promote { all: bool },
    Retry,
    Freeze(bool),
    NextRollout,
}

/// A world under the checker.
pub(crate) struct Checked<'a> {
    pub(crate) world: &'a World,
    pub(crate) edges: Mutex<Edges>,
}

impl Model for Checked<'static> {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        self.world.qualities.iter().map(|quality| self.world.begin(*quality)).collect()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.broken.is_some() {
            return;
        }
        self.control(state, steps);
        for fleet in 0..3 {
            self.instances(fleet, state, steps);
        }
        if state.late.is_some() {
            steps.push(Step::Arrives);
        }
        steps.extend([SHORT, LONG].map(Step::Passes));
        self.people(state, steps);
        let trouble = &self.world.trouble;
        if trouble.crashes {
            steps.extend([Step::Crash, Step::DataPlaneRestarts]);
        }
        if trouble.freezes {
            steps.push(Step::Freeze(!state.frozen));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let next = self.world.after(state, step).filter(|next| next != state)?;
        let mut edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        edges.add(state, &next, step, Class::of(step, state, self.world));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::properties()
    }
}

impl Checked<'_> {
    fn control(&self, state: &State, steps: &mut Vec<Step>) {
        if state.pending.is_empty() {
            steps.push(Step::Decide);
            if state.superseded && state.saved.place == Place::RolledBack {
                steps.push(Step::NextRollout);
            }
        } else {
            let weights = matches!(state.pending[0], crate::world::Act::Weights(_));
            steps.push(Step::Perform(Fate::Acknowledged));
            if weights {
                steps.push(Step::Perform(Fate::Lost));
            }
            if weights && self.world.trouble.network && state.faults > 0 {
                steps.extend([Fate::Unanswered, Fate::Late].map(Step::Perform));
            }
        }
        match self.world.gate(&state.saved) {
            Some(Gate::Verified) if state.checks.is_none() => {
                steps.push(Step::Check(state.quality != Quality::FailsChecks));
            }
            Some(Gate::Analysed { .. }) if state.saved.window && state.measured == Measured::Nothing => {
                let all = [Measured::Good, Measured::Bad, Measured::Unclear, Measured::Unreadable];
                steps.extend(all.map(Step::Measure));
            }
            _ => {}
        }
    }

    fn instances(&self, index: usize, state: &State, steps: &mut Vec<Step>) {
        let able = index != NEW || state.quality != Quality::NeverReady;
        let faulty = self.world.trouble.instances && state.faults > 0;
        let mut before = None;
        for one in state.fleets[index].all.iter().copied() {
            // Instances in the same state are the same.
            if before.replace(one) == Some(one) {
                continue;
            }
            match one.phase {
                Phase::Starting => {
                    if able {
                        steps.push(Step::BecomesReady(index, one));
                    }
                    if !able || faulty {
                        steps.push(Step::StartFails(index, one));
                    }
                }
                Phase::Ready if faulty => steps.extend([Step::Fails(index, one), Step::Exits(index, one)]),
                Phase::Unready => {
                    steps.push(Step::Recovers(index, one));
                    if faulty {
                        steps.push(Step::Exits(index, one));
                    }
                }
                Phase::Leaving if state.acked.is_some() && !state.sent && !one.has(ACKED) => {
                    steps.push(Step::Stop(index, one));
                }
                Phase::Ready | Phase::Leaving => {}
            }
        }
    }

    fn people(&self, state: &State, steps: &mut Vec<Step>) {
        let (saved, willing) = (&state.saved, self.world.trouble.people);
        let running = matches!(saved.place, Place::Running { .. });
        let failed = saved.place == Place::Failed;
        if willing && running {
            steps.extend([Step::Abort, Step::Supersede, Step::Promote { all: true }]);
            if !saved.paused {
                steps.push(Step::Pause);
            }
        }
        if failed {
            steps.push(Step::Abort);
            // Once: instances that nobody lets go would pile up otherwise, and there would be no end of states.
            if willing && !saved.is_retried() {
                steps.push(Step::Retry);
            }
        }
        if saved.paused {
            steps.push(Step::Resume);
        }
        let gate = self.world.gate(saved);
        let asked = gate == Some(&Gate::Approved) || saved.note.is_some();
        if running && gate.is_some_and(Gate::is_promotable) && (asked || willing) {
            steps.push(Step::Promote { all: false });
        }
    }
}

fn swap(state: &State, fleet: usize, one: One, to: Option<One>) -> State {
    let mut next = state.clone();
    let Fleet { all, .. } = &mut next.fleets[fleet];
    let index = all.iter().position(|it| *it == one).expect("an instance of the fleet");
    all.remove(index);
    all.extend(to);
    all.sort_unstable();
    next
}

impl World {
    /// The state after a step; `None` where it is not possible.
    pub(crate) fn after(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Decide => return self.decided(state),
            Step::Perform(fate) => return self.performed(state, fate),
            Step::Arrives => return control::arrived(state),
            Step::Passes(ticks) => return Some(self.older(state, ticks)),
            Step::Crash => return Some(control::crashed(state)),
            Step::DataPlaneRestarts => return Some(control::blind(state)),
            Step::Stop(fleet, one) => {
                next = swap(state, fleet, one, None);
                next.broken = promises::on_stop(state, fleet, one);
            }
            Step::BecomesReady(fleet, one) => {
                next = swap(state, fleet, one, Some(One { phase: Phase::Ready, age: 0, ..one }));
                next.fleets[fleet].failed_starts = 0;
            }
            Step::StartFails(fleet, one) => {
                let cost = u8::from(fleet != NEW || state.quality != Quality::NeverReady);
                next = swap(state, fleet, one, Some(One::starting()));
                next.faults -= cost;
                let failed = &mut next.fleets[fleet].failed_starts;
                *failed = if fleet == NEW { (*failed + 1).min(3) } else { 0 };
            }
            Step::Fails(fleet, one) => {
                next = swap(state, fleet, one, Some(One { phase: Phase::Unready, age: 0, ..one }));
                next.hurt_by_fault();
            }
            Step::Recovers(fleet, one) => {
                next = swap(state, fleet, one, Some(One { phase: Phase::Ready, age: 0, ..one }));
            }
            Step::Exits(fleet, one) => {
                next = swap(state, fleet, one, Some(One::starting()));
                next.hurt_by_fault();
            }
            Step::Check(good) => {
                next.checks = Some(good);
                next.verified |= good;
            }
            Step::Measure(measured) => next.measured = measured,
            Step::Freeze(on) => next.frozen = on,
            Step::NextRollout => return self.next_rollout(state),
            Step::Abort
            | Step::Supersede
            | Step::Pause
            | Step::Resume
            | Step::Promote { .. }
            | Step::Retry => {
                return self.asked(state, step);
            }
        }
        Some(next)
    }

    fn older(&self, state: &State, ticks: u8) -> State {
        let min_healthy = u8::try_from(self.spec().min_healthy.millis()).expect("short");
        let mut next = state.clone();
        for (index, fleet) in next.fleets.iter_mut().enumerate() {
            for one in &mut fleet.all {
                one.age = match one.phase {
                    Phase::Starting if index == NEW => (floor(one.age + ticks) / LONG * LONG).min(LONG),
                    Phase::Ready if index != OLD => floor(one.age + ticks).min(min_healthy),
                    Phase::Starting | Phase::Ready | Phase::Unready | Phase::Leaving => 0,
                };
            }
            fleet.all.sort_unstable();
        }
        next.saved.older(ticks);
        if matches!(self.gate(&state.saved), Some(gate) if gate.is_promotable() && *gate != Gate::Approved) {
            next.saved.rested(ticks);
        }
        next
    }

    /// What a person does: read, change, write.
    fn asked(&self, state: &State, step: Step) -> Option<State> {
        let before = self.rollout(state);
        let act = kiln_rollout::Act { by: "alice".into(), reason: None, at_ms: NOW };
        let after = match step {
            Step::Abort | Step::Supersede => abort(&before, "", NOW),
            Step::Pause => pause(&before, act).ok()?,
            Step::Resume => resume(&before, NOW).ok()?,
            Step::Promote { all } => promote(&before, act, all).ok()?,
            Step::Retry => retry(&before, &self.view(state), NOW).ok()?,
            _ => return None,
        };
        let mut next = State { saved: Saved::of(&after, &self.fleets), ..state.clone() };
        next.superseded |= step == Step::Supersede;
        let approves = matches!(step, Step::Promote { all: true });
        next.approved |= approves
            || self.gate(&state.saved) == Some(&Gate::Approved) && step == Step::Promote { all: false };
        next.measured = if next.saved.window { next.measured } else { Measured::Nothing };
        Some(next)
    }

    /// The release that superseded begins from the last stable one, once that is whole again. It may be better.
    fn next_rollout(&self, state: &State) -> Option<State> {
        let fresh = State { faults: state.faults, ..self.begin(Quality::Good) };
        let same = state.fleets == fresh.fleets && state.force == fresh.force && state.acked == fresh.acked;
        (same && !state.sent && state.late.is_none()).then_some(fresh)
    }
}

impl State {
    fn hurt_by_fault(&mut self) {
        self.faults -= 1;
        self.hurt = true;
    }
}
