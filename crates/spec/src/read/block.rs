//! Reads one block of the syntax tree.

use std::collections::BTreeMap;

use hcl_edit::Span;
use hcl_edit::structure::{Attribute as SyntaxAttribute, Block as SyntaxBlock, BlockLabel, Body, Structure};
use kiln_model::Name;

use super::{Entry, Open, Section};
use crate::eval::{Room, Scope, Value, World};
use crate::language::{Attribute, Block, Count, Kind, Label, word_of_a_peer};
use crate::report::{Problem, Reported, Told};
use crate::source::{FileId, Place};
use crate::suggest::did_you_mean;

/// Attributes and blocks in one block; what compares each with each stays fast.
const MOST_PARTS: usize = 1000;

/// Reads blocks of one file in one room.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'r> {
    pub(crate) world: &'r World<'r>,
    pub(crate) file: FileId,
    pub(crate) room: Room,
}

impl<'r> Reader<'r> {
    pub(crate) fn place(&self, node: &impl Span) -> Place {
        Place::new(self.file, node.span().unwrap_or(0..0))
    }

    fn report(&self, problem: Problem) -> Reported {
        self.world.report.add(problem)
    }

    /// Reads a block whose kind is known.
    pub(crate) fn block<'t>(&self, def: &'static Block, block: &'t SyntaxBlock) -> Section<'t> {
        let before = self.world.report.errors();
        let header = block.labels.iter().fold(self.place(&block.ident), |at, label| at.to(self.place(label)));
        let label = self.label(def, block, header);
        if def.without_effect {
            self.warn_without_effect(header, def.name);
        }
        let mut section = Section::new(def, header, label);
        self.body(&mut section, &block.body);
        section.sound = self.world.report.errors() == before;
        section
    }

    fn warn_without_effect(&self, place: Place, name: &str) {
        self.report(
            Problem::warning(place, format!("`{name}` has no effect yet"))
                .label("read and checked, but nothing acts on it")
                .help("keep it for later, or take it out so that nobody relies on it"),
        );
    }

    fn label(&self, def: &Block, block: &SyntaxBlock, header: Place) -> Option<(String, Place)> {
        let name = def.name;
        let wants_none = def.label == Label::None;
        let optional = matches!(def.label, Label::Optional(_));
        let most = usize::from(!wants_none);
        if let Some(extra) = block.labels.get(most) {
            let problem = Problem::error(
                self.place(extra),
                format!("{} `{name}` block takes {}", article(name), count_labels(most)),
            );
            self.report(problem.help(format!("write it like {name}{} {{ … }}", def.label.example())));
        }
        let Some(label) = block.labels.first().filter(|_| !wants_none) else {
            if !wants_none && !optional {
                let example = Self::label_example(def);
                let problem = Problem::error(header, format!("this `{name}` block needs a label"));
                self.report(problem.help(format!("write it like {name} {example} {{ … }}")));
            }
            return None;
        };
        let place = self.place(label);
        self.check_label(def, label, place);
        Some((label.as_str().to_owned(), place))
    }

    fn label_example(def: &Block) -> String {
        match def.label {
            Label::Choice(choices) => format!("\"{}\"", choices.first().copied().unwrap_or_default()),
            other => other.example().trim().to_owned(),
        }
    }

    fn check_label(&self, def: &Block, label: &BlockLabel, place: Place) {
        let text = label.as_str();
        let problem = match def.label {
            Label::Name => match Name::new(text) {
                Ok(_) => return,
                Err(error) => Problem::error(place, error.to_string()).maybe_help(fit_name(text)),
            },
            Label::Identifier if !crate::language::is_identifier(text) => {
                Problem::error(place, format!("{text:?} cannot be the name of a {}", def.name))
                    .help("use letters, digits and underscores, beginning with a letter")
            }
            Label::Choice(choices) if !choices.contains(&text) => {
                let list: Vec<_> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
                let near = crate::suggest::nearest(text, choices.iter().copied());
                Problem::error(place, format!("there is no `{}` called {text:?}", def.name)).help(
                    match near {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => format!("choose one of {}", list.join(", ")),
                    },
                )
            }
            Label::Text(_) if text.is_empty() || text.contains(char::is_control) => Problem::error(
                place,
                format!("the label of `{}` is empty or has control characters", def.name),
            ),
            _ => return,
        };
        self.report(problem);
    }

