//! A block that was read, and typed access to what stands in it.

use std::collections::BTreeMap;

use hcl_edit::expr::Expression;
use kiln_model::{Amount, Bytes, Command, Name, Span};

use super::Entry;
use crate::eval::{Value, World};
use crate::language::{Block, Part};
use crate::report::Problem;
use crate::source::Place;

/// A block. Attributes have the form that the table asks for; those that have not were reported and are absent.
#[derive(Debug)]
pub(crate) struct Section<'t> {
    pub(crate) def: &'static Block,
    /// The line that opens it.
    pub(crate) place: Place,
    pub(crate) label: Option<(String, Place)>,
    pub(crate) entries: BTreeMap<&'static str, Entry<'t>>,
    pub(crate) sections: Vec<Section<'t>>,
    /// The attributes of a block that takes any.
    pub(crate) open: Vec<Open<'t>>,
    /// Whether nothing in it was reported.
    pub(crate) sound: bool,
}

/// An attribute whose name is the spec's choice.
#[derive(Debug)]
pub(crate) struct Open<'t> {
    pub(crate) name: String,
    pub(crate) key: Place,
    pub(crate) expr: &'t Expression,
}

impl<'t> Section<'t> {
    /// A section with nothing in it.
    pub(crate) fn new(def: &'static Block, place: Place, label: Option<(String, Place)>) -> Self {
        Self {
            def,
            place,
            label,
            entries: BTreeMap::new(),
            sections: Vec::new(),
            open: Vec::new(),
            sound: true,
        }
    }

    /// The label, empty when it has none.
    pub(crate) fn label_text(&self) -> &str {
        self.label.as_ref().map_or("", |(text, _)| text)
    }

    pub(crate) fn label_place(&self) -> Place {
        self.label.as_ref().map_or(self.place, |(_, place)| *place)
    }

    /// The label as a name; `None` when it is not one, which was reported.
    pub(crate) fn name(&self) -> Option<Name> {
        Name::new(self.label_text()).ok()
    }

    /// Whether an attribute stands here, good or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Whether what stands here under these names, if anything, could be read.
    pub(crate) fn readable(&self, names: &[&str]) -> bool {
        names.iter().all(|name| !self.has(name) || self.value(name).is_some())
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.entries.get(name).and_then(|entry| entry.value.as_ref().ok())
    }

    /// Where the value of an attribute is; where the block is when there is none.
    pub(crate) fn at(&self, name: &str) -> Place {
        self.entries.get(name).map_or(self.place, |entry| entry.place)
    }

    pub(crate) fn item_at(&self, name: &str, index: usize) -> Place {
        self.entries.get(name).map_or(self.place, |entry| entry.part(&Part::Item(index)))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.value(name)?.as_text().map(str::to_owned)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.value(name)?.as_bool()
    }

    pub(crate) fn whole<N: TryFrom<i64>>(&self, name: &str) -> Option<N> {
        self.value(name)?.as_whole().and_then(|number| N::try_from(number).ok())
    }

    pub(crate) fn fraction(&self, name: &str) -> Option<f64> {
        self.value(name)?.as_number().map(crate::eval::Number::as_f64)
    }

    pub(crate) fn span(&self, name: &str) -> Option<Span> {
        self.value(name)?.as_text()?.parse().ok()
    }

    /// A whole percentage: `"20%"`, or 20 where that is allowed.
    pub(crate) fn share(&self, name: &str) -> Option<u8> {
        let value = self.value(name)?;
        match value.as_whole() {
            Some(share) => u8::try_from(share).ok(),
            None => value.as_text()?.strip_suffix('%')?.parse().ok(),
        }
    }

    /// The part of 1 that a percentage is: 0.01 for `"1%"`.
    pub(crate) fn part(&self, name: &str) -> Option<f64> {
        let digits = self.value(name)?.as_text()?.strip_suffix('%')?;
        // Read as a decimal, so that "2.9%" is 0.029 and not 0.028999999999999998.
        format!("{digits}e-2").parse().ok()
    }

