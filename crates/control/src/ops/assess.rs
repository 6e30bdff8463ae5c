//! What a deploy means for each service, decided without doing anything: `plan` shows it, `deploy` does it.

use std::collections::BTreeMap;

use kiln_model::{Digest, FleetId, Name, ReleaseContent, ReleaseNumber};
use kiln_provider::Peer;
use rusqlite::Connection;

use super::ControlError;
use super::back::Open;
use crate::api::{Outcome, UnderWay};
use crate::digest::content_digest;
use crate::reconcile::begin;
use crate::state::{Pointer, Quarantine, Stored, quarantines, releases, rollouts, services};

/// What a deploy means for one service.
#[derive(Clone, Debug)]
pub(super) struct Assessed {
    pub(super) pointer: Pointer,
    pub(super) content: ReleaseContent,
    pub(super) digest: Digest,
    pub(super) open: Open,
    /// The release that serves now.
    pub(super) current: Option<Stored>,
    /// The release that will serve: a new number, or a known one.
    pub(super) release: ReleaseNumber,
    pub(super) outcome: Outcome,
    pub(super) quarantine: Option<Quarantine>,
    pub(super) peers: Vec<Peer>,
}

impl Assessed {
    pub(super) fn fleet(&self) -> FleetId {
        self.pointer.fleet(self.release)
    }

    /// The rollout under way that this deploy takes the place of.
    pub(super) fn supersedes(&self) -> Option<UnderWay> {
        let replaces = matches!(self.outcome, Outcome::Started | Outcome::Returning);
        self.open.target().filter(|_| replaces).map(UnderWay::of)
    }

    /// Instances of the release that serves now.
    pub(super) fn old_size(&self, db: &Connection) -> Result<Option<u32>, ControlError> {
        let Some(current) = self.pointer.current else { return Ok(None) };
        let all = crate::state::fleets::of(db, &self.pointer.environment, &self.pointer.service)?;
        Ok(all.into_iter().find(|it| it.fleet.release == current).map(|it| it.size))
    }
}

/// Assesses contents in the order given.
pub(super) fn assess(
    db: &Connection,
    environment: &Name,
    contents: &[ReleaseContent],
) -> Result<Vec<Assessed>, ControlError> {
    if contents.is_empty() {
        return Err(ControlError::Nothing);
    }
    let mut deployed: BTreeMap<Name, &ReleaseContent> = BTreeMap::new();
    let mut assessed = Vec::new();
    for content in contents {
        let peers = peers(db, environment, content, &deployed)?;
        if deployed.insert(content.service.name.clone(), content).is_some() {
            return Err(ControlError::Twice(content.service.name.clone()));
        }
        assessed.push(one(db, environment, content, peers)?);
    }
    Ok(assessed)
}

fn one(
    db: &Connection,
    environment: &Name,
    content: &ReleaseContent,
    peers: Vec<Peer>,
) -> Result<Assessed, ControlError> {
    let service = &content.service.name;
    let known = services::get(db, environment, service)?;
    let mut pointer = known.unwrap_or_else(|| Pointer {
        environment: environment.clone(),
        service: service.clone(),
        project: content.project.clone(),
        current: None,
        previous: None,
        leaving: false,
    });
    let open = Open::of(db, &pointer)?;
    own_project(db, &mut pointer, &open, content)?;
    let current = match pointer.current {
        Some(release) => releases::get(db, &pointer.fleet(release))?,
        None => None,
    };
    let target = match open.target() {
        Some(entry) => releases::get(db, &entry.fleet)?,
        None => current.clone(),
    };
    let digest = content_digest(content);
    let replicas = content.service.replicas;
    let (release, outcome) = match (target, &current) {
        (Some(target), _) if target.release.digest == digest && target.replicas == replicas => {
            (target.release.number, Outcome::Unchanged)
        }
        (Some(target), _) if target.release.digest == digest => {
            (target.release.number, Outcome::Resized { from: target.replicas, to: replicas })
        }
        (_, Some(current)) if current.release.digest == digest => {
            (current.release.number, Outcome::Returning)
        }
        _ => {
            let next = releases::next_number(db, environment, service)?;
            // The number before stays free for the baseline, so that the newest release is always the new one.
            let spare = current.is_some() && begin::compares(&content.service.rollout);
            (ReleaseNumber(next.0 + u64::from(spare)), Outcome::Started)
        }
    };
    let quarantine = match outcome {
        Outcome::Started => quarantined(db, &pointer, &digest)?,
        Outcome::Unchanged | Outcome::Resized { .. } | Outcome::Returning => None,
    };
    let content = content.clone();
    Ok(Assessed { pointer, content, digest, open, current, release, outcome, quarantine, peers })
}

