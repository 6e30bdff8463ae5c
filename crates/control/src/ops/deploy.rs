//! Deploying.

use std::collections::BTreeSet;

use kiln_provider::Provider;
use rusqlite::Connection;

use super::ControlError;
use super::assess::{Assessed, assess, before};
use super::back::stay;
use super::freeze::Pass;
use super::prove::Proof;
use super::validate::{as_stored, validate};
use crate::api::{DeployAnswer, DeployRequest, Deployed, Outcome};
use crate::diff::differences;
use crate::event::{Purpose, RolloutId, What};
use crate::reconcile::{Control, append};
use crate::routes::PeerListen;
use crate::state::{
    Desired, Entry, RolloutState, Rules, Stored, events, fleets, quarantines, releases, rollouts,
};
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Records releases and sets off their rollouts, all or none.
    pub async fn deploy(&self, request: DeployRequest) -> Result<DeployAnswer, ControlError> {
        let peers = self.peers().clone();
        let proof = self.proof(&request).await?;
        for release in &request.releases {
            let service = release.service.name.clone();
            let ready = self.provider().check(release).await;
            ready.map_err(|source| ControlError::NotReady { service, source })?;
        }
        self.intend(move |db, now| deploy(db, &request, proof.as_ref(), &peers, now)).await
    }
}

fn deploy(
    db: &Connection,
    request: &DeployRequest,
    proof: Option<&Proof>,
    peers: &PeerListen,
    now: i64,
) -> Result<DeployAnswer, ControlError> {
    let after = events::last(db)?;
    if let Some(proof) = proof {
        proof.judge(db, request)?;
    }
    let assessed = assess(db, &request.environment, &request.releases)?;
    validate(db, &assessed, peers)?;
    if let Some(quarantine) = assessed.iter().find_map(|it| it.quarantine.as_ref()).filter(|_| !request.force)
    {
        return Err(ControlError::Quarantined {
            service: quarantine.service.clone(),
            release: quarantine.release,
            reason: quarantine.reason.clone(),
        });
    }
    let begins = assessed.iter().any(|one| one.outcome == Outcome::Started);
    let pass = match begins {
        true => Pass::of(&request.freezes, request.emergency.as_deref(), now)?,
        false => None,
    };
    let mut answers = Vec::new();
    let mut group = None;
    for one in assessed {
        let (service, release, outcome) = (one.pointer.service.clone(), one.release, one.outcome.clone());
        let supersedes = one.supersedes();
        let (fleet, begins) = (one.fleet(), outcome == Outcome::Started);
        let rollout = carry_out(db, request, one, now)?;
        if let Some(id) = rollout.filter(|_| begins) {
            join(db, id, *group.get_or_insert(id))?;
            if let Some(pass) = &pass {
                pass.record(db, &fleet, id, &request.author, now)?;
            }
            if let Some(proof) = proof {
                proof.record(db, request, &fleet, id, now)?;
            }
        }
        answers.push(Deployed { service, release, outcome, rollout, supersedes });
    }
    Ok(DeployAnswer { services: answers, after })
}

/// Rollouts that are asked for together name the first of them.
fn join(db: &Connection, id: RolloutId, group: RolloutId) -> Result<(), ControlError> {
    if let Some(mut entry) = rollouts::get(db, id)? {
        entry.rules.group = Some(group);
        rollouts::update(db, &entry)?;
    }
    Ok(())
}

fn carry_out(
    db: &Connection,
    request: &DeployRequest,
    one: Assessed,
    now: i64,
) -> Result<Option<RolloutId>, ControlError> {
    let who = request.author.as_str();
    let under_way = one.open.target().map(|entry| entry.id);
    match one.outcome {
        Outcome::Unchanged => Ok(under_way),
        Outcome::Resized { from, to } => {
            resize(db, &one, who, (from, to), now)?;
            Ok(under_way)
        }
        Outcome::Returning => {
            let active = one.open.active.as_ref().map(|entry| entry.id);
            let reason = format!("release {} is wanted again", one.release);
            releases::resize(db, &one.fleet(), one.content.service.replicas)?;
            one.open.clear(db, who, &reason, now)?;
            Ok(active)
        }
        Outcome::Started => start(db, request, one, now).map(Some),
    }
}

/// The fleet that serves is resized where it stands; one on its way gets its size when it has arrived.
fn resize(
    db: &Connection,
    one: &Assessed,
    who: &str,
    (from, to): (u32, u32),
    now: i64,
) -> Result<(), ControlError> {
    let fleet = one.fleet();
    releases::resize(db, &fleet, to)?;
    if one.open.active.is_none() {
        let all = fleets::of(db, &fleet.environment, &fleet.service)?;
        if let Some(desired) = all.into_iter().find(|it| it.fleet == fleet) {
            fleets::put(db, &Desired { size: to, ..desired })?;
        }
    }
    append(db, &fleet, None, who, now, &What::Resized { from, to })?;
    Ok(())
}

fn start(
    db: &Connection,
    request: &DeployRequest,
    mut one: Assessed,
    now: i64,
) -> Result<RolloutId, ControlError> {
    let (fleet, who) = (one.fleet(), request.author.as_str());
    let stored = recorded(&one, request, now);
    let against = one.current.as_ref().map(|current| &current.release.content);
    let differences = against.map(|old| differences(old, &one.content)).unwrap_or_default();
    if one.quarantine.is_some() && quarantines::lift(db, &fleet.environment, &fleet.service, &one.digest)? {
        append(db, &fleet, None, who, now, &What::Lifted { digest: one.digest })?;
    }
    releases::add(db, &stored)?;
    stay(db, &mut one.pointer)?;
    let (image, reason) = (one.content.image, request.reason.clone());
    append(db, &fleet, None, who, now, &What::Released { image, digest: one.digest, reason, differences })?;
    let blocked = one.open.active.is_some();
    let replaced = format!("superseded by release {}", one.release);
    std::mem::take(&mut one.open).clear(db, who, &replaced, now)?;
    let before = before(db, &fleet.environment, &one.content)?;
    let entry = waiting(&one, request, before.iter().map(|(_, id)| *id).collect(), now);
    let id = rollouts::add(db, &entry)?;
    if blocked || !before.is_empty() {
        let after: BTreeSet<_> = before.into_iter().map(|(service, _)| service).collect();
        append(db, &fleet, Some(id), who, now, &What::Waiting { after: after.into_iter().collect() })?;
    }
    Ok(id)
}

fn recorded(one: &Assessed, request: &DeployRequest, now: i64) -> Stored {
    let mut stored = as_stored(one);
    stored.release.created_ms = now;
    stored.release.author = request.author.clone();
    stored.release.reason = request.reason.clone();
    stored
}

fn waiting(one: &Assessed, request: &DeployRequest, after: Vec<RolloutId>, now: i64) -> Entry {
    Entry {
        id: 0,
        fleet: one.fleet(),
        old: None,
        purpose: Purpose::Deploy,
        status: RolloutState::Waiting,
        engine: None,
        after,
        progress: None,
        blameless: false,
        rules: Rules { group: None, freezes: request.freezes.clone(), emergency: request.emergency.clone() },
        reason: request.reason.clone(),
        author: request.author.clone(),
        created_ms: now,
        ended_ms: None,
    }
}
