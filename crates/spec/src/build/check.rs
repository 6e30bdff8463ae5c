//! `check` blocks.

mod probes;

use std::collections::BTreeMap;

use kiln_model::{Check, CheckProbe, Name, Setup, StandIn};

use super::image::ImageDraft;
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::suggest::did_you_mean;

/// Expectations that need somebody to speak HTTP with; the others that need a port say so when they run.
const ASKING: [(&str, &str); 3] =
    [("http", "an `http` check"), ("load", "a `load` check"), ("tcp", "a `tcp` check")];

pub(super) fn build(
    world: &World<'_>,
    images: &BTreeMap<Name, ImageDraft>,
    section: &Section<'_>,
) -> Option<Check> {
    let image = section.named("image")?;
    if let Some(draft) = images.get(&image).filter(|draft| draft.sound) {
        for (kind, what) in ASKING {
            section.all(kind).for_each(|block| check_port(world, block, draft, what));
        }
    }
    let mut probes: Vec<CheckProbe> =
        section.sections.iter().filter_map(|block| probes::build(world, block)).collect();
    probes.extend(section.text("goss").map(|file| CheckProbe::Goss { file }));
    probes.extend(section.text("structure").map(|file| CheckProbe::Structure { file }));
    expects_something(world, section);
    let mut check = Check::new(section.label_text(), image, CheckProbe::ReadOnlyRoot(Default::default()));
    check.probes = probes;
    check.setup = Setup { env: section.map("env"), stand_ins: stand_ins(world, images, section) };
    check.timeout = section.span("timeout").unwrap_or(check.timeout);
    check.within = section.span("within");
    if check.timeout.millis() == 0 {
        let problem = Problem::error(section.at("timeout"), "`timeout` must be longer than nothing");
        world.report.add(problem.help("write it like timeout = \"10s\""));
    }
    Some(check)
}

fn expects_something(world: &World<'_>, section: &Section<'_>) {
    let blocks = section.sections.iter().any(|block| block.def.name != "stand_in");
    if blocks || !section.sound || section.has("goss") || section.has("structure") {
        return;
    }
    world.report.add(
        Problem::error(section.place, "this `check` block expects nothing")
            .help("add at least one expectation, such as http { get = \"/\" } or file \"/etc/passwd\" {}"),
    );
}

fn stand_ins(
    world: &World<'_>,
    images: &BTreeMap<Name, ImageDraft>,
    section: &Section<'_>,
) -> BTreeMap<Name, StandIn> {
    let mut taken: BTreeMap<u16, Name> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for block in section.all("stand_in") {
        let (Some(name), Some(image)) = (block.name(), block.named("image")) else { continue };
        let draft = images.get(&image).filter(|draft| draft.sound);
        let declared = draft.map(|draft| &draft.recipe.config.ports);
        let known = declared.into_iter().flatten().map(|(_, port)| port.number);
        let given: Vec<u16> = block.whole("port").into_iter().collect();
        if let Some(draft) = draft.filter(|draft| draft.recipe.config.ports.is_empty()) {
            let message = format!("nobody can call `{name}`: the image `{image}` has no port");
            world.report.add(
                Problem::error(block.place, message)
                    .also(draft.place, "the image")
                    .help("add a block to the image: port \"tcp\" { number = 5432 protocol = \"tcp\" }"),
            );
        }
        let ports: Vec<u16> = if given.is_empty() { known.collect() } else { given.clone() };
        for port in ports {
            // Every name stands for one address, at which a port can be had only once.
            if let Some(other) = taken.insert(port, name.clone()).filter(|other| *other != name) {
                let message = format!("the stand-ins `{other}` and `{name}` both use port {port}");
                let problem = Problem::error(block.place, message);
                world.report.add(problem.help("let one of them listen on another port"));
            }
        }
        all.insert(name, StandIn { image, ports: given, env: block.map("env") });
    }
    all
}

/// Whether the image has the port that a request is for. `what` begins a sentence.
pub(super) fn check_port(world: &World<'_>, block: &Section<'_>, image: &ImageDraft, what: &str) {
    let ports = &image.recipe.config.ports;
    if ports.is_empty() {
        let message = format!("{what} needs a port, and the image `{}` has none", image.recipe.name);
        world.report.add(
            Problem::error(block.place, message)
                .also(image.place, "the image")
                .help("add a block to the image: port \"http\" { number = 8080 }"),
        );
        return;
    }
    let Some(name) = block.named("port").filter(|name| !ports.contains_key(name)) else { return };
    let message = format!("the image `{}` has no port called `{name}`", image.recipe.name);
    let help = did_you_mean(name.as_str(), ports.keys().map(Name::as_str));
    world.report.add(Problem::error(block.at("port"), message).maybe_help(help));
}