    /// A count, or a percentage that is whole.
    pub(crate) fn amount(&self, name: &str) -> Option<Amount> {
        let value = self.value(name)?;
        match value.as_whole() {
            Some(count) => u32::try_from(count).ok().map(Amount::Count),
            None => {
                // "25.0%" is whole as well.
                let percent = crate::language::percent(value.as_text()?)?;
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a whole number from 0 to 100"
                )]
                Some(Amount::Percent(percent as u32))
            }
        }
    }

    /// Ascending weights.
    pub(crate) fn shares(&self, name: &str) -> Option<Vec<u8>> {
        let items = self.value(name)?.as_list()?;
        Some(items.iter().filter_map(|item| item.as_whole().and_then(|n| u8::try_from(n).ok())).collect())
    }

    pub(crate) fn size(&self, name: &str) -> Option<Bytes> {
        let value = self.value(name)?;
        match value.as_whole() {
            Some(bytes) => u64::try_from(bytes).ok().map(Bytes::new),
            None => value.as_text()?.parse().ok(),
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let items = self.value(name)?.as_list()?;
        Some(items.iter().filter_map(|item| item.to_template().map(|text| text.to_string())).collect())
    }

    /// A text, or several.
    pub(crate) fn words(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::Text(text)) => vec![text.to_string()],
            Some(_) => self.texts(name).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// A whole number, or several.
    pub(crate) fn wholes<N: TryFrom<i64>>(&self, name: &str) -> Vec<N> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let one = std::slice::from_ref(value);
        let items = value.as_list().unwrap_or(one).iter();
        items.filter_map(|item| item.as_whole().and_then(|number| N::try_from(number).ok())).collect()
    }

    pub(crate) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let fields = self.value(name).and_then(Value::as_object);
        let field = |(key, value): (&String, &Value)| Some((key.clone(), value.as_text()?.to_owned()));
        fields.into_iter().flatten().filter_map(field).collect()
    }

    /// A name: of a port, or of what a reference refers to.
    pub(crate) fn named(&self, name: &str) -> Option<Name> {
        Name::new(self.value(name)?.to_template()?.as_ref()).ok()
    }

    pub(crate) fn command(&self, name: &str) -> Option<Command> {
        match self.value(name)? {
            Value::Text(line) => Some(Command::Line(line.trim().to_owned())),
            _ => self.texts(name).map(Command::Argv),
        }
    }

    /// The sections of one kind of block.
    pub(crate) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Section<'t>> {
        self.sections.iter().filter(move |section| section.def.name == name)
    }

    pub(crate) fn one(&self, name: &str) -> Option<&Section<'t>> {
        self.sections.iter().find(|section| section.def.name == name)
    }

    /// Reports that exactly one of some attributes or blocks must stand here, unless it does. Returns the one.
    pub(crate) fn exactly_one(
        &self,
        world: &World<'_>,
        names: &[&'static str],
        what: &str,
    ) -> Option<&'static str> {
        let place_of = |name: &str| match self.entries.get(name) {
            Some(entry) => Some(entry.key),
            None => self.one(name).map(|section| section.place),
        };
        let given: Vec<_> = names.iter().filter_map(|name| Some((*name, place_of(name)?))).collect();
        let list: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        match given.as_slice() {
            [(only, _)] => Some(only),
            [] => {
                world.report.add(
                    Problem::error(self.place, format!("{what} needs one of {}", list.join(", ")))
                        .help(format!("add exactly one of {}", list.join(", "))),
                );
                None
            }
            [(first, at), (second, second_at), ..] => {
                world.report.add(
                    Problem::error(*second_at, format!("{what} has both `{first}` and `{second}`"))
                        .also(*at, "the other one")
                        .help(format!("keep exactly one of {}", list.join(", "))),
                );
                None
            }
        }
    }
}
