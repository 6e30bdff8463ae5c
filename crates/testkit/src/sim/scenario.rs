//! What a seed stands for.

use kiln_model::{Amount, RolloutSpec, Span, Strategy};
use kiln_rollout::plan;

use crate::{Behaviour, Faults, Rng, TrafficFaults};

/// What the new release is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Starts, passes its checks, and lives.
    Good,
    /// Exits before it is ever ready.
    ExitsAtStart,
    /// Lives and is never ready.
    NeverReady,
    /// Is ready and fails its checks.
    FailsChecks,
    /// Is ready, and every instance exits some time later.
    Dies,
    /// Is ready with breaks.
    Flaky,
}

/// A world for one rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The seed that it came from and that decides about the rest.
    pub seed: u64,
    /// Instances wanted.
    pub replicas: u32,
    /// Size of the old fleet.
    pub old: Option<u32>,
    /// The rules.
    pub spec: RolloutSpec,
    /// What the new release is worth. The old one is good.
    pub quality: Quality,
    /// Faults of the provider's calls.
    pub provider: Faults,
    /// Faults on the way to the data plane.
    pub traffic: TrafficFaults,
    /// How often the control plane is killed, in a thousand acts.
    pub crashes: u32,
    /// When a person aborts, milliseconds after the beginning.
    pub abort_after: Option<i64>,
}

impl Scenario {
    /// The scenario of a seed: one that can be planned.
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        loop {
            let scenario = Self::draw(seed, &mut rng);
            if plan(&scenario.spec, scenario.replicas, scenario.old).is_ok() {
                return scenario;
            }
        }
    }

    fn draw(seed: u64, rng: &mut Rng) -> Self {
        let size = |rng: &mut Rng| {
            // Most worlds are small: they hold most of the corners and leave time for more seeds.
            let most = *rng.pick(&[2, 3, 3, 5, 5, 5, 5, 10, 10, 10, 20, 100]);
            u32::try_from(1 + rng.below(most)).unwrap_or(1)
        };
        let replicas = size(rng);
        let old = match rng.below(10) {
            0 => None,
            1..=3 => Some(size(rng)),
            _ => Some(replicas),
        };
        let faulty = rng.chance(700);
        let rate =
            |rng: &mut Rng, most: u64| if faulty { u32::try_from(rng.below(most)).unwrap_or(0) } else { 0 };
        Self {
            seed,
            replicas,
            old,
            spec: rules(rng),
            quality: *rng.pick(&[
                Quality::Good,
                Quality::Good,
                Quality::Good,
                Quality::ExitsAtStart,
                Quality::NeverReady,
                Quality::FailsChecks,
                Quality::Dies,
                Quality::Flaky,
            ]),
            provider: Faults { error_before: rate(rng, 100), error_after: rate(rng, 100) },
            traffic: TrafficFaults { lost: rate(rng, 200), unanswered: rate(rng, 200), late: rate(rng, 200) },
            crashes: rate(rng, 150),
            abort_after: rng.chance(150).then(|| i64::try_from(rng.below(8_000)).unwrap_or(0)),
        }
    }

    /// Behaviours of the new fleet's instances.
    pub(super) fn new_script(&self, rng: &mut Rng) -> Vec<Behaviour> {
        (0..64).map(|_| self.life(rng)).collect()
    }

    fn life(&self, rng: &mut Rng) -> Behaviour {
        let good = good(rng);
        match self.quality {
            Quality::Good | Quality::FailsChecks => good,
            Quality::ExitsAtStart => {
                Behaviour { ready_after: None, exits_after: Some(rng.below(500)), ..good }
            }
            Quality::NeverReady => Behaviour { ready_after: None, ..good },
            Quality::Dies => Behaviour { exits_after: Some(700 + rng.below(4_000)), ..good },
            Quality::Flaky => {
                let from = rng.below(5_000);
                Behaviour { unready: vec![(from, from + rng.below(3_000))], ..good }
            }
        }
    }
}

/// Behaviours of the old fleet's instances.
pub(super) fn good_lives(rng: &mut Rng) -> Vec<Behaviour> {
    (0..8).map(|_| good(rng)).collect()
}

fn good(rng: &mut Rng) -> Behaviour {
    Behaviour {
        starts_after: rng.below(200),
        ready_after: Some(rng.below(600)),
        stops_after: rng.below(400),
        ..Behaviour::default()
    }
}

fn rules(rng: &mut Rng) -> RolloutSpec {
    let span = |rng: &mut Rng, most| Span::from_millis(rng.below(most));
    RolloutSpec {
        strategy: strategy(rng),
        min_healthy: if rng.chance(500) { Span::default() } else { span(rng, 1_500) },
        healthy_deadline: Span::from_millis(6_000 + rng.below(6_000)),
        // Faults cost time, and a good release must not fail by them.
        progress_deadline: Span::from_millis(60_000 + rng.below(30_000)),
        drain_deadline: span(rng, 5_000),
        auto_rollback: !rng.chance(50),
        ..RolloutSpec::default()
    }
}

fn strategy(rng: &mut Rng) -> Strategy {
    let hold = if rng.chance(400) { Span::default() } else { Span::from_millis(rng.below(2_000)) };
    match rng.below(5) {
        0 => Strategy::Recreate,
        1 => Strategy::BlueGreen { hold },
        2 => {
            let mut steps: Vec<u8> =
                (0..=rng.below(4)).map(|_| 1 + u8::try_from(rng.below(100)).unwrap_or(0)).collect();
            steps.sort_unstable();
            steps.dedup();
            Strategy::Canary { steps, hold }
        }
        _ => Strategy::Rolling {
            max_surge: amount(rng),
            max_unavailable: amount(rng),
            batch: if rng.chance(300) { Some(amount(rng)) } else { None },
            pause: hold,
        },
    }
}

fn amount(rng: &mut Rng) -> Amount {
    if rng.chance(500) {
        Amount::Count(u32::try_from(rng.below(4)).unwrap_or(0))
    } else {
        Amount::Percent(u32::try_from(rng.below(101)).unwrap_or(0))
    }
}
