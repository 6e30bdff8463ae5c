//! The named values of a spec, which come before everything else: names of blocks, variables and locals.

use std::collections::BTreeMap;

use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Block as SyntaxBlock, Body};
use kiln_model::Name;

use crate::diagnostic::Diagnostic;
use crate::eval::{
    Declaration, Definition, Room, World, evaluate_locals, evaluate_variable, read_type, setting_value,
};
use crate::inputs::Inputs;
use crate::language::{ROOT, is_identifier};
use crate::read::{Reader, Section};
use crate::report::Problem;
use crate::source::{FileId, Place};
use crate::suggest::did_you_mean;

type Bodies = [(FileId, Body)];

fn blocks<'t>(bodies: &'t Bodies, name: &'static str) -> impl Iterator<Item = (FileId, &'t SyntaxBlock)> {
    let of_file = move |(file, body): &'t (FileId, Body)| {
        body.blocks().filter(move |block| block.has_ident(name)).map(|block| (*file, block))
    };
    bodies.iter().flat_map(of_file)
}

/// Learns the labels of images and services, so that expressions can refer to them.
pub(crate) fn names(world: &mut World<'_>, bodies: &Bodies) {
    let labels = |name| -> Vec<String> {
        blocks(bodies, name)
            .filter_map(|(_, block)| Some(block.labels.first()?.as_str().to_owned()))
            .collect()
    };
    world.images = labels("image").into_iter().collect();
    world.services = labels("service").into_iter().collect();
}

/// What an environment gives a variable.
struct Setting<'t> {
    environment: &'t str,
    name: &'t str,
    file: FileId,
    key: std::ops::Range<usize>,
    expr: &'t Expression,
}

impl Setting<'_> {
    fn place(&self) -> Place {
        Place::new(self.file, self.key.clone())
    }
}

/// What stands in the `variables` blocks of all environments. What else is wrong with them is told when they are read
/// with everything else.
fn settings(bodies: &Bodies) -> Vec<Setting<'_>> {
    let mut settings = Vec::new();
    for (file, environment) in blocks(bodies, "environment") {
        let Some(label) = environment.labels.first() else { continue };
        for block in environment.body.blocks().filter(|block| block.has_ident("variables")) {
            settings.extend(block.body.attributes().map(|attribute| Setting {
                environment: label.as_str(),
                name: attribute.key.value().as_str(),
                file,
                key: attribute.key.span().unwrap_or(0..0),
                expr: &attribute.value,
            }));
        }
    }
    settings
}

fn sections<'t>(world: &World<'_>, bodies: &'t Bodies, name: &'static str) -> Vec<Section<'t>> {
    let Some(def) = ROOT.block(name) else { return Vec::new() };
    let mut seen = BTreeMap::new();
    let mut sections = Vec::new();
    for (file, block) in blocks(bodies, name) {
        let reader = Reader { world, file, room: Room::Constant };
        let section = reader.block(def, block);
        reader.check_repeated(&section, &mut seen);
        sections.push(section);
    }
    sections
}

/// Evaluates the `variable` blocks.
pub(crate) fn variables(world: &mut World<'_>, bodies: &Bodies, inputs: &Inputs) {
    let sections = sections(world, bodies, "variable");
    let settings = settings(bodies);
    for section in &sections {
        let kind = match section.entries.get("type") {
            Some(entry) => read_type(world, entry.place, entry.expr),
            None => Ok(crate::language::Type::Any),
        };
        let declaration = Declaration {
            name: section.label_text().to_owned(),
            place: section.place,
            kind,
            default: section.entries.get("default").map(|entry| entry.expr),
        };
        let given = inputs.variables.get(&declaration.name).map(String::as_str);
        let mut here = None;
        for setting in settings.iter().filter(|setting| setting.name == declaration.name) {
            let value = setting_value(world, &declaration, setting.place(), setting.expr);
            let chosen = inputs.environment.as_ref().map(Name::as_str) == Some(setting.environment);
            here = if chosen { Some(value) } else { here };
        }
        let value = evaluate_variable(world, &declaration, given, here);
        world.variables.insert(declaration.name, value);
    }
    for setting in settings.iter().filter(|setting| !world.variables.contains_key(setting.name)) {
        let message = format!("the spec has no variable `{}`", setting.name);
        let help = did_you_mean(setting.name, world.variables.keys().map(String::as_str));
        let help = help.unwrap_or_else(|| format!("declare it with: variable \"{}\" {{}}", setting.name));
        world.report.add(Problem::error(setting.place(), message).help(help));
    }
    if world.partial {
        return;
    }
    for name in inputs.variables.keys().filter(|name| !world.variables.contains_key(*name)) {
        let problem = Diagnostic::error(format!("the spec has no variable `{name}`, but --var gives one"));
        let help = did_you_mean(name, world.variables.keys().map(String::as_str));
        world
            .report
            .push(problem.help(help.unwrap_or_else(|| format!("declare it with: variable \"{name}\" {{}}"))));
    }
}

/// Evaluates the `locals` blocks.
pub(crate) fn locals(world: &mut World<'_>, bodies: &Bodies) {
    let sections = sections(world, bodies, "locals");
    let mut definitions: BTreeMap<String, Definition<'_>> = BTreeMap::new();
    for open in sections.iter().flat_map(|section| &section.open) {
        if !is_identifier(&open.name) {
            world
                .report
                .add(Problem::error(open.key, format!("{:?} cannot be the name of a local", open.name)));
        }
        if let Some(first) = definitions.get(&open.name) {
            world.report.add(
                Problem::error(open.key, format!("the local `{}` is given twice", open.name))
                    .also(first.key, "the first one")
                    .help("keep one of the two"),
            );
            continue;
        }
        definitions.insert(open.name.clone(), Definition { key: open.key, expr: open.expr });
    }
    evaluate_locals(world, &definitions);
}

/// The attributes of the top of all files, as one section.
pub(crate) fn root<'t>(world: &World<'_>, bodies: &'t Bodies) -> Option<Section<'t>> {
    let mut section: Option<Section<'t>> = None;
    for (file, body) in bodies {
        let reader = Reader { world, file: *file, room: Room::Free };
        let all = section.get_or_insert_with(|| Section::new(&ROOT, reader.place(body), None));
        for attribute in body.attributes() {
            let name = attribute.key.value().as_str();
            if let Some(first) = all.entries.get(name) {
                world.report.add(
                    Problem::error(reader.place(&attribute.key), format!("`{name}` is given twice"))
                        .also(first.key, "the first one")
                        .help("keep one of the two"),
                );
                continue;
            }
            reader.attribute(all, attribute);
        }
    }
    section
}
