//! `locals` blocks: evaluated in the order of their dependencies.

use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::expr::{Expression, Traversal};
use hcl_edit::visit::{Visit, visit_traversal};

use super::traversal::step_name;
use super::{Local, Room, Scope, World};
use crate::report::{Problem, Reported};
use crate::source::Place;

/// The definition of one local.
pub(crate) struct Definition<'d> {
    pub(crate) key: Place,
    pub(crate) expr: &'d Expression,
}

/// Evaluates all locals into the world.
pub(crate) fn evaluate(world: &mut World<'_>, definitions: &BTreeMap<String, Definition<'_>>) {
    let unknown = Local { value: Err(Reported), env_read: None };
    world.locals = definitions.keys().map(|name| (name.clone(), unknown.clone())).collect();
    let needs: BTreeMap<&str, BTreeSet<String>> =
        definitions.iter().map(|(name, d)| (name.as_str(), references(d.expr))).collect();
    let edges = needs.iter().map(|(name, list)| (*name, list.iter().map(String::as_str).collect()));
    let order = crate::graph::order(&edges.collect());
    for cycle in &order.cycles {
        report_cycle(world, definitions, cycle);
    }
    for name in &order.sorted {
        let Some(definition) = definitions.get(*name) else { continue };
        world.env_read.replace(None);
        let value = Scope::new(world, Room::Free, definition.key).eval(definition.expr);
        let env_read = world.env_read.take();
        world.locals.insert((*name).to_owned(), Local { value, env_read });
    }
}

fn report_cycle(world: &World<'_>, definitions: &BTreeMap<String, Definition<'_>>, cycle: &[&str]) {
    let Some(first) = cycle.first().and_then(|name| definitions.get(*name)) else { return };
    let message = match cycle {
        [only] => format!("the local `{only}` refers to itself"),
        _ => format!("these locals refer to each other in a circle: {}", crate::graph::shown(cycle)),
    };
    let mut problem = Problem::error(first.key, message).help("take one of the references out");
    for name in cycle.iter().skip(1).take(8) {
        if let Some(other) = definitions.get(*name) {
            problem = problem.also(other.key, "in the circle");
        }
    }
    world.report.add(problem);
}

/// Names of the locals that an expression refers to.
fn references(expr: &Expression) -> BTreeSet<String> {
    let mut finder = Finder(BTreeSet::new());
    finder.visit_expr(expr);
    finder.0
}

struct Finder(BTreeSet<String>);

impl Visit for Finder {
    fn visit_traversal(&mut self, node: &Traversal) {
        if let Expression::Variable(root) = &node.expr
            && root.value().as_str() == "local"
            && let Some(name) = node.operators.first().and_then(|first| step_name(first.value()))
        {
            self.0.insert(name.to_owned());
        }
        visit_traversal(self, node);
    }
}
