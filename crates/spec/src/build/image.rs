//! `image` blocks.

use std::collections::BTreeMap;

use kiln_model::{Base, Health, ImageConfig, Name, Port, Protocol, Recipe, Stop, VolumeDecl};

use super::{health, steps};
use crate::eval::{Value, World};
use crate::read::Section;
use crate::report::Problem;
use crate::source::Place;

/// An image and what is needed to judge those that refer to it.
pub(crate) struct ImageDraft {
    pub(crate) recipe: Recipe,
    pub(crate) place: Place,
    /// Whether nothing in it was reported, so that what it lacks is truly not there.
    pub(crate) sound: bool,
    /// Images that it copies from.
    pub(crate) copies: Vec<(Name, Place)>,
}

pub(crate) fn build(world: &World<'_>, section: &Section<'_>) -> Option<ImageDraft> {
    let before = world.report.errors();
    let base = match section.value("base") {
        Some(Value::Base(base)) => base.as_ref().clone(),
        _ => Base::Scratch,
    };
    let packages = section.texts("packages").unwrap_or_default();
    if !packages.is_empty() && section.value("base").is_some() && !matches!(base, Base::Debian(_)) {
        let problem = Problem::error(section.at("packages"), "only a Debian base has packages to install");
        world.report.add(
            problem
                .also(section.at("base"), "this base has no package archive")
                .help("write base = debian(\"bookworm\"), or take `packages` out"),
        );
    }
    let (steps, copies) = steps::build(world, section, &base);
    let recipe = Recipe {
        name: section.name()?,
        base,
        packages,
        steps,
        config: config(world, section),
        epoch: epoch(world, section),
    };
    let sound = section.sound && world.report.errors() == before;
    Some(ImageDraft { recipe, place: section.label_place(), sound, copies })
}

fn config(world: &World<'_>, section: &Section<'_>) -> ImageConfig {
    let ports = ports(world, section);
    ImageConfig {
        entrypoint: section.texts("entrypoint").unwrap_or_default(),
        cmd: section.texts("cmd").unwrap_or_default(),
        env: section.map("env"),
        user: section.text("user"),
        workdir: section.text("workdir"),
        health: health_of(world, section, &ports),
        ports,
        stop: section.one("stop").map(stop).unwrap_or_default(),
        volumes: volumes(world, section),
        labels: section.map("labels"),
    }
}

fn health_of(world: &World<'_>, section: &Section<'_>, ports: &BTreeMap<Name, Port>) -> Option<Health> {
    health::build(world, section.one("health")?, ports, section.all("port").all(|port| port.sound))
}

fn ports(world: &World<'_>, section: &Section<'_>) -> BTreeMap<Name, Port> {
    let mut ports = BTreeMap::new();
    let mut numbers: BTreeMap<u16, &Section<'_>> = BTreeMap::new();
    for port in section.all("port") {
        let (Some(name), Some(number)) = (port.name(), port.whole::<u16>("number")) else { continue };
        if let Some(other) = numbers.insert(number, port) {
            let message =
                format!("the ports `{}` and `{name}` have the same number {number}", other.label_text());
            world.report.add(
                Problem::error(port.at("number"), message)
                    .also(other.at("number"), "the other one")
                    .help("give one of them another number"),
            );
        }
        let protocol = match port.text("protocol").as_deref() {
            Some("tcp") => Protocol::Tcp,
            Some("h2c") => Protocol::H2c,
            _ => Protocol::Http,
        };
        ports.insert(name, Port { number, protocol });
    }
    ports
}

fn stop(section: &Section<'_>) -> Stop {
    let default = Stop::default();
    Stop {
        signal: section.text("signal").unwrap_or(default.signal),
        grace: section.span("grace").unwrap_or(default.grace),
    }
}

fn volumes(world: &World<'_>, section: &Section<'_>) -> BTreeMap<Name, VolumeDecl> {
    let mut volumes = BTreeMap::new();
    let mut paths: Vec<(String, &Section<'_>)> = Vec::new();
    for volume in section.all("volume") {
        let (Some(name), Some(path)) = (volume.name(), volume.text("path")) else { continue };
        let folder = path.trim_end_matches('/').to_owned();
        if folder.is_empty() {
            let problem =
                Problem::error(volume.at("path"), "a volume cannot take the place of the whole image");
            world.report.add(problem.help("choose a folder, such as \"/var/lib/app\""));
        }
        let inside = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
        if let Some((_, other)) =
            paths.iter().find(|(path, _)| inside(path, &folder) || inside(&folder, path))
        {
            let message = format!("the volumes `{}` and `{name}` lie in the same folder", other.label_text());
            world.report.add(
                Problem::error(volume.at("path"), message)
                    .also(other.at("path"), "the other one")
                    .help("choose folders that do not contain each other"),
            );
        }
        paths.push((folder, volume));
        volumes.insert(name, VolumeDecl { path, size: volume.size("size") });
    }
    volumes
}

fn epoch(world: &World<'_>, section: &Section<'_>) -> Option<i64> {
    if section.has("epoch") && section.has("source_date") {
        section.exactly_one(world, &["epoch", "source_date"], "an image");
    }
    let date = || section.text("source_date")?.parse::<jiff::Timestamp>().ok();
    section.whole("epoch").or_else(|| date().map(jiff::Timestamp::as_second))
}
