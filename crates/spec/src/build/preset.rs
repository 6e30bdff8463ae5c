//! What a rollout is when its own fields say nothing: Kiln's defaults, or a preset by the name that a peer gives it.

use kiln_model::{Amount, RolloutSpec, Span, Strategy};

use super::azure;
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::source::Place;
use crate::suggest::nearest;

/// Values under the fields of a `rollout` block.
pub(super) struct Base {
    pub(super) spec: RolloutSpec,
    /// Of the preset.
    pub(super) name: Option<String>,
    /// What brought the values: the preset, the policy, else the rollout itself.
    pub(super) place: Place,
    /// Whether it is Azure's policy.
    pub(super) policy: bool,
    /// Whether it could be read.
    pub(super) sound: bool,
}

/// One preset of one strategy.
struct Preset {
    strategy: &'static str,
    name: &'static str,
    values: Values,
}

#[derive(Clone, Copy)]
enum Values {
    /// Kubernetes' defaults of a Deployment.
    Kubernetes,
    /// CodeDeploy on EC2: so many instances at a time, in place.
    AtATime(Amount),
    /// CodeDeploy on ECS and Lambda: percent and minutes, then all at once.
    Canary(u8, u64),
    /// CodeDeploy on ECS and Lambda: percent again and again, after so many minutes.
    Linear(u8, u64),
}

const fn rolling(name: &'static str, values: Values) -> Preset {
    Preset { strategy: "rolling", name, values }
}

const fn canary(name: &'static str, values: Values) -> Preset {
    Preset { strategy: "canary", name, values }
}

static PRESETS: &[Preset] = &[
    rolling("kubernetes", Values::Kubernetes),
    rolling("OneAtATime", Values::AtATime(Amount::Count(1))),
    rolling("HalfAtATime", Values::AtATime(Amount::Percent(50))),
    rolling("AllAtOnce", Values::AtATime(Amount::Percent(100))),
    canary("AllAtOnce", Values::Linear(100, 0)),
    canary("Canary10Percent5Minutes", Values::Canary(10, 5)),
    canary("Canary10Percent10Minutes", Values::Canary(10, 10)),
    canary("Canary10Percent15Minutes", Values::Canary(10, 15)),
    canary("Canary10Percent30Minutes", Values::Canary(10, 30)),
    canary("Linear10PercentEvery1Minutes", Values::Linear(10, 1)),
    // CodeDeploy's own spelling for Lambda.
    canary("Linear10PercentEvery1Minute", Values::Linear(10, 1)),
    canary("Linear10PercentEvery2Minutes", Values::Linear(10, 2)),
    canary("Linear10PercentEvery3Minutes", Values::Linear(10, 3)),
    canary("Linear10PercentEvery10Minutes", Values::Linear(10, 10)),
];

impl Base {
    pub(super) fn of(world: &World<'_>, section: &Section<'_>) -> Self {
        let strategy = plain(section.label_text());
        let spec = RolloutSpec { strategy, ..RolloutSpec::default() };
        let mut base = Self { spec, name: None, place: section.place, policy: false, sound: true };
        if let Some(name) = section.text("preset") {
            base.name = Some(name.clone());
            base.place = section.at("preset");
            match find(section.label_text(), &name) {
                Some(preset) => preset.values.apply(&mut base.spec),
                None => {
                    unknown(world, section, &name);
                    base.sound = false;
                }
            }
        }
        let Some(policy) = section.one("rolling_upgrade_policy") else { return base };
        if section.has("preset") {
            world.report.add(
                Problem::error(policy.place, "this rollout has a preset and Azure's policy")
                    .also(base.place, "the preset")
                    .help("keep one of the two"),
            );
        }
        base.place = policy.place;
        base.policy = true;
        base.sound &= policy.sound;
        azure::apply(world, policy, &mut base.spec);
        base
    }
}

/// Kiln's own defaults.
fn plain(label: &str) -> Strategy {
    let none = Span::default();
    match label {
        "recreate" => Strategy::Recreate,
        "rolling" => Strategy::Rolling {
            max_surge: Amount::Percent(25),
            max_unavailable: Amount::Count(0),
            batch: None,
            pause: none,
        },
        "canary" => Strategy::Canary { steps: vec![5, 25, 75, 100], hold: none },
        _ => Strategy::BlueGreen { hold: none },
    }
}

impl Values {
    fn apply(self, spec: &mut RolloutSpec) {
        let in_place = |max_unavailable| Strategy::Rolling {
            max_surge: Amount::Count(0),
            max_unavailable,
            batch: None,
            pause: Span::default(),
        };
        let minutes = |minutes| Span::from_secs(60 * minutes);
        match self {
            Self::Kubernetes => {
                spec.strategy = Strategy::Rolling {
                    max_surge: Amount::Percent(25),
                    max_unavailable: Amount::Percent(25),
                    batch: None,
                    pause: Span::default(),
                };
                spec.progress_deadline = Span::from_secs(600);
                spec.min_healthy = Span::default();
            }
            Self::AtATime(away) => spec.strategy = in_place(away),
            Self::Canary(percent, wait) => {
                spec.strategy = Strategy::Canary { steps: vec![percent, 100], hold: minutes(wait) };
            }
            Self::Linear(percent, wait) => {
                let steps = (percent..=100).step_by(percent.into()).collect();
                spec.strategy = Strategy::Canary { steps, hold: minutes(wait) };
            }
        }
    }
}

/// The preset of a strategy; `CodeDeployDefault.`, and then `ECS` and `Lambda`, may stand before CodeDeploy's names.
fn find(strategy: &str, name: &str) -> Option<&'static Preset> {
    let of = |name: &str| PRESETS.iter().find(|p| p.strategy == strategy && p.name == name);
    let Some(short) = name.strip_prefix("CodeDeployDefault.") else { return of(name) };
    let platform = short.strip_prefix("ECS").or_else(|| short.strip_prefix("Lambda"));
    match (strategy, platform) {
        ("canary", Some(short)) => of(short),
        ("rolling", None) if short != "kubernetes" => of(short),
        _ => None,
    }
}

fn unknown(world: &World<'_>, section: &Section<'_>, name: &str) {
    let strategy = section.label_text();
    let short = name.strip_prefix("CodeDeployDefault.").unwrap_or(name);
    let short = ["ECS", "Lambda"].iter().find_map(|start| short.strip_prefix(start)).unwrap_or(short);
    let here = || PRESETS.iter().filter(|p| p.strategy == strategy).map(|p| p.name);
    let other = PRESETS.iter().find(|p| p.strategy != strategy && p.name == short);
    let help = match (other, nearest(short, here())) {
        (Some(other), _) => format!("that one belongs to rollout \"{}\"", other.strategy),
        (None, Some(near)) => format!("did you mean \"{near}\"?"),
        (None, None) => {
            let list: Vec<_> = here().map(|name| format!("\"{name}\"")).collect();
            format!("known for rollout \"{strategy}\": {}", list.join(", "))
        }
    };
    let message = format!("rollout \"{strategy}\" has no preset called {name:?}");
    world.report.add(Problem::error(section.at("preset"), message).help(help));
}
