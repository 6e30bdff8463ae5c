//! The strategy of a rollout, with its room to move.

use kiln_model::{Amount, Strategy};

use super::preset::Base;
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::source::Place;

pub(super) fn build(world: &World<'_>, section: &Section<'_>, base: &Base, replicas: u32) -> Strategy {
    match &base.spec.strategy {
        Strategy::Recreate => Strategy::Recreate,
        Strategy::BlueGreen { hold } => Strategy::BlueGreen { hold: section.span("hold").unwrap_or(*hold) },
        Strategy::Canary { steps, hold } => Strategy::Canary {
            steps: section
                .shares("steps")
                .map_or_else(|| steps.clone(), |steps| ascending(world, section, steps)),
            hold: section.span("hold").unwrap_or(*hold),
        },
        Strategy::Rolling { max_surge, max_unavailable, batch, pause } => {
            let room = Room {
                surge: section.amount("max_surge").unwrap_or(*max_surge),
                unavailable: section.amount("max_unavailable").unwrap_or(*max_unavailable),
            };
            let batch = section.amount("batch").or(*batch);
            if base.sound && section.readable(&["max_surge", "max_unavailable"]) {
                room.check(world, section, base, replicas);
            }
            if batch.is_some_and(is_none) {
                let problem = Problem::error(section.at("batch"), "a batch must have at least one instance");
                world.report.add(problem.help("write batch = 1, or take it out for no limit"));
            }
            let pause = section.span("pause").unwrap_or(*pause);
            Strategy::Rolling { max_surge: room.surge, max_unavailable: room.unavailable, batch, pause }
        }
    }
}

fn is_none(amount: Amount) -> bool {
    matches!(amount, Amount::Count(0) | Amount::Percent(0))
}

/// How far a rolling update may leave the wanted size. Rounds as Kubernetes does: surge up, unavailable down, and one
/// unavailable when both come to none.
struct Room {
    surge: Amount,
    unavailable: Amount,
}

impl Room {
    fn check(&self, world: &World<'_>, section: &Section<'_>, base: &Base, replicas: u32) {
        if is_none(self.surge) && is_none(self.unavailable) {
            let message = "with no surge and none unavailable, nothing can ever be replaced";
            world.report.add(
                Problem::error(place(section, base, "max_surge"), message)
                    .note("`max_surge` and `max_unavailable` are both 0")
                    .help("write max_surge = 1, or max_unavailable = 1"),
            );
        } else if replicas > 0 && is_none(self.surge) && self.away(replicas) >= replicas {
            report_outage(world, section, base, replicas);
        }
    }

    /// Instances that may be missing when there is no surge.
    fn away(&self, replicas: u32) -> u32 {
        match self.unavailable {
            Amount::Count(count) => count,
            Amount::Percent(percent) => {
                let down = u64::from(replicas) * u64::from(percent) / 100;
                u32::try_from(down).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

fn report_outage(world: &World<'_>, section: &Section<'_>, base: &Base, replicas: u32) {
    let who = base.name.as_ref().map_or_else(
        || if base.policy { "this policy" } else { "this rollout" }.to_owned(),
        |name| format!("{name:?}"),
    );
    let whom = match replicas {
        1 => "the only instance".to_owned(),
        many => format!("all {many} instances"),
    };
    let message = format!("{who} takes {whom} away before a new one is there");
    world.report.add(
        Problem::error(place(section, base, "max_unavailable"), message)
            .note("nothing would serve meanwhile")
            .help(if base.policy {
                "write maxSurge = true: new instances come first then"
            } else {
                "write max_surge = 1 and max_unavailable = 0, or use rollout \"blue-green\"; where two releases \
                 may not run at once, rollout \"recreate\""
            }),
    );
}

/// Where a value comes from: its attribute, else the preset.
fn place(section: &Section<'_>, base: &Base, name: &str) -> Place {
    if section.has(name) { section.at(name) } else { base.place }
}

fn ascending(world: &World<'_>, section: &Section<'_>, steps: Vec<u8>) -> Vec<u8> {
    if let Some(index) = descent(&steps) {
        world.report.add(
            Problem::error(section.item_at("steps", index), "the steps of a canary must ascend")
                .label(format!("not above {}", steps[index - 1]))
                .help("write them like steps = [5, 25, 75, 100]"),
        );
    }
    steps
}

/// The first item that is not above the one before it.
pub(super) fn descent(items: &[u8]) -> Option<usize> {
    items.windows(2).position(|pair| pair[0] >= pair[1]).map(|index| index + 1)
}
