//! A person's hand on rollouts: pause, resume, promote, retry.

use std::collections::BTreeMap;

use kiln_model::Name;
use kiln_provider::Provider;
use kiln_rollout::{Act, FleetView, Rollout, State, View};
use rusqlite::Connection;

use super::back::{Open, stay};
use super::freeze::Pass;
use super::{ControlError, pointer};
use crate::api::{HandAnswer, HandRequest, PromoteRequest, RetryRequest, UnderWay};
use crate::event::What;
use crate::reconcile::{Control, append};
use crate::state::{Entry, Pointer, RolloutState, Rules, events, quarantines, releases, rollouts};
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Stops the rollout that is under way where it is; failures still bring the old release back.
    pub async fn pause(&self, request: HandRequest) -> Result<HandAnswer, ControlError> {
        self.intend(move |db, now| pause(db, &request, now)).await
    }

    /// Lets a stopped rollout go on.
    pub async fn resume(&self, request: HandRequest) -> Result<HandAnswer, ControlError> {
        self.intend(move |db, now| resume(db, &request, now)).await
    }

    /// Lets the rollout that is under way pass the gate that it waits for.
    pub async fn promote(&self, request: PromoteRequest) -> Result<HandAnswer, ControlError> {
        self.intend(move |db, now| promote(db, &request, now)).await
    }

    /// Tries the last rollout again: one that failed goes on where it stood, one that was rolled back or given up
    /// begins anew with the same release.
    pub async fn retry(&self, request: RetryRequest) -> Result<HandAnswer, ControlError> {
        let view = self.failed_starts();
        let (environment, service) = (request.environment.clone(), request.service.clone());
        let failed = self.state().transact(move |db| rollouts::active(db, &environment, &service)).await?;
        // No round looks at checks of a failed rollout, so that what they said is forgotten before they run again.
        if let Some(entry) = failed.filter(|entry| entry.status == RolloutState::Failed) {
            self.memory().check_anew(entry.id);
        }
        self.intend(move |db, now| retry(db, &request, &view, now)).await
    }

    /// What has failed up to now: only what fails from here on counts against what is tried again.
    fn failed_starts(&self) -> View {
        let memory = self.memory();
        let fleets = memory.observation.fleets.iter().map(|(id, fleet)| {
            (id.clone(), FleetView { failed_starts: fleet.failed_starts, ..FleetView::default() })
        });
        View { fleets: fleets.collect::<BTreeMap<_, _>>(), ..View::default() }
    }
}

impl UnderWay {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            rollout: entry.id,
            release: entry.fleet.release,
            author: entry.author.clone(),
            since_ms: entry.created_ms,
        }
    }
}

/// The rollout of a service that has begun, with its engine.
fn begun(db: &Connection, environment: &Name, service: &Name) -> Result<(Entry, Rollout), ControlError> {
    let pointer = pointer(db, environment, service)?;
    let open = Open::of(db, &pointer)?;
    let (environment, service) = (environment.clone(), service.clone());
    match open {
        Open { active: Some(mut entry), .. } => match entry.engine.take() {
            Some(engine) => Ok((entry, engine)),
            None => Err(ControlError::NotBegun { service, under_way: UnderWay::of(&entry) }),
        },
        Open { active: None, waiting: Some(entry) } => {
            Err(ControlError::NotBegun { service, under_way: UnderWay::of(&entry) })
        }
        Open { active: None, waiting: None } => Err(ControlError::NoRollout { environment, service }),
    }
}

/// Writes the engine's new state down together with who did what.
fn written(
    db: &Connection,
    entry: Entry,
    engine: Rollout,
    (who, now): (&str, i64),
    what: &What,
) -> Result<HandAnswer, ControlError> {
    let after = events::last(db)?;
    let sentence = engine.summary().sentence;
    let entry = Entry { engine: Some(engine), ..entry };
    rollouts::update(db, &entry)?;
    append(db, &entry.fleet, Some(entry.id), who, now, what)?;
    Ok(HandAnswer { rollout: entry.id, release: entry.fleet.release, sentence, after })
}

fn pause(db: &Connection, request: &HandRequest, now: i64) -> Result<HandAnswer, ControlError> {
    let (entry, engine) = begun(db, &request.environment, &request.service)?;
    let act = Act { by: request.author.clone(), reason: request.reason.clone(), at_ms: now };
    let engine = kiln_rollout::pause(&engine, act)?;
    let what = What::Paused { reason: request.reason.clone() };
    written(db, entry, engine, (&request.author, now), &what)
}

fn resume(db: &Connection, request: &HandRequest, now: i64) -> Result<HandAnswer, ControlError> {
    let (entry, engine) = begun(db, &request.environment, &request.service)?;
    let engine = kiln_rollout::resume(&engine, now)?;
    let what = What::Resumed { reason: request.reason.clone() };
    written(db, entry, engine, (&request.author, now), &what)
}

