//! The control plane: looks, decides with the real engine, saves, acts.

use std::collections::BTreeMap;

use kiln_rollout::analysis::{Measured as Reads, Reading, Sample};
use kiln_rollout::{Action, FleetView, Gate, Rollout, View, decide};

use crate::promises;
use crate::saved::{NOW, Place, Saved, Weights, at, packed, small};
use crate::world::{ACKED, Act, BASE, FORCE, Fleet, LATE, Measured, NEW, OLD, Phase, State, World};

/// What becomes of a table that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    Unanswered,
    Late,
    Lost,
}

fn fleet_view(fleet: &Fleet, sure: bool) -> FleetView {
    let mut view = FleetView { failed_starts: fleet.failed_starts.into(), ..FleetView::default() };
    for one in &fleet.all {
        match one.phase {
            Phase::Starting => view.starting_since_ms.push(at(one.age)),
            Phase::Ready if sure && one.has(ACKED) => view.ready_since_ms.push(at(one.age)),
            Phase::Ready => view.unannounced += 1,
            Phase::Unready => view.unready += 1,
            Phase::Leaving => view.leaving += 1,
        }
    }
    view
}

impl World {
    /// The gate that is waited for.
    pub(crate) fn gate(&self, saved: &Saved) -> Option<&Gate> {
        match saved.place {
            Place::Running { stage, gate, .. } => {
                self.stages().get(usize::from(stage))?.gates.get(usize::from(gate))
            }
            Place::Back { .. } | Place::Succeeded | Place::RolledBack | Place::Failed => None,
        }
    }

    pub(crate) fn view(&self, state: &State) -> View {
        // While a table that was sent may still come into force, the last acknowledgement says nothing any more.
        let sure = state.acked.is_some() && !state.sent;
        let fleets = [NEW, OLD, BASE]
            .map(|index| (self.fleets[index].clone(), fleet_view(&state.fleets[index], sure)));
        let acked = state.acked.unwrap_or_default();
        let checks = state.checks.map(|good| if good { Ok(()) } else { Err("no".into()) });
        // Counters stand while no analysis has begun; what is measured is measured in its window.
        let bad = state.measured == Measured::Bad;
        let requests = if state.measured == Measured::Nothing { 0 } else { 1_000 };
        let good = Sample { requests, ..Sample::default() };
        let new = Sample { failed: if bad { 900 } else { 0 }, ..good.clone() };
        let samples = [new, good.clone(), good];
        let outcome = match state.measured {
            Measured::Unclear => Some(Ok(Reads::Inconclusive("who knows".into()))),
            Measured::Unreadable => Some(Err("no answer".into())),
            Measured::Nothing | Measured::Good | Measured::Bad => None,
        };
        let readings = outcome.map(|outcome| ("asked".to_owned(), Reading { at_ms: NOW, outcome }));
        View {
            fleets: fleets.into_iter().collect(),
            acked_weights: crate::saved::unpacked(acked, &self.fleets),
            checks,
            unsure: !sure,
            samples: self.fleets.iter().cloned().zip(samples).collect::<BTreeMap<_, _>>(),
            epoch_ms: 0,
            readings: readings.into_iter().collect(),
            frozen: state.frozen.then(|| "frozen".into()),
        }
    }

    pub(crate) fn rollout(&self, state: &State) -> Rollout {
        state.saved.rollout(&self.template, &self.fleets)
    }

    /// One decision: saved, its actions waiting. `None` when it changes nothing.
    pub(crate) fn decided(&self, state: &State) -> Option<State> {
        let before = self.rollout(state);
        let view = self.view(state);
        let decision = decide(&before, &view, NOW);
        let mut next = state.clone();
        next.saved = Saved::of(&decision.rollout, &self.fleets);
        next.pending = self.effective(state, &decision.actions);
        if next.saved == state.saved && next.pending.is_empty() {
            next.broken = promises::on_standing(self, state, &view, &decision);
            return next.broken.map(|_| next);
        }
        next.impatient |= promises::lost_patience(state);
        if !matches!(self.gate(&next.saved), Some(Gate::Analysed { .. })) {
            next.measured = Measured::Nothing;
        }
        next.broken = promises::on_decision(self, state, &view, &decision, &next);
        Some(next)
    }

