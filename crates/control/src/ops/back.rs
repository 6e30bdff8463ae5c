//! Turning rollouts back, and giving up those that have not begun: parts of several operations.

use kiln_rollout::State;
use rusqlite::Connection;

use crate::event::What;
use crate::reconcile::{World, append, cancel};
use crate::state::{Entry, Pointer, RolloutState, StateError, rollouts, services};

/// The rollouts of a service that are not over.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    /// The one that runs or waits for a person.
    pub(super) active: Option<Entry>,
    /// The one that has not begun.
    pub(super) waiting: Option<Entry>,
}

impl Open {
    pub(super) fn of(db: &Connection, pointer: &Pointer) -> Result<Self, StateError> {
        Ok(Self {
            active: rollouts::active(db, &pointer.environment, &pointer.service)?,
            waiting: rollouts::waiting(db, &pointer.environment, &pointer.service)?,
        })
    }

    /// The rollout whose release is to serve in the end, if nothing else is asked.
    pub(super) fn target(&self) -> Option<&Entry> {
        self.waiting.as_ref().or_else(|| self.active.as_ref().filter(|entry| goes_forward(entry)))
    }

    /// Makes room for something else: what has begun goes back, what has not is given up.
    pub(super) fn clear(
        self,
        db: &Connection,
        who: &str,
        reason: &str,
        now_ms: i64,
    ) -> Result<(), StateError> {
        if let Some(mut entry) = self.waiting {
            cancel(db, &mut entry, reason.into(), now_ms)?;
        }
        if let Some(mut entry) = self.active {
            turn_back(db, &mut entry, who, reason, now_ms)?;
        }
        Ok(())
    }
}

/// A service that was stopping is wanted again: what is left of it goes, and what comes is a first deploy.
pub(super) fn stay(db: &Connection, pointer: &mut Pointer) -> Result<(), StateError> {
    if pointer.leaving {
        World::load(db)?.settle(db, &pointer.environment, &pointer.service, None)?;
        pointer.leaving = false;
    }
    services::put(db, pointer)
}

/// Whether a rollout is under way to its release, and not back from it or stuck.
pub(super) fn goes_forward(entry: &Entry) -> bool {
    entry.engine.as_ref().is_some_and(|engine| matches!(engine.state, State::Running { .. }))
}

/// Turns a rollout back for a reason that is not its content's fault; one that is on its way back stays as it is.
pub(crate) fn turn_back(
    db: &Connection,
    entry: &mut Entry,
    who: &str,
    reason: &str,
    now_ms: i64,
) -> Result<bool, StateError> {
    let Some(engine) = &entry.engine else { return Ok(false) };
    let back = kiln_rollout::abort(engine, reason, now_ms);
    if back == *engine {
        return Ok(false);
    }
    entry.blameless = true;
    entry.status = RolloutState::Running;
    entry.ended_ms = None;
    entry.reason = Some(reason.into());
    entry.engine = Some(back);
    rollouts::update(db, entry)?;
    let what = What::RollingBack { reason: reason.into() };
    append(db, &entry.fleet, Some(entry.id), who, now_ms, &what)?;
    Ok(true)
}
