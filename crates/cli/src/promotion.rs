//! Promotion: the images that serve in one environment, with the configuration of the next.

use std::collections::BTreeMap;

use kiln_control::api::{DeployAnswer, ProveAnswer, ProveRequest, StatusAnswer};
use kiln_model::{Digest, Name};
use kiln_spec::Loaded;

use crate::context::Context;
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::rolling::{self, Prepared};
use crate::verbs::deploy::What;
use crate::{baking, evidence, release};

/// What would be promoted.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Where it serves.
    pub(crate) from: Name,
    /// Image by service.
    pub(crate) images: BTreeMap<Name, Digest>,
}

/// The environment that images are promoted from: the one that was named, or the one before in the spec.
pub(crate) fn source(loaded: &Loaded, environment: &Name, named: Option<&Name>) -> Result<Name> {
    if let Some(name) = named {
        rolling::environment(loaded, name)?;
        return Ok(name.clone());
    }
    rolling::environment(loaded, environment)?;
    loaded.project.promoted_from(environment).cloned().ok_or_else(|| {
        Failure::new(Kind::NotFound, format!("nothing comes before environment {environment} in the spec"))
            .hint(format!(
                "`kiln deploy -e {environment}` deploys there; `--from` names an environment to promote from"
            ))
    })
}

/// The images that serve where they are promoted from.
pub(crate) fn candidate(
    loaded: &Loaded,
    status: &StatusAnswer,
    from: Name,
    services: &[Name],
) -> Result<Candidate> {
    let project = &loaded.project.name;
    let serving = |service: &Name| {
        let here = status.services.iter().filter(|it| it.environment == from && it.project == *project);
        here.filter(|it| it.service == *service).find_map(|it| it.image)
    };
    let mut images = BTreeMap::new();
    for service in services {
        let Some(image) = serving(service) else {
            return Err(Failure::new(Kind::NotFound, format!("service {service} does not serve in {from}"))
                .hint(format!("`kiln ship` brings it there; `kiln status` shows what serves in {from}")));
        };
        images.insert(service.clone(), image);
    }
    Ok(Candidate { from, images })
}

/// What is deployed when a candidate is promoted.
pub(crate) fn prepare(
    loaded: Loaded,
    environment: &Name,
    services: &[Name],
    candidate: &Candidate,
    bypass: Option<String>,
) -> Result<Prepared> {
    let store = crate::context::store()?;
    let mut images = BTreeMap::new();
    for (service, digest) in &candidate.images {
        let config = baking::carried(&store, digest)?;
        images.insert(service.clone(), release::Image { digest: *digest, config });
    }
    let serving = |service: &kiln_model::Service| images.get(&service.name).cloned();
    let contents = release::contents(&loaded, environment, services, serving)?;
    let freezes = rolling::environment(&loaded, environment)?.freezes.clone();
    let proof = evidence::rules(&loaded, environment, Some(candidate.from.clone()), bypass)?;
    Ok(Prepared { loaded, contents, freezes, proof })
}

/// Asks what is proven about a candidate.
pub(crate) fn prove(control: &Control, environment: &Name, prepared: &Prepared) -> Result<ProveAnswer> {
    let images = prepared.contents.iter().map(|it| (it.service.name.clone(), it.image)).collect();
    let request = ProveRequest { environment: environment.clone(), images, rules: prepared.proof.clone() };
    control.call(|client| async move { client.prove(&request).await })
}

/// Sets the promotion off and follows it to its end.
pub(crate) fn carry_out(
    context: &Context,
    control: &Control,
    what: &What,
    prepared: Prepared,
) -> Result<DeployAnswer> {
    let answer = rolling::begin(context, control, what, prepared)?;
    let end = rolling::follow(context, control, &what.environment, &answer);
    rolling::finish(context, control, &what.environment, &answer, end)?;
    Ok(answer)
}
