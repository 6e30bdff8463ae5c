//! `for` expressions and their rounds.

use std::collections::BTreeMap;

use hcl_edit::expr::{Expression, ForExpr};

use super::{Binding, Scope, Value};
use crate::report::{Problem, Told};
use crate::source::Place;

/// The names a `for` gives to key (or index) and value.
pub(super) type Names<'n> = (Option<&'n str>, &'n str);

impl Scope<'_> {
    pub(super) fn for_expr(&self, place: Place, for_expr: &ForExpr) -> Told<Value> {
        let intro = &for_expr.intro;
        let names: Names<'_> =
            (intro.key_var.as_ref().map(|k| k.value().as_str()), intro.value_var.value().as_str());
        match &for_expr.key_expr {
            None => self.for_list(place, for_expr, names),
            Some(key) => self.for_object(place, for_expr, key, names),
        }
    }

    fn for_list(&self, place: Place, for_expr: &ForExpr, names: Names<'_>) -> Told<Value> {
        let mut items = Vec::new();
        self.each(&for_expr.intro.collection_expr, names, |scope| {
            if scope.wanted(for_expr)? {
                items.push(scope.eval(&for_expr.value_expr)?);
            }
            Ok(())
        })?;
        self.admit(place, Value::list(items))
    }

    fn for_object(
        &self,
        place: Place,
        for_expr: &ForExpr,
        key: &Expression,
        names: Names<'_>,
    ) -> Told<Value> {
        let mut fields: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        self.each(&for_expr.intro.collection_expr, names, |scope| {
            if !scope.wanted(for_expr)? {
                return Ok(());
            }
            let name = scope.for_key(key)?;
            let value = scope.eval(&for_expr.value_expr)?;
            let group = fields.entry(name.clone()).or_default();
            if !group.is_empty() && !for_expr.grouping {
                return scope.fail(
                    Problem::error(scope.place_of(key), format!("this `for` makes the key `{name}` twice"))
                        .help(
                            "make the keys differ, or write `...` after the value to collect them in lists",
                        ),
                );
            }
            group.push(value);
            Ok(())
        })?;
        let unwrap = |mut group: Vec<Value>| {
            if for_expr.grouping { Value::list(group) } else { group.pop().unwrap_or(Value::Null) }
        };
        let fields = fields.into_iter().map(|(key, group)| (key, unwrap(group))).collect();
        self.admit(place, Value::object(fields))
    }

    fn wanted(&self, for_expr: &ForExpr) -> Told<bool> {
        match &for_expr.cond {
            None => Ok(true),
            Some(cond) => self.condition(&cond.expr, "the `if` of a `for`"),
        }
    }

    fn for_key(&self, key: &Expression) -> Told<String> {
        let value = self.eval(key)?;
        value.to_template().map_or_else(
            || {
                self.fail(Problem::error(
                    self.place_of(key),
                    format!("the key of an object must be a string, not {}", value.described()),
                ))
            },
            |text| Ok(text.to_string()),
        )
    }

    /// Runs a round for each item of a list or field of an object, with its names bound.
    pub(super) fn each(
        &self,
        collection: &Expression,
        (key_name, value_name): Names<'_>,
        mut round: impl FnMut(&Scope<'_>) -> Told<()>,
    ) -> Told<()> {
        let value = self.eval(collection)?;
        let mut turn = |key: Value, value: &Value| {
            let outer = Binding { name: key_name.unwrap_or(""), value: key, outer: self.bindings };
            let inner = Binding { name: value_name, value: value.clone(), outer: Some(&outer) };
            let scope = Scope { world: self.world, room: self.room, here: self.here, bindings: Some(&inner) };
            round(&scope)
        };
        match &value {
            Value::List(list) => {
                for (index, item) in (0..).zip(&list.items) {
                    turn(Value::whole(index), item)?;
                }
                Ok(())
            }
            Value::Object(object) => {
                object.fields.iter().try_for_each(|(key, item)| turn(Value::text(key.as_str()), item))
            }
            other => self.fail(
                Problem::error(
                    self.place_of(collection),
                    format!("`for` goes over a list or an object, not {}", other.described()),
                )
                .label(format!("this is {}", other.described()))
                .help("write it like [for name in [\"a\", \"b\"] : upper(name)]"),
            ),
        }
    }
}
