//! Planning: what a deploy would do.

use kiln_provider::Provider;
use rusqlite::Connection;

use super::ControlError;
use super::assess::{Assessed, assess};
use super::back::goes_forward;
use super::validate::validate;
use crate::api::{Outcome, PlanAnswer, PlanRequest, Planned};
use crate::diff::differences;
use crate::reconcile::Control;
use crate::state::fleets;
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Tells what a deploy would do, without doing it.
    pub async fn plan(&self, request: PlanRequest) -> Result<PlanAnswer, ControlError> {
        let peers = self.peers().clone();
        let planned = self.state().transact(move |db| {
            let assessed = assess(db, &request.environment, &request.releases)?;
            validate(db, &assessed, &peers)?;
            assessed.into_iter().map(|one| planned(db, one)).collect::<Result<Vec<_>, ControlError>>()
        });
        Ok(PlanAnswer { services: planned.await? })
    }
}

fn planned(db: &Connection, one: Assessed) -> Result<Planned, ControlError> {
    let against = one.current.as_ref().map(|current| {
        let mut content = current.release.content.clone();
        content.service.replicas = current.replicas;
        content
    });
    let stages = match one.outcome {
        Outcome::Started => {
            let old = match one.pointer.current {
                Some(current) => {
                    let all = fleets::of(db, &one.pointer.environment, &one.pointer.service)?;
                    all.into_iter().find(|it| it.fleet.release == current).map(|it| it.size)
                }
                None => None,
            };
            let service = &one.content.service;
            kiln_rollout::plan(&service.rollout, service.replicas, old)
                .map_err(|source| ControlError::Plan { service: service.name.clone(), source })?
        }
        Outcome::Unchanged | Outcome::Resized { .. } | Outcome::Returning => Vec::new(),
    };
    let under_way = one.open.waiting.as_ref().or(one.open.active.as_ref().filter(|it| goes_forward(it)));
    let replaces = under_way.map(|entry| entry.fleet.release).filter(|release| *release != one.release);
    Ok(Planned {
        service: one.pointer.service.clone(),
        current: one.pointer.current,
        release: one.release,
        outcome: one.outcome,
        stages,
        differences: against.map(|old| differences(&old, &one.content)).unwrap_or_default(),
        replaces,
        quarantined: one
            .quarantine
            .map(|it| format!("release {} was rolled back: {}", it.release, it.reason)),
    })
}
