//! Going back to an older release, aborting, and lifting quarantines.

use kiln_model::ReleaseNumber;
use kiln_provider::Provider;
use rusqlite::Connection;

use super::assess::quarantined;
use super::back::{Open, stay, turn_back};
use super::{ControlError, pointer};
use crate::api::{AbortAnswer, AbortRequest, LiftAnswer, LiftRequest, RollbackAnswer, RollbackRequest};
use crate::event::{Purpose, What};
use crate::reconcile::{Control, append, cancel};
use crate::state::{Entry, Pointer, RolloutState, Rules, events, quarantines, releases, rollouts};
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Goes back. While a rollout is under way and nothing else is named, that is to give it up: the old fleet still
    /// stands, and traffic goes back at once. Otherwise the older release is brought straight, without holds.
    pub async fn rollback(&self, request: RollbackRequest) -> Result<RollbackAnswer, ControlError> {
        self.intend(move |db, now| rollback(db, &request, now)).await
    }

    /// Gives up the rollout that is under way or waits.
    pub async fn abort(&self, request: AbortRequest) -> Result<AbortAnswer, ControlError> {
        self.intend(move |db, now| abort(db, &request, now)).await
    }

    /// Lifts quarantines of a service.
    pub async fn lift(&self, request: LiftRequest) -> Result<LiftAnswer, ControlError> {
        self.intend(move |db, now| lift(db, &request, now)).await
    }
}

fn rollback(db: &Connection, request: &RollbackRequest, now: i64) -> Result<RollbackAnswer, ControlError> {
    let after = events::last(db)?;
    let mut pointer = pointer(db, &request.environment, &request.service)?;
    let open = Open::of(db, &pointer)?;
    let under_way = open.active.as_ref().or(open.waiting.as_ref()).map(|it| (it.id, it.fleet.release));
    let home = request.release.is_none() || request.release == pointer.current;
    if let (Some((rollout, from)), true) = (under_way, home) {
        open.clear(db, &request.author, &told(request), now)?;
        return Ok(RollbackAnswer { from: Some(from), to: pointer.current, rollout, after });
    }
    let to = target(db, request, &pointer)?;
    if let Some(entry) = open.target().filter(|entry| entry.fleet.release == to) {
        return Ok(RollbackAnswer { from: pointer.current, to: Some(to), rollout: entry.id, after });
    }
    open.clear(db, &request.author, &format!("going back to release {to}"), now)?;
    stay(db, &mut pointer)?;
    let entry = Entry {
        id: 0,
        fleet: pointer.fleet(to),
        old: None,
        purpose: Purpose::Rollback,
        status: RolloutState::Waiting,
        engine: None,
        after: Vec::new(),
        progress: None,
        blameless: false,
        rules: Rules::default(),
        reason: request.reason.clone(),
        author: request.author.clone(),
        created_ms: now,
        ended_ms: None,
    };
    let rollout = rollouts::add(db, &entry)?;
    Ok(RollbackAnswer { from: pointer.current, to: Some(to), rollout, after })
}

fn told(request: &RollbackRequest) -> String {
    request.reason.clone().unwrap_or_else(|| format!("{} asked to go back", request.author))
}

fn target(
    db: &Connection,
    request: &RollbackRequest,
    pointer: &Pointer,
) -> Result<ReleaseNumber, ControlError> {
    let (environment, service) = (request.environment.clone(), request.service.clone());
    let Some(release) = request.release.or(pointer.previous) else {
        return Err(ControlError::NoEarlier { environment, service });
    };
    if pointer.current == Some(release) {
        return Err(ControlError::Serves { service, release });
    }
    let Some(stored) = releases::get(db, &pointer.fleet(release))? else {
        return Err(ControlError::NoRelease { environment, service, release });
    };
    // Another number for what serves already: going there and back would never end.
    if let Some(current) = pointer.current
        && let Some(serving) = releases::get(db, &pointer.fleet(current))?
        && serving.release.digest == stored.release.digest
    {
        return Err(ControlError::SameContent { service, release, current });
    }
    match quarantined(db, pointer, &stored.release.digest)? {
        Some(found) => Err(ControlError::BackToQuarantined {
            service,
            release,
            failed: found.release,
            reason: found.reason,
        }),
        None => Ok(release),
    }
}

fn abort(db: &Connection, request: &AbortRequest, now: i64) -> Result<AbortAnswer, ControlError> {
    let after = events::last(db)?;
    let pointer = pointer(db, &request.environment, &request.service)?;
    let open = Open::of(db, &pointer)?;
    let reason = request.reason.clone().unwrap_or_else(|| format!("{} asked for it", request.author));
    match open {
        Open { waiting: Some(mut entry), .. } => {
            cancel(db, &mut entry, reason, now)?;
            Ok(AbortAnswer { rollout: entry.id, release: entry.fleet.release, after })
        }
        Open { active: Some(mut entry), .. } => {
            turn_back(db, &mut entry, &request.author, &reason, now)?;
            Ok(AbortAnswer { rollout: entry.id, release: entry.fleet.release, after })
        }
        Open { active: None, waiting: None } => Err(ControlError::NoRollout {
            environment: request.environment.clone(),
            service: request.service.clone(),
        }),
    }
}

fn lift(db: &Connection, request: &LiftRequest, now: i64) -> Result<LiftAnswer, ControlError> {
    let pointer = pointer(db, &request.environment, &request.service)?;
    let only = match request.release {
        None => None,
        Some(release) => {
            let stored = releases::get(db, &pointer.fleet(release))?;
            let missing = || ControlError::NoRelease {
                environment: request.environment.clone(),
                service: request.service.clone(),
                release,
            };
            Some(stored.ok_or_else(missing)?.release.digest)
        }
    };
    let mut lifted = Vec::new();
    for quarantine in quarantines::of(db, &pointer.environment, &pointer.service)? {
        let digest = quarantine.digest;
        if only.is_some_and(|only| only != digest) {
            continue;
        }
        quarantines::lift(db, &pointer.environment, &pointer.service, &digest)?;
        let fleet = pointer.fleet(quarantine.release);
        append(db, &fleet, None, &request.author, now, &What::Lifted { digest })?;
        lifted.push(digest);
    }
    Ok(LiftAnswer { lifted })
}
