//! The worlds that are checked.

use kiln_model::{
    Against, Amount, AnalysisSpec, Approval, Checkpoint, Metric, MetricSource, RolloutSpec, Span, Strategy,
};

use crate::world::{Quality, Trouble, World, rules, short};

const NONE: Trouble =
    Trouble { faults: 0, instances: false, network: false, crashes: false, people: false, freezes: false };
const INSTANCES: Trouble = Trouble { faults: 1, instances: true, ..NONE };
const NETWORK: Trouble = Trouble { faults: 1, network: true, crashes: true, ..NONE };
const PEOPLE: Trouble = Trouble { people: true, ..NONE };

/// Whether the larger worlds are asked for.
fn is_large() -> bool {
    std::env::var("KILN_MODEL").is_ok_and(|tier| tier == "large")
}

/// A strategy in worlds of two to four instances. The more can happen, the smaller they are.
fn around(name: &str, spec: &RolloutSpec) -> Vec<World> {
    let world = |what: &str, replicas, old, trouble| {
        World::with(&format!("{name}; {what}"), spec.clone(), replicas, old, trouble)
    };
    let both = Trouble { crashes: true, ..INSTANCES };
    let by_hand = Trouble { crashes: true, ..PEOPLE };
    let mut worlds = vec![
        world("instances fail, crashes", 2, 2, both),
        world("tables go astray, crashes", 2, 2, NETWORK),
        world("people, crashes", 2, 2, by_hand),
        world("instances fail", 3, 3, INSTANCES),
        world("tables go astray, crashes", 3, 3, Trouble { crashes: false, ..NETWORK }),
        world("instances fail", 3, 2, INSTANCES),
        world("people", 2, 3, PEOPLE),
        world("tables go astray", 4, 4, Trouble { crashes: false, ..NETWORK }),
    ];
    if is_large() {
        let two = |trouble: Trouble| Trouble { faults: 2, ..trouble };
        let all = Trouble {
            faults: 1,
            instances: true,
            network: true,
            crashes: true,
            people: true,
            freezes: false,
        };
        worlds.extend([
            world("anything", 2, 2, all),
            world("instances fail twice, crashes", 2, 2, two(both)),
            world("tables go astray twice, crashes", 3, 3, two(NETWORK)),
            world("instances fail twice", 3, 3, two(INSTANCES)),
            world("people, crashes", 3, 3, by_hand),
            world("instances fail, crashes", 4, 4, both),
            world("people", 4, 4, PEOPLE),
        ]);
    }
    worlds
}

/// A variant of a strategy that [`around`] has been through.
fn near(name: &str, spec: &RolloutSpec) -> Vec<World> {
    if is_large() {
        return around(name, spec);
    }
    let world = |what: &str, replicas, old, trouble| {
        World::with(&format!("{name}; {what}"), spec.clone(), replicas, old, trouble)
    };
    vec![
        world("instances fail", 3, 2, INSTANCES),
        world("people", 2, 3, PEOPLE),
        world("tables go astray", 4, 4, Trouble { crashes: false, ..NETWORK }),
    ]
}

pub(crate) fn recreate() -> Vec<World> {
    around("recreate", &rules(Strategy::Recreate))
}

fn rolled(surge: u32, unavailable: u32, batch: Option<u32>, pause: Span) -> RolloutSpec {
    let count = Amount::Count;
    rules(Strategy::Rolling {
        max_surge: count(surge),
        max_unavailable: count(unavailable),
        batch: batch.map(count),
        pause,
    })
}

pub(crate) fn rolling_with_surge() -> Vec<World> {
    let nothing = Span::default();
    [
        around("rolling, surge 1", &rolled(1, 0, None, nothing)),
        near("rolling, surge 2, batch 1, pause", &rolled(2, 0, Some(1), short())),
    ]
    .concat()
}

