//! Freezes: when an environment is not deployed to.

use kiln_calendar::{active, next_begin, told};
use kiln_model::{FleetId, Freeze};
use rusqlite::Connection;

use super::ControlError;
use crate::api::FreezeStatus;
use crate::event::{RolloutId, What};
use crate::reconcile::append;

/// The freeze that is on (of several, the one that ends last), or else the one that begins next.
pub(super) fn status(freezes: &[Freeze], now_ms: i64) -> Result<Option<FreezeStatus>, ControlError> {
    let now = now_ms.max(0).unsigned_abs();
    let (mut on, mut to_come) = (None, None);
    for freeze in freezes {
        let wrong = |source| ControlError::Freeze { freeze: freeze.name.clone(), source };
        if let Some(until) = active(freeze, now).map_err(wrong)? {
            if on.is_none_or(|(last, _)| last < until) {
                on = Some((until, freeze));
            }
        } else if let Some(begins) = next_begin(freeze, now).map_err(wrong)?
            && to_come.is_none_or(|(first, _)| begins < first)
        {
            to_come = Some((begins, freeze));
        }
    }
    let Some((at, freeze)) = on.or(to_come) else { return Ok(None) };
    let wrong = |source| ControlError::Freeze { freeze: freeze.name.clone(), source };
    Ok(Some(FreezeStatus {
        name: freeze.name.clone(),
        active: on.is_some(),
        at_ms: i64::try_from(at).unwrap_or(i64::MAX),
        at: told(at, &freeze.timezone).map_err(wrong)?,
    }))
}

/// What lets a rollout begin whatever is frozen.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// The freeze that is on.
    freeze: Option<String>,
    reason: String,
}

impl Pass {
    /// Refuses while a freeze is on, unless a person says why it is an emergency.
    pub(super) fn of(
        freezes: &[Freeze],
        emergency: Option<&str>,
        now_ms: i64,
    ) -> Result<Option<Self>, ControlError> {
        if emergency.is_some_and(|reason| reason.trim().is_empty()) {
            return Err(ControlError::NoEmergency);
        }
        let on = match status(freezes, now_ms) {
            Ok(on) => on.filter(|it| it.active),
            // One that nobody can read holds up whatever is no emergency.
            Err(ControlError::Freeze { freeze, .. }) if emergency.is_some() => {
                let reason = emergency.unwrap_or_default().into();
                return Ok(Some(Self { freeze: Some(freeze), reason }));
            }
            Err(other) => return Err(other),
        };
        match (on, emergency) {
            (Some(freeze), None) => {
                Err(ControlError::Frozen { freeze: freeze.name, until: freeze.at, until_ms: freeze.at_ms })
            }
            (freeze, Some(reason)) => {
                Ok(Some(Self { freeze: freeze.map(|it| it.name), reason: reason.into() }))
            }
            (None, None) => Ok(None),
        }
    }

    /// Puts it on the record of a rollout.
    pub(super) fn record(
        &self,
        db: &Connection,
        fleet: &FleetId,
        rollout: RolloutId,
        who: &str,
        now_ms: i64,
    ) -> Result<(), ControlError> {
        let what = What::Emergency { freeze: self.freeze.clone(), reason: self.reason.clone() };
        Ok(append(db, fleet, Some(rollout), who, now_ms, &what)?)
    }
}
