//! From the spec and the baked images to the contents of releases.

use std::collections::BTreeSet;
use std::path::Path;

use kiln_model::{Digest, ImageConfig, Name, Project, ReleaseContent, SecretRef, Service};
use kiln_spec::Loaded;

use crate::error::{Failure, Kind, Result};

/// A baked image, as far as a release needs it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Digest of the manifest.
    pub(crate) digest: Digest,
    /// Its configuration, as the manifest carries it.
    pub(crate) config: ImageConfig,
}

/// The services to deploy in the order of `depends_on`: those named, or all.
pub(crate) fn services(project: &Project, only: &[Name]) -> Result<Vec<Name>> {
    for name in only {
        if !project.services.contains_key(name) {
            let known: Vec<&str> = project.services.keys().map(Name::as_str).collect();
            return Err(Failure::new(Kind::NotFound, format!("the spec has no service {name}"))
                .hint(format!("it has: {}", known.join(", "))));
        }
    }
    if project.services.is_empty() {
        return Err(Failure::new(Kind::Spec, format!("the spec of {} has no service to deploy", project.name))
            .hint("add a service block:\n\n  service \"web\" {\n    image = image.web\n    expose \"http\" {}\n  }\n"));
    }
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for name in project.services.keys() {
        visit(project, name, &mut seen, &mut order);
    }
    order.retain(|name| only.is_empty() || only.contains(name));
    Ok(order)
}

/// Depth first; the spec's validation has refused cycles.
fn visit(project: &Project, name: &Name, seen: &mut BTreeSet<Name>, order: &mut Vec<Name>) {
    if !seen.insert(name.clone()) {
        return;
    }
    if let Some(service) = project.services.get(name) {
        for dependency in &service.depends_on {
            visit(project, dependency, seen, order);
        }
        order.push(name.clone());
    }
}

/// The image blocks that the services run, each once.
pub(crate) fn images(project: &Project, services: &[Name]) -> Vec<Name> {
    let used: BTreeSet<&Name> =
        services.iter().filter_map(|name| project.services.get(name)).map(|service| &service.image).collect();
    used.into_iter().cloned().collect()
}

/// The content of each service's release in an environment, in the order given.
pub(crate) fn contents(
    loaded: &Loaded,
    environment: &Name,
    services: &[Name],
    image_of: impl Fn(&Service) -> Option<Image>,
) -> Result<Vec<ReleaseContent>> {
    let project = &loaded.project;
    let folder = std::path::absolute(&loaded.dir)?;
    let here = project.environments.get(environment);
    let one = |name: &Name| {
        let service = project.services.get(name)?;
        let image = image_of(service)?;
        let configured = here.map_or_else(|| service.clone(), |here| service.configured(here));
        Some(ReleaseContent {
            project: project.name.clone(),
            service: with_absolute_paths(configured, &folder),
            image: image.digest,
            config: image.config,
            checks: project.checks.iter().filter(|check| check.image == service.image).cloned().collect(),
        })
    };
    let found = |name: &Name| {
        let content = one(name)
            .ok_or_else(|| Failure::new(Kind::Failed, format!("service {name} has no baked image")))?;
        let unsaid = content.service.secrets.iter().find(|(_, secret)| secret.from.is_none());
        match unsaid {
            None => Ok(content),
            Some((secret, _)) => {
                let what =
                    format!("nothing says where the secret {secret} of service {name} is in {environment}");
                let block = format!("secret \"{secret}\" {{ from = \"{}\" }}", SecretRef::EXAMPLES[0]);
                Err(Failure::new(Kind::Spec, what)
                    .hint(format!("add to `environment \"{environment}\"`: {block}")))
            }
        }
    };
    services.iter().map(found).collect()
}

/// The control plane does not know the folder of the spec.
fn with_absolute_paths(mut service: Service, folder: &Path) -> Service {
    let absolute = |path: &mut String| *path = folder.join(&*path).to_string_lossy().into_owned();
    for tls in service.expose.iter_mut().filter_map(|expose| expose.tls.as_mut()) {
        absolute(&mut tls.certificate);
        absolute(&mut tls.key);
    }
    for secret in service.secrets.values_mut() {
        if let Some(SecretRef::File { path }) = &mut secret.from {
            absolute(path);
        }
    }
    service
}
