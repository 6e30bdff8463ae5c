//! Function calls.

use hcl_edit::expr::{Expression, FuncCall, ObjectKey};

use super::{Room, Scope, Value};
use crate::functions::{self, Call, Failure, Function, Host};
use crate::report::{Problem, Reported, Told};
use crate::source::Place;

impl Scope<'_> {
    pub(super) fn call(&self, place: Place, call: &FuncCall) -> Told<Value> {
        let name = call.name.name.value().as_str();
        let name_place = self.place(&call.name.name);
        if call.name.is_namespaced() {
            return self.fail(
                Problem::error(name_place, "functions have no namespaces here")
                    .help(format!("write {name}(…) alone")),
            );
        }
        let args = self.arguments(call);
        let Some(function) = functions::find(name) else {
            let message = format!("there is no function `{name}`");
            let problem = Problem::error(name_place, message).label("unknown function");
            let near = crate::suggest::nearest(name, functions::all().map(|f| f.name));
            return self.fail(match near {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help(format!("functions are {}", function_names())),
            });
        };
        let args = args?;
        self.check_count(place, function, args.len())?;
        self.within(place, self.world.budget.walk(args.iter()))?;
        let host = Host { files: self.world.files, env: self.world.env };
        if function.reads_env {
            self.note_env(place)?;
        }
        if function.reads_files && self.room == Room::Constant {
            return self.fail(Problem::error(place, "the default of a variable must be a constant"));
        }
        match (function.body)(&Call { args: &args, host: &host }) {
            Ok(value) => self.admit(place, value),
            Err(failure) => Err(self.failed(place, call, function, failure)),
        }
    }

    /// Evaluates all arguments, so that the errors of each are told.
    fn arguments(&self, call: &FuncCall) -> Told<Vec<Value>> {
        let results: Vec<_> = call.args.iter().map(|arg| self.eval(arg)).collect();
        let mut args = results.into_iter().collect::<Told<Vec<_>>>()?;
        if !call.args.expand_final() {
            return Ok(args);
        }
        match args.pop() {
            Some(Value::List(list)) => args.extend(list.items.iter().cloned()),
            other => {
                let place = call.args.iter().last().map_or(self.here, |e| self.place_of(e));
                let kind = other.as_ref().map_or("nothing", Value::described);
                return self.fail(Problem::error(
                    place,
                    format!("`...` spreads a list over the arguments, not {kind}"),
                ));
            }
        }
        Ok(args)
    }

    fn check_count(&self, place: Place, function: &Function, count: usize) -> Told<()> {
        let enough = count >= function.least && function.most.is_none_or(|most| count <= most);
        if enough {
            return Ok(());
        }
        let wanted = match function.most {
            Some(most) if most == function.least => plural(most),
            Some(most) => format!("{} to {}", function.least, plural(most)),
            None => format!("at least {}", plural(function.least)),
        };
        self.fail(
            Problem::error(place, format!("`{}` takes {wanted}, not {count}", function.name))
                .help(format!("write it like {}", function.signature)),
        )
    }

    fn note_env(&self, place: Place) -> Told<()> {
        match self.room {
            Room::Image => self.fail(super::traversal::image_reads_machine(place)),
            Room::Constant => self.fail(
                Problem::error(place, "the default of a variable must be a constant")
                    .help("a variable is given from outside with KILN_VAR_name or --var name=value"),
            ),
            Room::Free => {
                self.world.env_read.replace(Some(place));
                Ok(())
            }
        }
    }

    fn failed(&self, place: Place, call: &FuncCall, function: &Function, failure: Failure) -> Reported {
        for other in failure.others {
            self.failed(place, call, function, other);
        }
        let argument = failure.argument.and_then(|index| call.args.get(index));
        let at = argument.map_or(place, |expr| {
            let key = failure.key.as_deref().and_then(|key| self.key_place(expr, key));
            key.unwrap_or_else(|| self.place_of(expr))
        });
        let problem = Problem::error(at, failure.message);
        let help = failure.help.unwrap_or_else(|| format!("write it like {}", function.signature));
        self.world.report.add(problem.help(help))
    }

    /// The place of a key in an object that is written out.
    fn key_place(&self, expr: &Expression, key: &str) -> Option<Place> {
        let object = expr.as_object()?;
        let named = |candidate: &ObjectKey| match candidate {
            ObjectKey::Ident(ident) => ident.value().as_str() == key,
            ObjectKey::Expression(Expression::String(text)) => text.value() == key,
            ObjectKey::Expression(_) => false,
        };
        let (key, _) = object.iter().find(|(candidate, _)| named(candidate))?;
        Some(self.place(key))
    }
}

fn function_names() -> String {
    let mut names: Vec<_> = functions::all().map(|function| function.name).collect();
    names.sort_unstable();
    names.join(", ")
}

fn plural(count: usize) -> String {
    if count == 1 { "1 argument".into() } else { format!("{count} arguments") }
}
