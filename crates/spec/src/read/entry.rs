//! One attribute that was read.

use std::collections::BTreeMap;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, ObjectKey};

use crate::eval::{Scope, Value};
use crate::language::Part;
use crate::report::Told;
use crate::source::Place;

/// An attribute with its value and the places of both and of the value's parts.
#[derive(Debug)]
pub(crate) struct Entry<'t> {
    pub(crate) key: Place,
    pub(crate) place: Place,
    pub(crate) expr: &'t Expression,
    pub(crate) value: Told<Value>,
    items: Vec<Place>,
    fields: BTreeMap<String, Place>,
}

impl<'t> Entry<'t> {
    pub(crate) fn new(scope: &Scope<'_>, key: Place, expr: &'t Expression, value: Told<Value>) -> Self {
        let items = match expr {
            Expression::Array(array) => array.iter().map(|item| scope.place_of(item)).collect(),
            _ => Vec::new(),
        };
        let fields = match expr {
            Expression::Object(object) => {
                object.iter().filter_map(|(key, _)| Some((key_text(key)?, scope.place(&Spot(key))))).collect()
            }
            _ => BTreeMap::new(),
        };
        Self { key, place: scope.place_of(expr), expr, value, items, fields }
    }

    /// The place of an item or field, when it is written out; otherwise of the whole value.
    pub(crate) fn part(&self, part: &Part) -> Place {
        let found = match part {
            Part::Item(index) => self.items.get(*index),
            Part::Field(name) => self.fields.get(name),
        };
        found.copied().unwrap_or(self.place)
    }
}

struct Spot<'k>(&'k ObjectKey);

impl Span for Spot<'_> {
    fn span(&self) -> Option<std::ops::Range<usize>> {
        self.0.span()
    }
}

fn key_text(key: &ObjectKey) -> Option<String> {
    match key {
        ObjectKey::Ident(name) => Some(name.value().to_string()),
        ObjectKey::Expression(Expression::String(text)) => Some(text.value().clone()),
        ObjectKey::Expression(_) => None,
    }
}
