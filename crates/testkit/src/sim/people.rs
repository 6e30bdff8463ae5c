//! Simulated people: what they do at set times, and what they are asked for.

use kiln_rollout::{Act, Gate, NoteKind, Rollout, State, View, abort, pause, promote, resume, retry};

use super::control::Disk;
use crate::Rng;

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// Stops it where it is.
    Pause,
    /// Lets it go on.
    Resume,
    /// Lets it pass the gate.
    Promote,
    /// Lets it pass every gate.
    PromoteAll,
    /// Turns it back.
    Abort,
    /// Deploys something newer, which turns it back too.
    Supersede,
}

/// What people have done to one rollout.
#[derive(Default)]
pub(super) struct People {
    pub(super) aborted: bool,
    pub(super) promoted: bool,
    pub(super) retried: bool,
    pub(super) aborts_of_failed: u32,
    pub(super) acts: u32,
    paused_since: Option<i64>,
}

fn act(now: i64) -> Act {
    Act { by: "alice".into(), reason: Some("so it is".into()), at_ms: now }
}

impl People {
    /// A person's wish, which may come at the wrong time.
    pub(super) fn wish(&mut self, hand: Hand, disk: &mut Disk, now: i64) {
        let before = disk.load();
        let after = match hand {
            Hand::Pause => pause(before, act(now)).ok(),
            Hand::Resume => resume(before, now).ok(),
            Hand::Promote => promote(before, act(now), false).ok(),
            Hand::PromoteAll => promote(before, act(now), true).ok(),
            Hand::Abort | Hand::Supersede => Some(abort(before, "a person asked", now)),
        };
        let Some(after) = after else { return };
        self.acts += 1;
        let passes = matches!(hand, Hand::PromoteAll)
            || hand == Hand::Promote && matches!(before.gate(), Some(Gate::Analysed { .. }));
        self.promoted |= passes;
        self.aborted |= matches!(hand, Hand::Abort | Hand::Supersede) && after.state != before.state;
        disk.save(&after);
    }

    /// What only a person can decide is decided some time.
    pub(super) fn help(&mut self, disk: &mut Disk, view: &View, now: i64, rng: &mut Rng) {
        let rollout = disk.load();
        self.paused_since = rollout.paused.as_ref().map(|_| self.paused_since.unwrap_or(now));
        if self.paused_since.is_some_and(|since| now - since > 3_000) {
            return self.wish(Hand::Resume, disk, now);
        }
        if !rng.chance(30) {
            return;
        }
        let unclear = rollout.memory.note.as_ref().is_some_and(|note| note.kind == NoteKind::Inconclusive);
        match (&rollout.state, rollout.gate()) {
            (State::Running { .. }, Some(Gate::Approved)) => self.wish(Hand::Promote, disk, now),
            (State::Running { .. }, _) if unclear => {
                let hand = *rng.pick(&[Hand::Promote, Hand::Abort]);
                self.wish(hand, disk, now);
            }
            (State::Failed { .. }, _) => self.decide_about_failed(disk, view, now, rng),
            _ => {}
        }
    }

    fn decide_about_failed(&mut self, disk: &mut Disk, view: &View, now: i64, rng: &mut Rng) {
        let again = if self.retried || rng.chance(500) { None } else { retry(disk.load(), view, now).ok() };
        if let Some(again) = again {
            self.retried = true;
            disk.save(&again);
        } else {
            self.aborts_of_failed += 1;
            self.wish(Hand::Abort, disk, now);
        }
    }

    /// Nobody will touch it any more.
    pub(super) fn leaves_alone(&self, rollout: &Rollout) -> bool {
        match rollout.state {
            State::Failed { .. } => self.aborts_of_failed >= 3,
            State::Succeeded { .. } | State::RolledBack { .. } => true,
            State::Running { .. } | State::RollingBack { .. } => false,
        }
    }
}