/// A service keeps its project while anything of it is there.
fn own_project(
    db: &Connection,
    pointer: &mut Pointer,
    open: &Open,
    content: &ReleaseContent,
) -> Result<(), ControlError> {
    if pointer.project == content.project {
        return Ok(());
    }
    let here = pointer.current.is_some() || open.active.is_some() || open.waiting.is_some();
    if here || !crate::state::fleets::of(db, &pointer.environment, &pointer.service)?.is_empty() {
        return Err(ControlError::OtherProject {
            environment: pointer.environment.clone(),
            service: pointer.service.clone(),
            project: pointer.project.clone(),
            wanted: content.project.clone(),
        });
    }
    pointer.project = content.project.clone();
    Ok(())
}

pub(super) fn quarantined(
    db: &Connection,
    pointer: &Pointer,
    digest: &Digest,
) -> Result<Option<Quarantine>, ControlError> {
    let all = quarantines::of(db, &pointer.environment, &pointer.service)?;
    Ok(all.into_iter().find(|quarantine| quarantine.digest == *digest))
}

/// Each port of each service that it depends on.
fn peers(
    db: &Connection,
    environment: &Name,
    content: &ReleaseContent,
    deployed: &BTreeMap<Name, &ReleaseContent>,
) -> Result<Vec<Peer>, ControlError> {
    let mut peers = Vec::new();
    for dependency in &content.service.depends_on {
        let known = match deployed.get(dependency) {
            Some(content) => Some((*content).clone()),
            None => wanted(db, environment, dependency)?.map(|stored| stored.release.content),
        };
        let missing = || ControlError::Dependency {
            service: content.service.name.clone(),
            dependency: dependency.clone(),
        };
        let ports = known.ok_or_else(missing)?.config.ports;
        peers.extend(ports.values().map(|port| Peer { service: dependency.clone(), port: port.number }));
    }
    peers.sort();
    peers.dedup();
    Ok(peers)
}

/// The release of a service that serves, or will.
pub(super) fn wanted(
    db: &Connection,
    environment: &Name,
    service: &Name,
) -> Result<Option<Stored>, ControlError> {
    let Some(pointer) = services::get(db, environment, service)? else { return Ok(None) };
    let open = Open::of(db, &pointer)?;
    let release = open.target().map(|entry| entry.fleet.release).or(pointer.current);
    match release {
        Some(release) => Ok(releases::get(db, &pointer.fleet(release))?),
        None => Ok(None),
    }
}

/// The rollouts that must succeed before one of this content begins.
pub(super) fn before(
    db: &Connection,
    environment: &Name,
    content: &ReleaseContent,
) -> Result<Vec<(Name, i64)>, ControlError> {
    let mut before = Vec::new();
    for dependency in &content.service.depends_on {
        let entry = match rollouts::waiting(db, environment, dependency)? {
            Some(entry) => Some(entry),
            None => rollouts::active(db, environment, dependency)?,
        };
        before.extend(
            entry
                .filter(|it| it.engine.is_none() || super::back::goes_forward(it))
                .map(|it| (dependency.clone(), it.id)),
        );
    }
    Ok(before)
}
