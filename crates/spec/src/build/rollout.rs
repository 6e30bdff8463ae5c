//! `rollout` blocks.

use kiln_model::{RolloutSpec, Span};

use super::image::ImageDraft;
use super::preset::Base;
use super::{analysis, canary_traffic, gates, strategy};
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;

/// `image` is the service's when it is in order.
pub(super) fn build(
    world: &World<'_>,
    section: &Section<'_>,
    replicas: u32,
    image: Option<&ImageDraft>,
) -> RolloutSpec {
    let base = Base::of(world, section);
    let default = base.spec.clone();
    let span = |name: &str, default: Span| section.span(name).unwrap_or(default);
    let strategy = strategy::build(world, section, &base, replicas);
    let (checkpoints, approval) = gates::build(world, section, &strategy);
    let spec = RolloutSpec {
        min_healthy: span("min_healthy", default.min_healthy),
        healthy_deadline: span("healthy_deadline", default.healthy_deadline),
        progress_deadline: span("progress_deadline", default.progress_deadline),
        drain_deadline: span("drain_deadline", default.drain_deadline),
        auto_rollback: section.flag("auto_rollback").unwrap_or(default.auto_rollback),
        max_unhealthy: section.share("max_unhealthy").unwrap_or(default.max_unhealthy),
        max_unhealthy_new: section.share("max_unhealthy_new").unwrap_or(default.max_unhealthy_new),
        scale_down_delay: span("scale_down_delay", default.scale_down_delay),
        checkpoints,
        approval,
        analysis: section.one("analyse").map(|block| analysis::build(world, block, image)),
        canary_traffic: canary_traffic::build(world, section),
        strategy,
    };
    check_deadlines(world, section, &spec);
    spec
}

/// A deadline that comes before an instance can count as healthy ends every rollout.
fn check_deadlines(world: &World<'_>, section: &Section<'_>, spec: &RolloutSpec) {
    for (name, deadline) in
        [("healthy_deadline", spec.healthy_deadline), ("progress_deadline", spec.progress_deadline)]
    {
        if deadline.millis() == 0 {
            let problem = Problem::error(section.at(name), format!("`{name}` must be longer than nothing"));
            world.report.add(problem.help(format!("write it like {name} = \"2m\"")));
        } else if deadline <= spec.min_healthy && section.readable(&[name, "min_healthy"]) {
            let place = if section.has(name) { section.at(name) } else { section.at("min_healthy") };
            let message = format!("`{name}` ({deadline}) is not above `min_healthy` ({})", spec.min_healthy);
            world.report.add(
                Problem::error(place, message)
                    .note("every rollout would run out of time before its first instance counts")
                    .help(format!("write {name} above {}, or make `min_healthy` shorter", spec.min_healthy)),
            );
        }
    }
}
