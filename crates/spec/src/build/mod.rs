//! Sections to the model, with the checks that look at more than one attribute.

mod analysis;
mod azure;
mod canary_traffic;
mod check;
mod environment;
mod expose;
mod gates;
mod health;
mod image;
mod policy;
mod preset;
mod relations;
mod rollout;
mod secret;
mod service;
mod steps;
mod strategy;

use std::collections::BTreeMap;

use kiln_model::{Environment, Name, Project, TrustedKey};

use self::image::ImageDraft;
use crate::eval::World;
use crate::read::Section;

/// Builds the project of all sections of the top. It is of use only when nothing was reported.
pub(crate) fn project(
    world: &World<'_>,
    name: Name,
    registry: Option<String>,
    sections: &[Section<'_>],
) -> Project {
    let of = |kind: &'static str| sections.iter().filter(move |section| section.def.name == kind);
    let mut images: BTreeMap<Name, ImageDraft> = BTreeMap::new();
    for draft in of("image").filter_map(|section| image::build(world, section)) {
        // Of two images with one name, which was reported, the first counts.
        images.entry(draft.recipe.name.clone()).or_insert(draft);
    }
    relations::images(world, &images);
    let builder = service::Builder { world, images: &images };
    let services: BTreeMap<Name, service::ServiceDraft> =
        of("service").filter_map(|section| Some((section.name()?, builder.build(section)?))).collect();
    relations::services(world, &services);
    expose::check_all(world, &images, &services);
    let checks = of("check").filter_map(|section| check::build(world, &images, section)).collect();
    let keys = of("key").filter_map(environment::key).collect();
    let environments = environments(world, of("environment"), &keys);
    secret::check_all(world, &services, &environments, of("environment"));
    Project {
        name,
        images: images.into_iter().map(|(name, draft)| (name, draft.recipe)).collect(),
        checks,
        services: services.into_iter().map(|(name, draft)| (name, draft.service)).collect(),
        environments,
        keys,
        registry,
        policies: policy::build_all(world, of("policy")),
    }
}

/// The environments. There is always a `dev`; it is the first when the spec writes none, or protects its first.
fn environments<'s, 't: 's>(
    world: &World<'_>,
    sections: impl Iterator<Item = &'s Section<'t>> + Clone,
    keys: &BTreeMap<Name, TrustedKey>,
) -> BTreeMap<Name, Environment> {
    let mut environments = BTreeMap::new();
    for (index, section) in sections.clone().enumerate() {
        if let Some(name) = section.name() {
            environments.entry(name).or_insert_with(|| environment::build(world, section, index + 1));
        }
    }
    let first = environments.values().min_by_key(|it: &&Environment| it.position);
    let begins = first.is_none_or(|it| it.protected);
    if let Ok(dev) = Name::new("dev") {
        let beside = Environment { position: begins.then_some(0), ..Environment::default() };
        environments.entry(dev).or_insert(beside);
    }
    let known = environment::Known { environments: &environments, keys };
    for section in sections {
        environment::check_requirements(world, section, &known);
    }
    environments
}
