//! Services that were deployed together: when one is turned back, those it was deployed with go back too, in reverse
//! order, so that nobody runs against a release that was made for another one.

use std::collections::BTreeSet;

use kiln_model::Name;
use rusqlite::Connection;

use super::world::append;
use crate::event::{KILN, Purpose, RolloutId, What};
use crate::state::{Entry, RolloutState, Rules, StateError, releases, rollouts, services};

/// Sets off the rollbacks of those that were deployed together with `failed` and hang together with it by `depends_on`.
/// The one that was deployed last goes first. What a person turned back stands alone.
pub(super) fn take_back(db: &Connection, failed: &Entry, now_ms: i64) -> Result<(), StateError> {
    let Some(group) = failed.rules.group.filter(|_| failed.purpose == Purpose::Deploy && !failed.blameless)
    else {
        return Ok(());
    };
    let all = rollouts::of_group(db, group)?;
    let near = near(db, &all, failed)?;
    let done = all.iter().filter(|it| it.status == RolloutState::Succeeded && near.contains(&it.id));
    let mut before: Vec<RolloutId> = Vec::new();
    for entry in done.rev() {
        let Some(pointer) = services::get(db, &entry.fleet.environment, &entry.fleet.service)? else {
            continue;
        };
        // Whoever has moved on since, or had nothing before, stays.
        let moved = pointer.current != Some(entry.fleet.release) || entry.old.is_none();
        let busy = rollouts::waiting(db, &pointer.environment, &pointer.service)?.is_some()
            || rollouts::active(db, &pointer.environment, &pointer.service)?.is_some();
        let Some(old) = entry.old.filter(|_| !moved && !busy) else { continue };
        let (service, release) = (&failed.fleet.service, failed.fleet.release);
        let reason = format!("{service} release {release}, with which it was deployed, was turned back");
        let rollback = Entry {
            id: 0,
            fleet: pointer.fleet(old),
            old: None,
            purpose: Purpose::Rollback,
            status: RolloutState::Waiting,
            engine: None,
            after: before.clone(),
            progress: None,
            blameless: false,
            rules: Rules::default(),
            reason: Some(reason),
            author: KILN.into(),
            created_ms: now_ms,
            ended_ms: None,
        };
        let id = rollouts::add(db, &rollback)?;
        let after = BTreeSet::from([failed.fleet.service.clone()]);
        let what = What::Waiting { after: after.into_iter().collect() };
        append(db, &rollback.fleet, Some(id), KILN, now_ms, &what)?;
        before.push(id);
    }
    Ok(())
}

/// The rollouts that hang together with one by `depends_on`, over any number of others.
fn near(db: &Connection, all: &[Entry], from: &Entry) -> Result<BTreeSet<RolloutId>, StateError> {
    let mut needs: Vec<(RolloutId, Name, Vec<Name>)> = Vec::new();
    for entry in all {
        let stored = releases::get(db, &entry.fleet)?;
        let depends = stored.map(|it| it.release.content.service.depends_on).unwrap_or_default();
        needs.push((entry.id, entry.fleet.service.clone(), depends));
    }
    let mut found = BTreeSet::from([from.fleet.service.clone()]);
    loop {
        let touches = |(_, service, depends): &&(RolloutId, Name, Vec<Name>)| {
            let called = needs.iter().any(|(_, it, on)| found.contains(it) && on.contains(service));
            !found.contains(service) && (called || depends.iter().any(|it| found.contains(it)))
        };
        let more: Vec<Name> = needs.iter().filter(touches).map(|it| it.1.clone()).collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    Ok(needs.into_iter().filter(|it| found.contains(&it.1)).map(|it| it.0).collect())
}
