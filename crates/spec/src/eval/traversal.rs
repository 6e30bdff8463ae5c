//! Steps into a value: `.name`, `[index]`, `[*]` and the references that begin them.

use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::{Decorated, Span};

use super::{Number, Reference, Referent, Room, Scope, Value};
use crate::report::{Problem, Reported, Told};
use crate::source::Place;

type Operators<'o> = &'o [Decorated<TraversalOperator>];

impl Scope<'_> {
    pub(super) fn traversal(&self, traversal: &Traversal) -> Told<Value> {
        let operators = traversal.operators.as_slice();
        if let Some((value, rest)) = self.reference(&traversal.expr, operators)? {
            return self.steps(value, rest);
        }
        let value = self.eval(&traversal.expr)?;
        self.steps(value, operators)
    }

    /// What `var.x`, `local.x`, `image.x` and `service.x` stand for, and the steps behind it.
    fn reference<'o>(
        &self,
        root: &Expression,
        operators: Operators<'o>,
    ) -> Told<Option<(Value, Operators<'o>)>> {
        let Expression::Variable(namespace) = root else { return Ok(None) };
        let namespace = namespace.value().as_str();
        let known = matches!(namespace, "var" | "local" | "image" | "service");
        if !known || self.lookup(namespace).is_some() {
            return Ok(None);
        }
        let Some((first, rest)) = operators.split_first() else { return Ok(None) };
        let Some(name) = step_name(first.value()) else { return Ok(None) };
        let place = self.place_of(root).to(self.operator_place(first));
        if self.room == Room::Constant {
            return self.fail(
                Problem::error(place, "the default of a variable must be a constant")
                    .help("compute it in `locals { … }` instead and use `local.name`"),
            );
        }
        let value = match namespace {
            "var" => self.var(place, name)?,
            "local" => self.local(place, name)?,
            "image" => self.block(place, Referent::Image, name)?,
            _ => self.block(place, Referent::Service, name)?,
        };
        Ok(Some((value, rest)))
    }

    fn var(&self, place: Place, name: &str) -> Told<Value> {
        match self.world.variables.get(name) {
            Some(value) => value.clone(),
            None if self.world.partial => Err(Reported),
            None => {
                let problem = Problem::error(place, format!("there is no variable `{name}`"));
                let names = self.world.variables.keys().map(String::as_str);
                let help = crate::suggest::did_you_mean(name, names);
                self.fail(problem.help(
                    help.unwrap_or_else(|| format!("declare it with: variable \"{name}\" {{ default = … }}")),
                ))
            }
        }
    }

    fn local(&self, place: Place, name: &str) -> Told<Value> {
        let Some(local) = self.world.locals.get(name) else {
            if self.world.partial {
                return Err(Reported);
            }
            let names = self.world.locals.keys().map(String::as_str);
            return self.unknown(place, format!("there is no local `{name}`"), name, names);
        };
        if let Some(read) = local.env_read {
            if self.room == Room::Image {
                return self.fail(image_reads_machine(place).also(read, "read from the machine here"));
            }
            self.world.env_read.replace(Some(read));
        }
        local.value.clone()
    }

    fn block(&self, place: Place, kind: Referent, name: &str) -> Told<Value> {
        let names = match kind {
            Referent::Image => &self.world.images,
            Referent::Service => &self.world.services,
        };
        if names.contains(name) {
            return Ok(Value::Reference(Reference { kind, name: name.into() }));
        }
        if self.world.partial {
            return Err(Reported);
        }
        let message = format!("there is no {} called `{name}`", kind.word());
        self.unknown(place, message, name, names.iter().map(String::as_str))
    }

    fn steps(&self, value: Value, operators: Operators<'_>) -> Told<Value> {
        let mut value = value;
        for (index, operator) in operators.iter().enumerate() {
            let rest = &operators[index + 1..];
            let place = self.operator_place(operator);
            self.within(place, self.world.budget.step())?;
            value = match operator.value() {
                TraversalOperator::GetAttr(name) => self.get(place, &value, name.value().as_str())?,
                TraversalOperator::Index(expr) => {
                    let key = self.eval(expr)?;
                    self.index(self.place_of(expr), &value, &key)?
                }
                TraversalOperator::LegacyIndex(number) => {
                    let number = i64::try_from(*number.value()).unwrap_or(i64::MAX);
                    self.index(place, &value, &Value::whole(number))?
                }
                TraversalOperator::FullSplat(_) => return self.splat(place, &value, rest),
                TraversalOperator::AttrSplat(_) => {
                    let own = rest.iter().take_while(|o| matches!(o.value(), TraversalOperator::GetAttr(_)));
                    let (own, after) = rest.split_at(own.count());
                    let all = self.splat(place, &value, own)?;
                    return self.steps(all, after);
                }
            };
        }
        Ok(value)
    }

    fn splat(&self, place: Place, value: &Value, steps: Operators<'_>) -> Told<Value> {
        let items = match value {
            Value::Null => Vec::new(),
            Value::List(list) => list.items.clone(),
            other => vec![other.clone()],
        };
        let results: Told<Vec<_>> = items.into_iter().map(|item| self.steps(item, steps)).collect();
        self.admit(place, Value::list(results?))
    }

    fn get(&self, place: Place, value: &Value, name: &str) -> Told<Value> {
        match value {
            Value::Object(object) => match object.fields.get(name) {
                Some(field) => Ok(field.clone()),
                None => {
                    let names = object.fields.keys().map(String::as_str);
                    self.unknown(place, format!("this object has no field `{name}`"), name, names)
                }
            },
            Value::Reference(reference) if name == "name" => Ok(Value::Text(reference.name.clone())),
            Value::Reference(reference) => self.fail(
                Problem::error(place, format!("{} has no `{name}` to refer to", value.described()))
                    .help(format!("refer to the whole block: {}.{}", reference.kind.word(), reference.name)),
            ),
            other => self.fail(
                Problem::error(place, format!("{} has no field `{name}`", other.described()))
                    .label("only objects have fields"),
            ),
        }
    }

    fn index(&self, place: Place, value: &Value, key: &Value) -> Told<Value> {
        match (value, key) {
            (Value::List(list), Value::Number(Number::Whole(index))) => {
                let item = usize::try_from(*index).ok().and_then(|i| list.items.get(i));
                item.cloned().map_or_else(
                    || {
                        let length = list.items.len();
                        self.fail(
                            Problem::error(place, format!("the list has no item {index}"))
                                .label(format!("the list has {length} items, counted from 0")),
                        )
                    },
                    Ok,
                )
            }
            (Value::Object(_), Value::Text(name)) => self.get(place, value, name),
            (Value::List(_), other) => self.fail(Problem::error(
                place,
                format!("the index of a list must be a whole number, not {}", other.described()),
            )),
            (Value::Object(_), other) => self.fail(Problem::error(
                place,
                format!("the key of an object must be a string, not {}", other.described()),
            )),
            (other, _) => self.fail(
                Problem::error(place, format!("{} cannot be indexed", other.described()))
                    .label("only lists and objects can"),
            ),
        }
    }

    fn operator_place(&self, operator: &Decorated<TraversalOperator>) -> Place {
        let inner = match operator.value() {
            TraversalOperator::GetAttr(name) => name.span(),
            TraversalOperator::Index(expr) => expr.span(),
            _ => None,
        };
        let range = inner.or_else(|| operator.span());
        range.map_or(self.here, |range| Place::new(self.here.file, range))
    }
}

/// The name in `.name` and `["name"]`.
pub(super) fn step_name(operator: &TraversalOperator) -> Option<&str> {
    match operator {
        TraversalOperator::GetAttr(name) => Some(name.value().as_str()),
        TraversalOperator::Index(Expression::String(name)) => Some(name.value().as_str()),
        _ => None,
    }
}

/// The error of an image that would depend on the machine.
pub(super) fn image_reads_machine(place: Place) -> Problem {
    Problem::error(place, "an image must not depend on the environment of the machine that bakes it")
        .label("reads the environment of this machine")
        .note("the same spec must give the same image everywhere")
        .help(
            "pass it as a variable (`variable \"x\" {}`, `--var x=…`), or set it in the `env` of the service",
        )
}