    fn body<'t>(&self, section: &mut Section<'t>, body: &'t Body) {
        let mut seen = BTreeMap::new();
        if body.len() > MOST_PARTS {
            let message = format!("this block has more than {MOST_PARTS} parts");
            self.report(Problem::error(section.place, message).help("split it up"));
            return;
        }
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => self.attribute(section, attribute),
                Structure::Block(block) => {
                    if let Some(inner) = self.inner(section, block) {
                        self.check_repeated(&inner, &mut seen);
                        section.sections.push(inner);
                    }
                }
            }
        }
        for attribute in section.def.attributes.iter().filter(|a| a.required) {
            if !section.has(attribute.name) {
                let problem = Problem::error(
                    section.place,
                    format!("this `{}` block has no `{}`", section.def.name, attribute.name),
                );
                self.report(problem.help(format!("add {} = {}", attribute.name, attribute.kind.example())));
            }
        }
    }

    /// Reports a second block where only one may be, in all of the spec for blocks of the top.
    pub(crate) fn check_repeated(
        &self,
        section: &Section<'_>,
        seen: &mut BTreeMap<(&'static str, String), Place>,
    ) {
        let key = match section.def.count {
            Count::Any => return,
            Count::Once => (section.def.name, String::new()),
            Count::Unique => (section.def.name, section.label_text().to_owned()),
        };
        let Some(first) = seen.get(&key) else {
            seen.insert(key, section.place);
            return;
        };
        let (name, label) = (section.def.name, &key.1);
        let message = match section.def.count {
            Count::Once => format!("there is a second `{name}` block"),
            _ => format!("there is a second `{name}` called \"{label}\""),
        };
        self.report(
            Problem::error(section.place, message)
                .also(*first, "the first one")
                .help("keep one of the two, or give this one another name"),
        );
    }

    fn inner<'t>(&self, section: &Section<'t>, block: &'t SyntaxBlock) -> Option<Section<'t>> {
        let name = block.ident.value().as_str();
        let place = self.place(&block.ident);
        let Some(def) = section.def.block(name) else {
            self.unknown_block(section.def, name, place);
            return None;
        };
        if !def.only.is_empty() && !def.only.contains(&section.label_text()) {
            self.misplaced(section, name, place, def.only);
            return None;
        }
        Some(self.block(def, block))
    }

    pub(crate) fn unknown_block(&self, def: &Block, name: &str, place: Place) {
        let problem = Problem::error(place, format!("{} has no block `{name}`", here(def)));
        self.report(if def.attribute(name).is_some() {
            problem.label("this is an attribute").help(format!("write it with `=`: {name} = …"))
        } else {
            let help = word_of_a_peer(def.name, name);
            problem.maybe_help(help.or_else(|| did_you_mean(name, def.blocks.iter().map(|b| b.name))))
        });
    }

    fn misplaced(&self, section: &Section<'_>, name: &str, place: Place, only: &[&str]) {
        let list: Vec<_> = only.iter().map(|label| format!("{} \"{label}\"", section.def.name)).collect();
        let message = format!("{} \"{}\" has no `{name}`", section.def.name, section.label_text());
        self.report(
            Problem::error(place, message)
                .help(format!("`{name}` belongs to {}", crate::suggest::listed(&list))),
        );
    }

    pub(crate) fn attribute<'t>(&self, section: &mut Section<'t>, syntax: &'t SyntaxAttribute) {
        let name = syntax.key.value().as_str();
        let key = self.place(&syntax.key);
        if section.def.open {
            section.open.push(Open { name: name.to_owned(), key, expr: &syntax.value });
            return;
        }
        let Some(def) = section.def.attribute(name) else {
            self.unknown_attribute(section.def, name, key, &syntax.value);
            return;
        };
        if !def.only.is_empty() && !def.only.contains(&section.label_text()) {
            self.misplaced(section, name, key, def.only);
            return;
        }
        if def.without_effect {
            self.warn_without_effect(key, name);
        }
        let scope = Scope::new(self.world, self.room, key);
        let mut entry = Entry::new(&scope, key, &syntax.value, Err(Reported));
        if !matches!(def.kind, Kind::Any | Kind::Type) {
            entry.value = self.evaluate(&scope, def, &entry);
        }
        section.entries.insert(def.name, entry);
    }

    fn unknown_attribute(&self, def: &Block, name: &str, key: Place, value: &hcl_edit::expr::Expression) {
        let scope = Scope::new(self.world, self.room, key);
        // Its value may hold errors of its own, which are told at the same time.
        let _ = scope.eval(value);
        let problem = Problem::error(key, format!("{} has no attribute `{name}`", here(def)));
        self.report(match def.block(name) {
            Some(block) => problem
                .label("this is a block")
                .help(format!("write it without `=`: {name}{} {{ … }}", block.label.example())),
            None => {
                let help = word_of_a_peer(def.name, name);
                problem.maybe_help(help.or_else(|| did_you_mean(name, def.attributes.iter().map(|a| a.name))))
            }
        });
    }

    fn evaluate(&self, scope: &Scope<'_>, def: &Attribute, entry: &Entry<'_>) -> Told<Value> {
        let value = scope.eval(entry.expr)?;
        let example = || format!("write it like {} = {}", def.name, def.kind.example());
        let mismatches = def.kind.check(&value).err().unwrap_or_default();
        let fits = mismatches.is_empty();
        for mismatch in mismatches {
            let place = mismatch.part.as_ref().map_or(entry.place, |part| entry.part(part));
            let problem = Problem::error(place, format!("`{}` {}", def.name, mismatch.message));
            self.report(problem.help(mismatch.help.unwrap_or_else(example)));
        }
        if !fits {
            return Err(Reported);
        }
        self.check_references(def, entry, &value)?;
        Ok(value)
    }

    /// Images and services may be named by text, too; then they are looked up here.
    fn check_references(&self, def: &Attribute, entry: &Entry<'_>, value: &Value) -> Told<()> {
        let (known, word) = match def.kind {
            Kind::Image => (&self.world.images, "image"),
            Kind::Services => (&self.world.services, "service"),
            _ => return Ok(()),
        };
        let one = std::slice::from_ref(value);
        if self.world.partial {
            return Err(Reported);
        }
        let mut result = Ok(());
        for (index, item) in value.as_list().unwrap_or(one).iter().enumerate() {
            let Some(name) = item.as_text().filter(|name| !known.contains(*name)) else { continue };
            let place = entry.part(&crate::language::Part::Item(index));
            let help = did_you_mean(name, known.iter().map(String::as_str));
            let problem = Problem::error(place, format!("there is no {word} called `{name}`"));
            result = Err(self.report(
                problem.help(help.unwrap_or_else(|| format!("add a block: {word} \"{name}\" {{ … }}"))),
            ));
        }
        result
    }
}

fn here(def: &Block) -> String {
    if def.name == "kiln.hcl" { "a spec".into() } else { format!("`{}`", def.name) }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn count_labels(most: usize) -> &'static str {
    if most == 0 { "no label" } else { "only one label" }
}

/// The nearest text that is a name.
fn fit_name(text: &str) -> Option<String> {
    let fit = crate::language::fit_name(text)?;
    (fit.as_str() != text).then(|| format!("for example \"{fit}\""))
}
