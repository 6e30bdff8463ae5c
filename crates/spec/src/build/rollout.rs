//! `rollout` blocks.

use kiln_model::{Amount, RolloutSpec, Span, Strategy};

use crate::eval::{Value, World};
use crate::language::percent;
use crate::read::Section;
use crate::report::Problem;

pub(super) fn build(world: &World<'_>, section: &Section<'_>) -> RolloutSpec {
    let default = RolloutSpec::default();
    let span = |name: &str, default: Span| section.span(name).unwrap_or(default);
    for name in ["healthy_deadline", "progress_deadline"] {
        if section.span(name).is_some_and(|span| span.millis() == 0) {
            let problem = Problem::error(section.at(name), format!("`{name}` must be longer than nothing"));
            world.report.add(problem.help(format!("write it like {name} = \"2m\"")));
        }
    }
    RolloutSpec {
        strategy: strategy(world, section),
        min_healthy: span("min_healthy", default.min_healthy),
        healthy_deadline: span("healthy_deadline", default.healthy_deadline),
        progress_deadline: span("progress_deadline", default.progress_deadline),
        drain_deadline: span("drain_deadline", default.drain_deadline),
        auto_rollback: section.flag("auto_rollback").unwrap_or(default.auto_rollback),
        ..default
    }
}

fn strategy(world: &World<'_>, section: &Section<'_>) -> Strategy {
    let hold = section.span("hold").unwrap_or_default();
    match section.label_text() {
        "recreate" => Strategy::Recreate,
        "rolling" => rolling(world, section),
        "canary" => Strategy::Canary { steps: steps(world, section), hold },
        _ => Strategy::BlueGreen { hold },
    }
}

fn rolling(world: &World<'_>, section: &Section<'_>) -> Strategy {
    let max_surge = amount(section, "max_surge").unwrap_or(Amount::Percent(25));
    let max_unavailable = amount(section, "max_unavailable").unwrap_or(Amount::Count(0));
    let none = |amount: Amount| matches!(amount, Amount::Count(0) | Amount::Percent(0));
    if none(max_surge) && none(max_unavailable) {
        world.report.add(
            Problem::error(
                section.at("max_surge"),
                "with no surge and none unavailable, nothing can ever be replaced",
            )
            .note("`max_surge` and `max_unavailable` are both 0")
            .help("write max_surge = 1, or max_unavailable = 1"),
        );
    }
    Strategy::Rolling {
        max_surge,
        max_unavailable,
        batch: None,
        pause: section.span("pause").unwrap_or_default(),
    }
}

fn amount(section: &Section<'_>, name: &str) -> Option<Amount> {
    match section.value(name)? {
        Value::Text(text) =>
        {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number from 0 to 100"
            )]
            percent(text).map(|share| Amount::Percent(share as u32))
        }
        value => value.as_whole().and_then(|count| u32::try_from(count).ok()).map(Amount::Count),
    }
}

fn steps(world: &World<'_>, section: &Section<'_>) -> Vec<u8> {
    let given = section.value("steps").and_then(Value::as_list);
    let Some(items) = given else { return vec![5, 25, 75, 100] };
    let steps: Vec<u8> =
        items.iter().filter_map(|item| item.as_whole().and_then(|n| u8::try_from(n).ok())).collect();
    if let Some(index) = steps.windows(2).position(|pair| pair[0] >= pair[1]) {
        world.report.add(
            Problem::error(section.item_at("steps", index + 1), "the steps of a canary must ascend")
                .label(format!("not above {}", steps[index]))
                .help("write them like steps = [5, 25, 75, 100]"),
        );
    }
    steps
}
