//! What was: releases, rollouts, and which images must be kept.

use std::collections::BTreeSet;

use kiln_model::Digest;
use kiln_provider::Provider;
use kiln_rollout::State;
use rusqlite::Connection;

use super::ControlError;
use super::hand::approvers;
use crate::api::{HistoryAnswer, HistoryEntry, HistoryQuery, ReferencesAnswer, RolloutStatus};
use crate::event::Event;
use crate::reconcile::{Control, World};
use crate::state::{Entry, StateError, Stored, events, quarantines, releases, rollouts, services};
use crate::traffic::Traffic;

/// Releases that are told of unless more are asked for.
const USUAL: u32 = 50;

/// Releases of each service that can be rolled back to at any time: what the field keeps (`revisionHistoryLimit`).
const WINDOW: u32 = 10;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Releases with what became of them, newest first.
    pub async fn history(&self, query: HistoryQuery) -> Result<HistoryAnswer, ControlError> {
        let told = self.state().transact(move |db| {
            let limit = query.limit.unwrap_or(USUAL);
            let found = releases::newest(db, query.environment.as_ref(), query.service.as_ref(), limit)?;
            found.into_iter().map(|stored| entry(db, stored)).collect::<Result<Vec<_>, ControlError>>()
        });
        Ok(HistoryAnswer { releases: told.await? })
    }

    /// Images that the store must keep.
    pub async fn references(&self) -> Result<ReferencesAnswer, ControlError> {
        let images = self.state().transact(referred).await?;
        Ok(ReferencesAnswer { images: images.into_iter().collect() })
    }

    /// At most `limit` events after one, oldest first.
    pub async fn events(&self, after: i64, limit: u32) -> Result<Vec<Event>, ControlError> {
        Ok(self.state().transact(move |db| events::after(db, after, limit)).await?)
    }
}

/// Images that releases refer to: those that run or are to run, that serve or served before, and that could be rolled
/// back to.
pub(crate) fn referred(db: &Connection) -> Result<BTreeSet<Digest>, StateError> {
    let mut images = BTreeSet::new();
    let world = World::load(db)?;
    images.extend(world.releases.values().map(|stored| stored.release.content.image));
    for pointer in &world.pointers {
        let (environment, service) = (Some(&pointer.environment), Some(&pointer.service));
        let recent = releases::newest(db, environment, service, WINDOW)?;
        images.extend(recent.iter().map(|stored| stored.release.content.image));
        for release in [pointer.current, pointer.previous].into_iter().flatten() {
            let stored = releases::get(db, &pointer.fleet(release))?;
            images.extend(stored.map(|stored| stored.release.content.image));
        }
    }
    Ok(images)
}

fn entry(db: &Connection, stored: Stored) -> Result<HistoryEntry, ControlError> {
    let fleet = stored.release.fleet();
    let pointer = services::get(db, &fleet.environment, &fleet.service)?;
    let blocked = quarantines::of(db, &fleet.environment, &fleet.service)?;
    let rollouts = rollouts::of_release(db, &fleet)?;
    let acts = events::acts(db, &fleet)?;
    Ok(HistoryEntry {
        acts,
        release: fleet.release,
        image: stored.release.content.image,
        digest: stored.release.digest,
        author: stored.release.author,
        reason: stored.release.reason,
        created_ms: stored.release.created_ms,
        current: pointer.is_some_and(|it| it.current == Some(fleet.release)),
        quarantined: blocked.iter().any(|it| it.digest == stored.release.digest),
        rollouts: rollouts.into_iter().map(rollout).collect(),
        environment: fleet.environment,
        service: fleet.service,
    })
}

/// A rollout as people are shown it.
pub(super) fn rollout(entry: Entry) -> RolloutStatus {
    let stage = match entry.engine.as_ref().map(|engine| &engine.state) {
        Some(State::Running { stage, .. }) => stage + 1,
        Some(State::Succeeded { .. }) => entry.engine.as_ref().map_or(0, |engine| engine.stages.len()),
        _ => 0,
    };
    let engine = entry.engine.as_ref();
    RolloutStatus {
        summary: engine.map(kiln_rollout::Rollout::summary),
        paused: engine.and_then(|engine| engine.paused.clone()),
        note: engine.and_then(|engine| engine.memory.note.clone()),
        approvers: engine.and_then(approvers),
        promotions: engine.map(|engine| engine.memory.promotions.clone()).unwrap_or_default(),
        emergency: entry.rules.emergency,
        id: entry.id,
        purpose: entry.purpose,
        status: entry.status,
        release: entry.fleet.release,
        old: entry.old,
        stage,
        gate: entry.engine.as_ref().and_then(|engine| engine.gate().cloned()),
        stages: entry.engine.map(|engine| engine.stages).unwrap_or_default(),
        reason: entry.reason,
        progress: entry.progress,
        author: entry.author,
        created_ms: entry.created_ms,
        ended_ms: entry.ended_ms,
    }
}