    /// The actions that are not so already.
    fn effective(&self, state: &State, actions: &[Action]) -> Vec<Act> {
        let index = |id| small(self.fleets.iter().position(|it| it == id).expect("one of its fleets"));
        let acts = actions.iter().filter_map(|action| match action {
            Action::Size { fleet, size } => Some(Act::Size(index(fleet), small(*size))),
            Action::Weights { weights } => Some(Act::Weights(packed(weights, &self.fleets))),
            Action::Verify { .. } | Action::Measure { .. } | Action::Probe { .. } => None,
        });
        acts.filter(|act| match act {
            Act::Size(fleet, size) => state.fleets[usize::from(*fleet)].wanted != *size,
            Act::Weights(weights) => !is_confirmed(state, *weights),
        })
        .collect()
    }

    /// Does the next action.
    pub(crate) fn performed(&self, state: &State, fate: Fate) -> Option<State> {
        let mut next = Self::carried_out(state, fate)?;
        next.broken = promises::on_action(self, state, state.pending[0], &next);
        Some(next)
    }

    /// The world after the next action.
    pub(crate) fn carried_out(state: &State, fate: Fate) -> Option<State> {
        let mut next = state.clone();
        match next.pending.remove(0) {
            Act::Size(fleet, size) => {
                let fleet = &mut next.fleets[usize::from(fleet)];
                fleet.wanted = size;
                fleet.follow();
            }
            Act::Weights(weights) => send(&mut next, weights, fate)?,
        }
        Some(next)
    }
}

/// The data plane confirmed just this, and nothing was sent since.
fn is_confirmed(state: &State, weights: Weights) -> bool {
    let known = |fleet: &Fleet| fleet.all.iter().all(|one| (one.phase == Phase::Ready) == one.has(ACKED));
    state.acked == Some(weights) && !state.sent && state.fleets.iter().all(known)
}

fn send(next: &mut State, weights: Weights, fate: Fate) -> Option<()> {
    let faulty = matches!(fate, Fate::Unanswered | Fate::Late);
    next.faults = next.faults.checked_sub(u8::from(faulty))?;
    let taken = matches!(fate, Fate::Acknowledged | Fate::Unanswered);
    let acked = fate == Fate::Acknowledged;
    *next = next.instances(|one| {
        let ready = one.phase == Phase::Ready;
        if taken {
            one.put(FORCE, ready);
            one.put(LATE, false);
        }
        if acked {
            one.put(ACKED, ready);
        }
        if fate == Fate::Late {
            one.put(LATE, ready);
        }
    });
    if taken {
        (next.force, next.late) = (weights, None);
    }
    if fate == Fate::Late {
        next.late = Some(weights);
    }
    next.sent = !acked && next.acked.is_some();
    if acked {
        next.acked = Some(weights);
    }
    Some(())
}

/// A table that was on its way comes into force; nobody hears of it.
pub(crate) fn arrived(state: &State) -> Option<State> {
    let weights = state.late?;
    let mut next = state.instances(|one| {
        one.put(FORCE, one.has(LATE));
        one.put(LATE, false);
    });
    (next.force, next.late) = (weights, None);
    Some(next)
}

/// Nothing that the control plane had in its memory is left.
pub(crate) fn crashed(state: &State) -> State {
    let mut next = blind(state);
    next.pending.clear();
    next.checks = None;
    next
}

/// The data plane has not said yet what is in force.
pub(crate) fn blind(state: &State) -> State {
    let mut next = state.instances(|one| one.put(ACKED, false));
    (next.acked, next.sent) = (None, false);
    next
}
