//! The evaluator: HCL expressions to values, over the syntax tree with its places.
//!
//! Everything is known when a spec is evaluated, so there are no unknown values. Recursion follows the syntax tree
//! only, which the parser keeps shallow; `locals` are evaluated in the order of their dependencies, not by
//! recursion. Size and time are bounded by the [`Budget`].

mod budget;
mod call;
mod expression;
mod locals;
mod loops;
mod number;
mod operators;
mod template;
mod traversal;
mod value;
mod variables;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::Span;
use hcl_edit::expr::Expression;

pub(crate) use self::budget::{Budget, Excess};
pub(crate) use self::locals::{Definition, evaluate as evaluate_locals};
pub(crate) use self::number::Number;
pub(crate) use self::value::{Reference, Referent, Value};
pub(crate) use self::variables::{Declaration, evaluate as evaluate_variable, read_type, setting_value};
use crate::files::Files;
use crate::report::{Problem, Report, Told};
use crate::source::{FileId, Place};

/// What all expressions of one spec share.
pub(crate) struct World<'w> {
    pub(crate) report: &'w Report,
    pub(crate) files: &'w Files,
    pub(crate) env: &'w dyn Fn(&str) -> Option<String>,
    pub(crate) variables: BTreeMap<String, Told<Value>>,
    pub(crate) locals: BTreeMap<String, Local>,
    /// Labels of the image and service blocks.
    pub(crate) images: BTreeSet<String>,
    pub(crate) services: BTreeSet<String>,
    /// Whether some file could not be read, so that a missing name may be in it.
    pub(crate) partial: bool,
    budget: Budget,
    exhausted: Cell<bool>,
    /// Where the expression being evaluated reads the environment of the machine, also through a local.
    env_read: RefCell<Option<Place>>,
}

/// The value of a local, and where the machine's environment gets into it.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    value: Told<Value>,
    env_read: Option<Place>,
}

/// Where an expression stands, which decides what it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// The default of a variable: constants only.
    Constant,
    /// An image block: nothing of the machine.
    Image,
    /// Anywhere else.
    Free,
}

/// The surroundings of one expression.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'s> {
    pub(crate) world: &'s World<'s>,
    pub(crate) room: Room,
    pub(crate) here: Place,
    bindings: Option<&'s Binding<'s>>,
}

/// A name that a `for` introduces.
struct Binding<'s> {
    name: &'s str,
    value: Value,
    outer: Option<&'s Binding<'s>>,
}

impl<'w> World<'w> {
    pub(crate) fn new(report: &'w Report, files: &'w Files, env: &'w dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            report,
            files,
            env,
            variables: BTreeMap::new(),
            locals: BTreeMap::new(),
            images: BTreeSet::new(),
            services: BTreeSet::new(),
            partial: false,
            budget: Budget::default(),
            exhausted: Cell::new(false),
            env_read: RefCell::new(None),
        }
    }
}

impl<'s> Scope<'s> {
    pub(crate) fn new(world: &'s World<'s>, room: Room, here: Place) -> Self {
        Self { world, room, here, bindings: None }
    }

    /// The place of a part of the syntax; the surrounding place when the parser kept none.
    pub(crate) fn place(&self, node: &impl Span) -> Place {
        node.span().map_or(self.here, |range| Place::new(self.file(), range))
    }

    /// The place of an expression. The parser keeps none for the inner ones of a chain of operators.
    pub(crate) fn place_of(&self, expr: &Expression) -> Place {
        match (expr.span(), expr) {
            (Some(range), _) => Place::new(self.file(), range),
            (None, Expression::BinaryOp(op)) => self.place_of(&op.lhs_expr).to(self.place_of(&op.rhs_expr)),
            (None, Expression::Conditional(cond)) => {
                self.place_of(&cond.cond_expr).to(self.place_of(&cond.false_expr))
            }
            (None, Expression::Traversal(traversal)) => self.place_of(&traversal.expr),
            (None, _) => self.here,
        }
    }

    fn file(&self) -> FileId {
        self.here.file
    }

    pub(crate) fn fail<T>(&self, problem: Problem) -> Told<T> {
        Err(self.world.report.add(problem))
    }

    /// Turns a met limit into an error at a place; the limits of the whole spec are told once.
    fn within<T>(&self, place: Place, result: Result<T, Excess>) -> Told<T> {
        result.or_else(|excess| {
            let whole_spec = matches!(excess, Excess::Steps | Excess::Bytes);
            if whole_spec && self.world.exhausted.replace(true) {
                return Err(crate::report::Reported);
            }
            self.fail(
                Problem::error(place, excess.message())
                    .label("the limit is met here")
                    .help("build smaller values, or write them out"),
            )
        })
    }

    fn admit(&self, place: Place, value: Value) -> Told<Value> {
        self.within(place, self.world.budget.admit(value))
    }

    fn lookup(&self, name: &str) -> Option<&'s Value> {
        let mut at = self.bindings;
        while let Some(binding) = at {
            if binding.name == name {
                return Some(&binding.value);
            }
            at = binding.outer;
        }
        None
    }

    fn bound_names(&self) -> Vec<&'s str> {
        std::iter::successors(self.bindings, |b| b.outer).map(|b| b.name).collect()
    }
}
