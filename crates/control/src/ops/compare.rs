//! How two environments differ.

use std::collections::BTreeSet;

use kiln_model::Name;
use kiln_provider::Provider;
use rusqlite::Connection;

use super::ControlError;
use crate::api::{CompareAnswer, CompareRequest, Compared, Serving};
use crate::diff::differences;
use crate::digest::config_digest;
use crate::reconcile::Control;
use crate::state::{Stored, releases, services};
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Compares what serves in two environments.
    pub async fn compare(&self, request: CompareRequest) -> Result<CompareAnswer, ControlError> {
        self.state().transact(move |db| compare(db, &request)).await
    }
}

fn compare(db: &Connection, request: &CompareRequest) -> Result<CompareAnswer, ControlError> {
    let here = |environment: &Name| *environment == request.from || *environment == request.to;
    let ours = |project: &Name| request.project.as_ref().is_none_or(|wanted| wanted == project);
    let all = services::all(db)?.into_iter().filter(|it| here(&it.environment) && ours(&it.project));
    let names: BTreeSet<Name> = all.map(|it| it.service).collect();
    let one = |service: Name| {
        let from = current(db, &request.from, &service)?;
        let to = current(db, &request.to, &service)?;
        let differences = match (&from, &to) {
            (Some(from), Some(to)) => differences(&sized(from), &sized(to)),
            _ => Vec::new(),
        };
        Ok(Compared { service, from: from.as_ref().map(serving), to: to.as_ref().map(serving), differences })
    };
    let services = names.into_iter().map(one).collect::<Result<Vec<_>, ControlError>>()?;
    Ok(CompareAnswer {
        services: services.into_iter().filter(|it| it.from.is_some() || it.to.is_some()).collect(),
    })
}

/// The release that serves.
pub(super) fn current(
    db: &Connection,
    environment: &Name,
    service: &Name,
) -> Result<Option<Stored>, ControlError> {
    let Some(pointer) = services::get(db, environment, service)? else { return Ok(None) };
    match pointer.current {
        Some(release) => Ok(releases::get(db, &pointer.fleet(release))?),
        None => Ok(None),
    }
}

fn sized(stored: &Stored) -> kiln_model::ReleaseContent {
    let mut content = stored.release.content.clone();
    content.service.replicas = stored.replicas;
    content
}

fn serving(stored: &Stored) -> Serving {
    let release = &stored.release;
    Serving {
        release: release.number,
        image: release.content.image,
        config: config_digest(&release.content),
        author: release.author.clone(),
        created_ms: release.created_ms,
    }
}
