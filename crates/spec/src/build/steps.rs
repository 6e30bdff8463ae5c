//! The `copy` and `run` steps of an image, in the order in which they stand.

use kiln_model::{Base, Command, CopyStep, Name, RunStep, Step};

use crate::eval::{Value, World};
use crate::files::stays_inside;
use crate::read::Section;
use crate::report::Problem;
use crate::source::Place;

/// The steps, and the images that they copy from.
pub(super) fn build(
    world: &World<'_>,
    section: &Section<'_>,
    base: &Base,
) -> (Vec<Step>, Vec<(Name, Place)>) {
    let mut steps: Vec<(Place, Step)> = Vec::new();
    let mut copies = Vec::new();
    for block in &section.sections {
        match block.def.name {
            "copy" => {
                let step = copy(world, block);
                copies.extend(step.image.clone().map(|image| (image, block.at("image"))));
                steps.push((block.place, Step::Copy(step)));
            }
            "run" => steps.extend(run(block).map(|step| (block.place, Step::Run(step)))),
            _ => {}
        }
    }
    steps.extend(lines(section).into_iter().map(|step| (section.at("run"), Step::Run(step))));
    steps.sort_by_key(|(place, _)| (place.file, place.start));
    if section.value("base").is_some() && matches!(base, Base::Scratch) {
        check_first_run(world, &steps);
    }
    (steps.into_iter().map(|(_, step)| step).collect(), copies)
}

fn copy(world: &World<'_>, block: &Section<'_>) -> CopyStep {
    let from = block.label_text();
    let other = block.has("image");
    if let Some((_, place)) = &block.label {
        if other && !from.starts_with('/') {
            let problem = Problem::error(*place, "a path in another image must be absolute");
            world.report.add(problem.help(format!("write it like copy \"/{from}\" {{ … }}")));
        } else if !other && !stays_inside(from) {
            world.report.add(
                Problem::error(*place, "a `copy` takes files from inside of the spec's folder only")
                    .label("leads out of the folder")
                    .help("move the files below the folder, or copy from another image with `image = image.name`"),
            );
        }
    }
    CopyStep {
        from: from.to_owned(),
        image: block.named("image"),
        to: block.text("to").unwrap_or_default(),
        mode: block.text("mode"),
        owner: block.text("owner"),
        exclude: block.texts("exclude").unwrap_or_default(),
    }
}

fn run(block: &Section<'_>) -> Option<RunStep> {
    Some(RunStep {
        command: block.command("command")?,
        network: block.flag("network").unwrap_or(false),
        env: block.map("env"),
        workdir: block.text("workdir"),
        timeout: block.span("timeout"),
    })
}

/// The steps of the `run` attribute.
fn lines(section: &Section<'_>) -> Vec<RunStep> {
    let lines = match section.value("run") {
        Some(Value::Text(line)) => vec![line.to_string()],
        _ => section.texts("run").unwrap_or_default(),
    };
    let step = |line: String| RunStep {
        command: Command::Line(line.trim().to_owned()),
        network: false,
        env: std::collections::BTreeMap::new(),
        workdir: None,
        timeout: None,
    };
    lines.into_iter().map(step).collect()
}

/// On an empty base there is nothing to run before something was copied.
fn check_first_run(world: &World<'_>, steps: &[(Place, Step)]) {
    if let Some((place, Step::Run(_))) = steps.first() {
        world.report.add(
            Problem::error(*place, "there is nothing to run in an empty image")
                .label("the first step on `scratch`")
                .help("copy the program first, or start from debian(\"bookworm\")"),
        );
    }
}
