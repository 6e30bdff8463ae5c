//! Fleets: sizes wished, instances made and taken out to match.

use std::sync::Arc;

use kiln_model::{FleetId, InstanceId};
use kiln_provider::{FleetSpec, Phase, RetireReason};

use super::state::{Fleet, FleetWish, Instance};
use super::{Inner, life};
use crate::error::LocalError;
use crate::files;

/// Why a fleet could not be ensured.
pub(super) enum EnsureError {
    Changed,
    Local(LocalError),
}

/// Writes the wish down, then acts on it.
pub(super) async fn ensure(inner: &Arc<Inner>, spec: FleetSpec, size: u32) -> Result<(), EnsureError> {
    let id = spec.release.fleet();
    let wish = FleetWish { spec, size };
    if let Some(known) = inner.state().fleets.get(&id) {
        if known.wish.spec.release.content != wish.spec.release.content {
            return Err(EnsureError::Changed);
        }
        if known.wish.size == size && known.wish.spec.peers == wish.spec.peers {
            return Ok(());
        }
    }
    let written = wish.clone();
    inner.blocking(move |inner| write(inner, &written)).await.map_err(EnsureError::Local)?;
    match inner.state().fleets.entry(id.clone()) {
        std::collections::btree_map::Entry::Occupied(mut known) => known.get_mut().wish = wish,
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(Fleet::new(wish));
        }
    }
    reconcile(inner, &id);
    inner.touch();
    Ok(())
}

fn write(inner: &Inner, wish: &FleetWish) -> Result<(), LocalError> {
    let file = inner.layout.fleet(&wish.spec.release.fleet());
    let bytes = serde_json::to_vec(wish).map_err(|error| LocalError::file("write", &file)(error.into()))?;
    files::replace_durably(&file, &bytes).map_err(LocalError::file("write", file))
}

/// Starts what is missing and takes out what is too many.
pub(super) fn reconcile(inner: &Arc<Inner>, id: &FleetId) {
    let now = inner.now_ms();
    let mut new = Vec::new();
    {
        let mut state = inner.state();
        let Some(fleet) = state.fleets.get(id) else { return };
        let wanted = fleet.wish.size as usize;
        let not_before_ms = fleet.backoff.not_before_ms();
        let there = state.staying(id);
        for _ in there..wanted {
            let name = InstanceId(format!("{}-{}-{}", id.service, id.release, (inner.config.ids)()));
            let mut instance = Instance::new(id.clone(), now);
            instance.not_before_ms = not_before_ms;
            state.instances.insert(name.clone(), instance);
            new.push(name);
        }
        for surplus in state.surplus(id, there.saturating_sub(wanted)) {
            if let Some(instance) = state.instances.get_mut(&surplus) {
                instance.retire(RetireReason::Surplus);
                if let Some(retiring) = instance.retiring {
                    // The wish itself is in the fleet's file: a lost note only means that another is chosen.
                    let _ = inner.note_retiring(&surplus, retiring);
                }
            }
        }
    }
    for instance in new {
        life::begin(inner, instance, None);
    }
}

/// An instance has ended: replaces it where one is missing, and forgets the oldest dead.
pub(super) fn after_end(inner: &Arc<Inner>, id: &FleetId) {
    reconcile(inner, id);
    let forgotten = inner.state().forget_old_dead(id);
    bury(inner, &forgotten);
    inner.touch();
}

/// Removes the folders of forgotten instances.
pub(super) fn bury(inner: &Inner, forgotten: &[InstanceId]) {
    for instance in forgotten {
        // Whatever remains is found and removed at the next opening.
        let _ = std::fs::remove_dir_all(inner.layout.instance(instance).path());
    }
}

/// Forgets a fleet of size 0 without living instances; another is refused.
pub(super) async fn remove(inner: &Arc<Inner>, id: &FleetId) -> Result<(), LocalError> {
    let forgotten = {
        let mut state = inner.state();
        let Some(fleet) = state.fleets.get(id) else { return Ok(()) };
        let living = |instance: &Instance| instance.fleet == *id && instance.phase != Phase::Exited;
        let living = state.instances.values().filter(|instance| living(instance)).count();
        if fleet.wish.size > 0 || living > 0 {
            return Err(LocalError::FleetLives { fleet: id.clone(), size: fleet.wish.size, living });
        }
        state.fleets.remove(id);
        state.forget_dead(id, 0)
    };
    let file = inner.layout.fleet(id);
    inner
        .blocking(move |inner| {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LocalError::file("remove", file)(error));
                }
                _ => {}
            }
            bury(inner, &forgotten);
            Ok(())
        })
        .await?;
    inner.touch();
    Ok(())
}