fn promote(db: &Connection, request: &PromoteRequest, now: i64) -> Result<HandAnswer, ControlError> {
    let (mut entry, engine) = begun(db, &request.environment, &request.service)?;
    let after = events::last(db)?;
    if let Some(emergency) = &request.emergency {
        if let Some(pass) = Pass::of(&entry.rules.freezes, Some(emergency), now)? {
            pass.record(db, &entry.fleet, entry.id, &request.author, now)?;
        }
        entry.rules.emergency = Some(emergency.clone());
    }
    let stage = engine.summary().stage;
    let gate = engine.gate().cloned();
    let act = Act { by: request.author.clone(), reason: request.reason.clone(), at_ms: now };
    let promoted = match kiln_rollout::promote(&engine, act, request.all) {
        // The freeze was all that it waited for.
        Err(kiln_rollout::HandError::NotPromotable { .. }) if request.emergency.is_some() => {
            let sentence = engine.summary().sentence;
            let (rollout, release) = (entry.id, entry.fleet.release);
            rollouts::update(db, &Entry { engine: Some(engine), ..entry })?;
            return Ok(HandAnswer { rollout, release, sentence, after });
        }
        other => other?,
    };
    let what = What::Promoted { stage, gate, all: request.all, reason: request.reason.clone() };
    let answer = written(db, entry, promoted, (&request.author, now), &what)?;
    Ok(HandAnswer { after, ..answer })
}

fn retry(db: &Connection, request: &RetryRequest, view: &View, now: i64) -> Result<HandAnswer, ControlError> {
    let pointer = pointer(db, &request.environment, &request.service)?;
    let open = Open::of(db, &pointer)?;
    let service = request.service.clone();
    if let Some(entry) = open.waiting {
        return Err(ControlError::UnderWay { service, under_way: UnderWay::of(&entry), now_ms: now });
    }
    match open.active {
        Some(entry) if entry.status != RolloutState::Failed => {
            Err(ControlError::UnderWay { service, under_way: UnderWay::of(&entry), now_ms: now })
        }
        Some(entry) => go_on(db, request, entry, view, now),
        None => anew(db, request, pointer, now),
    }
}

/// The failed rollout goes on from the stage that it had come to.
fn go_on(
    db: &Connection,
    request: &RetryRequest,
    mut entry: Entry,
    view: &View,
    now: i64,
) -> Result<HandAnswer, ControlError> {
    let Some(engine) = entry.engine.take() else {
        let (environment, service) = (request.environment.clone(), request.service.clone());
        return Err(ControlError::NothingFailed { environment, service });
    };
    let pass = Pass::of(&entry.rules.freezes, request.emergency.as_deref(), now)?;
    let after = events::last(db)?;
    if let Some(pass) = pass {
        pass.record(db, &entry.fleet, entry.id, &request.author, now)?;
        entry.rules.emergency.clone_from(&request.emergency);
    }
    let engine = kiln_rollout::retry(&engine, view, now)?;
    entry.status = RolloutState::Running;
    entry.reason = None;
    entry.ended_ms = None;
    let what = What::Retried { instead: None, reason: request.reason.clone() };
    let answer = written(db, entry, engine, (&request.author, now), &what)?;
    Ok(HandAnswer { after, ..answer })
}

/// The release of the last rollout is brought by a new one.
fn anew(
    db: &Connection,
    request: &RetryRequest,
    mut pointer: Pointer,
    now: i64,
) -> Result<HandAnswer, ControlError> {
    let (environment, service) = (request.environment.clone(), request.service.clone());
    let last = rollouts::last(db, &environment, &service)?.filter(|entry| {
        let ended = matches!(entry.status, RolloutState::RolledBack | RolloutState::Cancelled);
        ended && pointer.current != Some(entry.fleet.release)
    });
    let Some(last) = last else { return Err(ControlError::NothingFailed { environment, service }) };
    let release = last.fleet.release;
    let Some(stored) = releases::get(db, &last.fleet)? else {
        return Err(ControlError::NoRelease { environment, service, release });
    };
    let pass = Pass::of(&last.rules.freezes, request.emergency.as_deref(), now)?;
    let (after, who) = (events::last(db)?, request.author.as_str());
    let digest = stored.release.digest;
    if quarantines::lift(db, &environment, &service, &digest)? {
        append(db, &last.fleet, None, who, now, &What::Lifted { digest })?;
    }
    stay(db, &mut pointer)?;
    let rules = Rules { group: None, emergency: request.emergency.clone(), ..last.rules.clone() };
    let entry = again(&last, request, rules, now);
    let rollout = rollouts::add(db, &entry)?;
    let what = What::Retried { instead: Some(last.id), reason: request.reason.clone() };
    append(db, &entry.fleet, Some(rollout), who, now, &what)?;
    if let Some(pass) = pass {
        pass.record(db, &entry.fleet, rollout, who, now)?;
    }
    let sentence = format!("{}: begins again", entry.fleet);
    Ok(HandAnswer { rollout, release, sentence, after })
}

fn again(last: &Entry, request: &RetryRequest, rules: Rules, now: i64) -> Entry {
    Entry {
        id: 0,
        old: None,
        status: RolloutState::Waiting,
        engine: None,
        after: Vec::new(),
        progress: None,
        blameless: false,
        rules,
        reason: request.reason.clone(),
        author: request.author.clone(),
        created_ms: now,
        ended_ms: None,
        ..last.clone()
    }
}

/// Who approves, while a rollout waits for that.
pub(super) fn approvers(engine: &Rollout) -> Option<Vec<String>> {
    let waits =
        matches!(engine.state, State::Running { .. }) && engine.gate() == Some(&kiln_rollout::Gate::Approved);
    waits.then(|| engine.spec.approval.as_ref().map(|it| it.by.clone()).unwrap_or_default())
}
