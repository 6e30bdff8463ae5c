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
mod service;
mod steps;
mod strategy;

use std::collections::BTreeMap;

use kiln_model::{Environment, Name, Project};

use self::image::ImageDraft;
use crate::eval::World;
use crate::read::Section;

/// Builds the project of all sections of the top. It is of use only when nothing was reported.
pub(crate) fn project(world: &World<'_>, name: Name, sections: &[Section<'_>]) -> Project {
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
    let mut environments: BTreeMap<Name, Environment> = of("environment")
        .filter_map(|section| Some((section.name()?, environment::build(world, section))))
        .collect();
    if let Ok(dev) = Name::new("dev") {
        environments.entry(dev).or_default();
    }
    for section in of("environment") {
        environment::check_requirements(world, section, &environments);
    }
    Project {
        name,
        images: images.into_iter().map(|(name, draft)| (name, draft.recipe)).collect(),
        checks,
        services: services.into_iter().map(|(name, draft)| (name, draft.service)).collect(),
        environments,
        policies: policy::build_all(world, of("policy")),
    }
}
