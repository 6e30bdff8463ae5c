//! Planning: what a deploy would do.

use kiln_provider::Provider;
use rusqlite::Connection;

use super::ControlError;
use super::assess::{Assessed, assess};
use super::freeze;
use super::validate::{stages, validate};
use crate::api::{Outcome, PlanAnswer, PlanRequest, Planned};
use crate::diff::differences;
use crate::reconcile::Control;
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Tells what a deploy would do, without doing it.
    pub async fn plan(&self, request: PlanRequest) -> Result<PlanAnswer, ControlError> {
        let peers = self.peers().clone();
        let now = self.now_ms();
        let planned = self.state().transact(move |db| {
            let assessed = assess(db, &request.environment, &request.releases)?;
            validate(db, &assessed, &peers)?;
            let services = assessed.into_iter().map(|one| planned(db, one)).collect::<Result<_, _>>()?;
            Ok::<_, ControlError>(PlanAnswer { services, freeze: freeze::status(&request.freezes, now)? })
        });
        planned.await
    }
}

fn planned(db: &Connection, one: Assessed) -> Result<Planned, ControlError> {
    let against = one.current.as_ref().map(|current| {
        let mut content = current.release.content.clone();
        content.service.replicas = current.replicas;
        content
    });
    let stages = match one.outcome {
        Outcome::Started => stages(&one, one.old_size(db)?)?,
        Outcome::Unchanged | Outcome::Resized { .. } | Outcome::Returning => Vec::new(),
    };
    let supersedes = one.supersedes();
    Ok(Planned {
        service: one.pointer.service.clone(),
        current: one.pointer.current,
        release: one.release,
        outcome: one.outcome,
        rollout: (!stages.is_empty()).then(|| one.content.service.rollout.clone()),
        stages,
        differences: against.map(|old| differences(&old, &one.content)).unwrap_or_default(),
        replaces: supersedes.as_ref().map(|it| it.release),
        supersedes,
        quarantined: one
            .quarantine
            .map(|it| format!("release {} was rolled back: {}", it.release, it.reason)),
    })
}
