//! `check` blocks.

use std::collections::BTreeMap;

use kiln_model::{Check, CheckProbe, Name};

use super::image::ImageDraft;
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::suggest::did_you_mean;

pub(super) fn build(
    world: &World<'_>,
    images: &BTreeMap<Name, ImageDraft>,
    section: &Section<'_>,
) -> Option<Check> {
    let kind = section.exactly_one(world, &["http", "command"], "a `check` block")?;
    let block = section.one(kind)?;
    let image = section.named("image")?;
    let probe = if kind == "http" {
        if let Some(draft) = images.get(&image).filter(|draft| draft.sound) {
            check_port(world, block, draft, "an `http` check");
        }
        CheckProbe::Http {
            get: block.text("get")?,
            port: block.named("port"),
            status: block.whole("status").unwrap_or(200),
            contains: block.text("contains"),
        }
    } else {
        CheckProbe::Command {
            command: block.command("run")?,
            exit: block.whole("exit").unwrap_or(0),
            contains: block.text("contains"),
        }
    };
    Some(Check { name: section.label_text().to_owned(), image, probe })
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
