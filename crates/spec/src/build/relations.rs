//! Circles among images and among services.

use std::collections::BTreeMap;

use kiln_model::Name;

use super::image::ImageDraft;
use super::service::ServiceDraft;
use crate::eval::World;
use crate::graph;
use crate::report::Problem;
use crate::source::Place;

/// Images that copy from each other.
pub(super) fn images(world: &World<'_>, images: &BTreeMap<Name, ImageDraft>) {
    let edges = images.iter().map(|(name, draft)| (name.as_str(), draft.copies.as_slice())).collect();
    report(world, &edges, "copies from", "take one of the copies out");
}

/// Services that wait for each other.
pub(super) fn services(world: &World<'_>, services: &BTreeMap<Name, ServiceDraft>) {
    let edges = services.iter().map(|(name, draft)| (name.as_str(), draft.needs.as_slice())).collect();
    report(world, &edges, "depends on", "services may call each other without `depends_on`: take one out");
}

fn report<'e>(world: &World<'_>, edges: &BTreeMap<&'e str, &'e [(Name, Place)]>, verb: &str, help: &str) {
    let needs =
        edges.iter().map(|(name, list)| (*name, list.iter().map(|(other, _)| other.as_str()).collect()));
    let order = graph::order(&needs.collect());
    for cycle in order.cycles {
        let (Some(first), Some(last)) = (cycle.first(), cycle.last()) else { continue };
        let closing = edges.get(last).and_then(|list| list.iter().find(|(name, _)| name.as_str() == *first));
        let Some((_, place)) = closing else { continue };
        let message = match cycle.as_slice() {
            [only] => format!("`{only}` {verb} itself"),
            _ => format!("there is a circle: {}", graph::shown(&cycle)),
        };
        world.report.add(Problem::error(*place, message).label("closes the circle").help(help));
    }
}
