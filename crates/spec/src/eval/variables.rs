//! `variable` blocks: values that are given from outside.

use std::str::FromStr;

use hcl_edit::expr::Expression;

use super::{Number, Room, Scope, Value, World};
use crate::language::Type;
use crate::report::{Problem, Reported, Told};
use crate::source::Place;

/// One declared variable.
pub(crate) struct Declaration<'d> {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) kind: Told<Type>,
    pub(crate) default: Option<&'d Expression>,
}

/// The type that `type = …` names.
pub(crate) fn read_type(world: &World<'_>, here: Place, expr: &Expression) -> Told<Type> {
    let scope = Scope::new(world, Room::Constant, here);
    let named = match expr {
        Expression::Variable(name) => Type::named(name.value().as_str()),
        Expression::FuncCall(call) => {
            let inner = match (call.args.len(), call.args.get(0)) {
                (1, Some(Expression::Variable(name))) => Type::named(name.value().as_str()),
                _ => None,
            };
            inner.and_then(|inner| Type::of(call.name.name.value().as_str(), inner))
        }
        _ => None,
    };
    named.ok_or_else(|| {
        world.report.add(
            Problem::error(scope.place_of(expr), "this is not a type")
                .help("types are string, number, bool, any, list(string) and map(string)"),
        )
    })
}

/// Evaluates a variable from, in this order, the given values, `KILN_VAR_name`, what the environment says (`here`) and
/// its default.
pub(crate) fn evaluate(
    world: &World<'_>,
    declaration: &Declaration<'_>,
    given: Option<&str>,
    here: Option<Told<Value>>,
) -> Told<Value> {
    let name = &declaration.name;
    let what = "the default of the variable";
    let default = declaration.default.map(|expr| typed(world, declaration, declaration.place, expr, what));
    let default = here.or(default);
    let from_env = || (world.env)(&format!("KILN_VAR_{name}"));
    let (text, origin) = match given {
        Some(text) => (text.to_owned(), format!("--var {name}=…")),
        None => match from_env() {
            Some(text) => (text, format!("KILN_VAR_{name}")),
            None => {
                return default.unwrap_or_else(|| {
                    let problem =
                        Problem::error(declaration.place, format!("the variable `{name}` has no value"));
                    Err(world.report.add(problem.label("has no default").help(format!(
                        "give one with --var {name}=… or KILN_VAR_{name}=…, or write `default = …` here"
                    ))))
                });
            }
        },
    };
    let kind = declaration.kind?;
    from_text(kind, &text).ok_or_else(|| {
        let message = format!("the value of the variable `{name}` must be {}", kind.described());
        let problem = Problem::error(declaration.place, message)
            .note(format!("it was given by {origin}"))
            .help(format!("write it like {}", kind.example()));
        world.report.add(problem)
    })
}

/// What an environment gives a variable; `place` is where.
pub(crate) fn setting_value(
    world: &World<'_>,
    declaration: &Declaration<'_>,
    place: Place,
    expr: &Expression,
) -> Told<Value> {
    typed(world, declaration, place, expr, "the value of the variable")
}

/// A constant of the variable's type. `what` begins a sentence.
fn typed(
    world: &World<'_>,
    declaration: &Declaration<'_>,
    here: Place,
    expr: &Expression,
    what: &str,
) -> Told<Value> {
    let scope = Scope::new(world, Room::Constant, here);
    let value = scope.eval(expr)?;
    let kind = declaration.kind?;
    if kind.admits(&value) {
        return Ok(value);
    }
    let name = &declaration.name;
    let message = format!("{what} `{name}` must be {}, not {}", kind.described(), value.described());
    let problem =
        Problem::error(scope.place_of(expr), message).help(format!("write it like {}", kind.example()));
    Err::<Value, Reported>(world.report.add(problem))
}

fn from_text(kind: Type, text: &str) -> Option<Value> {
    match kind {
        Type::Text | Type::Any => Some(Value::text(text)),
        Type::Number => Number::parse(text.trim()).map(Value::Number),
        Type::Bool => match text.trim() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::List(_) | Type::Map(_) => {
            let value = constant(&Expression::from_str(text.trim()).ok()?)?;
            kind.admits(&value).then_some(value)
        }
    }
}

/// The value of an expression that is nothing but literals.
fn constant(expr: &Expression) -> Option<Value> {
    Some(match expr {
        Expression::Null(_) => Value::Null,
        Expression::Bool(value) => Value::Bool(*value.value()),
        Expression::Number(number) => Value::Number(Number::from_f64(number.value().as_f64()?)?),
        Expression::String(text) => Value::text(text.value().as_str()),
        Expression::Array(items) => Value::list(items.iter().map(constant).collect::<Option<_>>()?),
        Expression::Object(object) => {
            let field = |(key, value): (&hcl_edit::expr::ObjectKey, &hcl_edit::expr::ObjectValue)| {
                let key = match key {
                    hcl_edit::expr::ObjectKey::Ident(name) => name.value().to_string(),
                    hcl_edit::expr::ObjectKey::Expression(key) => constant(key)?.as_text()?.to_owned(),
                };
                Some((key, constant(value.expr())?))
            };
            Value::object(object.iter().map(field).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