pub(crate) fn rolling_with_gaps() -> Vec<World> {
    let gap = rolled(0, 1, None, Span::default());
    // The smallest world in which a batch must leave fewer than it would take, because a new instance is ill.
    let ill = World::with("rolling, unavailable 1; instances fail", gap.clone(), 4, 4, INSTANCES);
    let mut worlds = vec![ill.only(Quality::Good)];
    worlds.extend(around("rolling, unavailable 1", &gap));
    worlds.extend(near("rolling, surge 1, unavailable 1", &rolled(1, 1, None, Span::default())));
    worlds
}

pub(crate) fn blue_green() -> Vec<World> {
    let spec = rules(Strategy::BlueGreen { hold: short() });
    let late = RolloutSpec { scale_down_delay: short(), min_healthy: short(), ..spec.clone() };
    let mut worlds = around("blue-green", &spec);
    worlds.push(World::with("blue-green, delay, healthy for a while", late, 2, 2, INSTANCES));
    worlds.extend([1, 2, 3].map(|size| {
        World::with("blue-green, first deploy", spec.clone(), size, 0, Trouble { crashes: true, ..INSTANCES })
    }));
    worlds
}

pub(crate) fn canary() -> Vec<World> {
    around("canary 50", &rules(Strategy::Canary { steps: vec![50], hold: short() }))
}

/// An analysis with a source of its own, so that every verdict can come.
fn analysed(against: Against, strategy: Strategy) -> RolloutSpec {
    let source = MetricSource::Command { argv: vec!["true".into()] };
    let metric =
        Metric { name: "asked".into(), source, max: None, min: None, failure_limit: 0, error_limit: 0 };
    let analysis = AnalysisSpec {
        against,
        max_error_rate: Some(0.1),
        interval: Span::from_millis(1),
        metrics: vec![metric],
        ..AnalysisSpec::default()
    };
    RolloutSpec { analysis: Some(analysis), ..rules(strategy) }
}

pub(crate) fn rests() -> Vec<World> {
    let canary = || Strategy::Canary { steps: vec![34], hold: short() };
    let asked = RolloutSpec {
        approval: Some(Approval { before: vec![50], by: vec!["alice".into()] }),
        checkpoints: vec![Checkpoint { at: 20, hold: short() }],
        ..rules(Strategy::Canary { steps: vec![34], hold: Span::default() })
    };
    let compared = analysed(Against::Baseline, canary());
    let limited = analysed(Against::Limits, Strategy::BlueGreen { hold: short() });
    let careful = RolloutSpec { auto_rollback: false, ..rules(Strategy::BlueGreen { hold: short() }) };
    let batches = analysed(Against::Old, rolled(1, 0, None, short()).strategy);
    let by_hand = RolloutSpec { auto_rollback: false, ..rolled(1, 0, None, Span::default()) };
    let freezes = Trouble { freezes: true, crashes: true, ..NONE };
    vec![
        World::with("canary, approval, checkpoint; people", asked.clone(), 3, 3, PEOPLE),
        World::with(
            "canary, approval, checkpoint; crashes",
            asked,
            2,
            2,
            Trouble { crashes: true, ..INSTANCES },
        ),
        World::with("canary, baseline; instances fail", compared.clone(), 3, 3, INSTANCES)
            .only(Quality::Good),
        World::with("canary, baseline; people", compared.clone(), 2, 2, PEOPLE),
        World::with("canary, baseline; tables go astray", compared, 2, 2, NETWORK).only(Quality::Good),
        World::with("blue-green, limits; instances fail", limited.clone(), 2, 2, INSTANCES),
        World::with("blue-green, limits; crashes", limited, 2, 2, NETWORK),
        World::with("rolling, against the old; instances fail", batches, 2, 2, INSTANCES),
        World::with("blue-green without the way back; people", careful, 2, 2, PEOPLE),
        World::with("rolling without the way back; people", by_hand, 2, 2, PEOPLE),
        World::with("rolling, freezes; crashes", rolled(1, 0, None, Span::default()), 2, 2, freezes),
    ]
}
