//! One expression to its value.

use std::collections::BTreeMap;
use std::sync::Arc;

use hcl_edit::expr::{Array, Conditional, Expression, Object, ObjectKey};
use kiln_model::Base;

use super::{Number, Scope, Value};
use crate::report::{Problem, Reported, Told};
use crate::source::Place;
use crate::suggest::did_you_mean;

impl Scope<'_> {
    /// Evaluates an expression; what is wrong with it has been reported when it fails.
    pub(crate) fn eval(&self, expr: &Expression) -> Told<Value> {
        if self.world.report.has_enough() {
            return Err(Reported);
        }
        self.within(self.place_of(expr), self.world.budget.step())?;
        match expr {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(value) => Ok(Value::Bool(*value.value())),
            Expression::Number(value) => self.literal_number(self.place_of(expr), value.value()),
            Expression::String(value) => self.admit(self.place_of(expr), Value::text(value.value().as_str())),
            Expression::Array(array) => self.array(self.place_of(expr), array),
            Expression::Object(object) => self.object(self.place_of(expr), object),
            Expression::StringTemplate(template) => self.string_template(self.place_of(expr), template),
            Expression::HeredocTemplate(heredoc) => self.heredoc(self.place_of(expr), heredoc),
            Expression::Parenthesis(inner) => self.eval(inner.inner()),
            Expression::Variable(name) => self.variable(self.place_of(expr), name.value().as_str()),
            Expression::Conditional(conditional) => self.conditional(conditional),
            Expression::FuncCall(call) => self.call(self.place_of(expr), call),
            Expression::Traversal(traversal) => self.traversal(traversal),
            Expression::UnaryOp(op) => self.unary(op),
            Expression::BinaryOp(op) => self.binary(self.place_of(expr), op),
            Expression::ForExpr(for_expr) => self.for_expr(self.place_of(expr), for_expr),
        }
    }

    fn literal_number(&self, place: Place, number: &hcl_edit::Number) -> Told<Value> {
        let whole = number.as_i64().map(Number::Whole);
        match whole.or_else(|| number.as_f64().and_then(Number::from_f64)) {
            Some(number) => Ok(Value::Number(number)),
            None => self.fail(Problem::error(place, "this number is too large")),
        }
    }

    /// Evaluates every item, so that the errors of all of them are reported.
    fn array(&self, place: Place, array: &Array) -> Told<Value> {
        let results: Vec<_> = array.iter().map(|item| self.eval(item)).collect();
        self.admit(place, Value::list(results.into_iter().collect::<Told<_>>()?))
    }

    fn object(&self, place: Place, object: &Object) -> Told<Value> {
        let mut fields = BTreeMap::new();
        let mut first_error = None;
        for (key, value) in object {
            let key = self.object_key(key);
            let value = self.eval(value.expr());
            match (key, value) {
                (Ok((key, at)), Ok(value)) => {
                    if fields.contains_key(&key) {
                        let problem = Problem::error(at, format!("the key `{key}` is given twice"))
                            .help("keep one of the two");
                        first_error = Some(self.world.report.add(problem));
                    }
                    fields.insert(key, value);
                }
                (Err(reported), _) | (_, Err(reported)) => first_error = Some(reported),
            }
        }
        match first_error {
            Some(reported) => Err(reported),
            None => self.admit(place, Value::object(fields)),
        }
    }

    fn object_key(&self, key: &ObjectKey) -> Told<(String, Place)> {
        let expr = match key {
            ObjectKey::Ident(ident) => return Ok((ident.value().to_string(), self.place(key))),
            ObjectKey::Expression(expr) => expr,
        };
        let place = self.place_of(expr);
        let value = self.eval(expr)?;
        match value.to_template() {
            Some(text) => Ok((text.to_string(), place)),
            None => self.fail(
                Problem::error(
                    place,
                    format!("the key of an object must be a string, not {}", value.described()),
                )
                .help("write it like { name = \"value\" } or { (expression) = \"value\" }"),
            ),
        }
    }

    fn conditional(&self, conditional: &Conditional) -> Told<Value> {
        if self.condition(&conditional.cond_expr, "the condition before `?`")? {
            self.eval(&conditional.true_expr)
        } else {
            self.eval(&conditional.false_expr)
        }
    }

    /// Evaluates a condition to true or false.
    pub(super) fn condition(&self, expr: &Expression, what: &str) -> Told<bool> {
        let value = self.eval(expr)?;
        value.as_bool().map_or_else(
            || {
                self.fail(
                    Problem::error(
                        self.place_of(expr),
                        format!("{what} must be true or false, not {}", value.described()),
                    )
                    .label(format!("this is {}", value.described()))
                    .help("compare it, such as `x != \"\"` or `x > 0`"),
                )
            },
            Ok,
        )
    }

    /// A name that stands alone.
    fn variable(&self, place: Place, name: &str) -> Told<Value> {
        if let Some(value) = self.lookup(name) {
            return Ok(value.clone());
        }
        if name == "scratch" {
            return Ok(Value::Base(Arc::new(Base::Scratch)));
        }
        if let Some(example) = self.namespace_example(name) {
            return self.fail(
                Problem::error(place, format!("`{name}` needs the name of what is meant"))
                    .label("not a value by itself")
                    .help(format!("write it like `{example}`")),
            );
        }
        self.fail(self.unknown_name(place, name))
    }

    fn unknown_name(&self, place: Place, name: &str) -> Problem {
        let problem =
            Problem::error(place, format!("there is nothing called `{name}`")).label("unknown name");
        if self.world.locals.contains_key(name) {
            return problem.help(format!("did you mean `local.{name}`?"));
        }
        if self.world.variables.contains_key(name) {
            return problem.help(format!("did you mean `var.{name}`?"));
        }
        if self.world.images.contains(name) {
            return problem.help(format!("did you mean `image.{name}`?"));
        }
        if self.world.services.contains(name) {
            return problem.help(format!("did you mean `service.{name}`?"));
        }
        let mut known = self.bound_names();
        known.extend(["var", "local", "image", "service", "scratch", "true", "false", "null"]);
        let near = crate::suggest::nearest(name, known.iter().copied());
        match near {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None if crate::functions::find(name).is_some() => {
                problem.help(format!("`{name}` is a function: call it with `{name}(…)`"))
            }
            None => problem.help(format!("if it is a text, quote it: \"{name}\"")),
        }
    }

    fn namespace_example(&self, name: &str) -> Option<String> {
        let first = |names: Option<&String>, other: &str| names.map_or(other.to_owned(), Clone::clone);
        match name {
            "var" => Some(format!("var.{}", first(self.world.variables.keys().next(), "name"))),
            "local" => Some(format!("local.{}", first(self.world.locals.keys().next(), "name"))),
            "image" => Some(format!("image.{}", first(self.world.images.iter().next(), "web"))),
            "service" => Some(format!("service.{}", first(self.world.services.iter().next(), "web"))),
            _ => None,
        }
    }

    /// A name that is known nowhere, with the nearest of the candidates.
    pub(super) fn unknown<'c, T>(
        &self,
        place: Place,
        message: String,
        name: &str,
        candidates: impl IntoIterator<Item = &'c str> + Clone,
    ) -> Told<T> {
        self.fail(Problem::error(place, message).maybe_help(did_you_mean(name, candidates)))
    }
}
