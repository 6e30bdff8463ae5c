//! What a seed stands for.

use kiln_model::{Against, Amount, AnalysisSpec, Approval, Checkpoint, RolloutSpec, Span, Strategy};
use kiln_rollout::plan;

use super::people::Hand;
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
    /// Lives, and three in ten of its answers are errors.
    FailsRequests,
}

impl Quality {
    /// Whether its instances fail once they have traffic.
    pub(super) fn harms(self) -> bool {
        matches!(self, Self::Dies | Self::Flaky)
    }
}

/// One rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Deploy {
    /// Instances wanted.
    pub replicas: u32,
    /// The rules.
    pub spec: RolloutSpec,
    /// What the new release is worth. The old one is good.
    pub quality: Quality,
    /// What people do, milliseconds after the beginning.
    pub hands: Vec<(i64, Hand)>,
    /// When the data plane is restarted.
    pub restarts: Vec<i64>,
    /// When no stage may begin.
    pub freezes: Vec<(i64, i64)>,
}

/// A world for some rollouts.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The seed that it came from and that decides about the rest.
    pub seed: u64,
    /// Size of the fleet that serves before.
    pub old: Option<u32>,
    /// The rollouts, one after the other.
    pub deploys: Vec<Deploy>,
    /// Failure domains.
    pub zones: u32,
    /// Requests on an instance between two turns, at most; 0 is a service that nobody uses.
    pub requests: u64,
    /// Faults of the provider's calls.
    pub provider: Faults,
    /// Faults on the way to the data plane.
    pub traffic: TrafficFaults,
    /// How often the control plane is killed, in a thousand acts.
    pub crashes: u32,
}

impl Scenario {
    /// The scenario of a seed: one whose rollouts can be planned.
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let faulty = rng.chance(700);
        let rate =
            |rng: &mut Rng, most: u64| if faulty { u32::try_from(rng.below(most)).unwrap_or(0) } else { 0 };
        let most = size(&mut rng);
        let deploys = (0..=*rng.pick(&[0, 0, 0, 1, 1, 2])).map(|_| deploy(&mut rng, most)).collect();
        let old = match rng.below(10) {
            0 => None,
            1..=3 => Some(near(&mut rng, most)),
            _ => Some(most),
        };
        Self {
            seed,
            old,
            deploys,
            zones: u32::try_from(*rng.pick(&[0, 0, 1, 2, 3])).unwrap_or(0),
            requests: *rng.pick(&[0, 1, 5, 5, 20]),
            provider: Faults { error_before: rate(&mut rng, 100), error_after: rate(&mut rng, 100) },
            traffic: TrafficFaults {
                lost: rate(&mut rng, 200),
                unanswered: rate(&mut rng, 200),
                late: rate(&mut rng, 200),
            },
            crashes: rate(&mut rng, 150),
        }
    }
}

impl Scenario {
    /// A good release, and nothing goes wrong.
    pub(super) fn calm(spec: &RolloutSpec, replicas: u32, old: Option<u32>) -> Self {
        let (hands, restarts, freezes) = (Vec::new(), Vec::new(), Vec::new());
        let quality = Quality::Good;
        let deploy = Deploy { replicas, spec: spec.clone(), quality, hands, restarts, freezes };
        Self {
            seed: 7,
            old,
            deploys: vec![deploy],
            zones: 0,
            requests: 20,
            provider: Faults::default(),
            traffic: TrafficFaults::default(),
            crashes: 0,
        }
    }
}

/// Most worlds are small: they hold most of the corners and leave time for more seeds.
fn size(rng: &mut Rng) -> u32 {
    if rng.chance(4) {
        return 1_000;
    }
    let most = *rng.pick(&[2, 3, 3, 5, 5, 5, 5, 10, 10, 10, 20, 100]);
    u32::try_from(1 + rng.below(most)).unwrap_or(1)
}

fn near(rng: &mut Rng, size: u32) -> u32 {
    if size > 100 { size } else { u32::try_from(1 + rng.below(u64::from(size) + 2)).unwrap_or(1) }
}

fn deploy(rng: &mut Rng, most: u32) -> Deploy {
    let replicas = if rng.chance(700) { most } else { near(rng, most) };
    let spec = loop {
        let spec = rules(rng, replicas);
        // Whatever the fleet before is like: its size is what earlier rollouts have made it.
        if plan(&spec, replicas, None).is_ok() && plan(&spec, replicas, Some(replicas)).is_ok() {
            break spec;
        }
    };
    let quality = *rng.pick(&[
        Quality::Good,
        Quality::Good,
        Quality::Good,
        Quality::Good,
        Quality::ExitsAtStart,
        Quality::NeverReady,
        Quality::FailsChecks,
        Quality::Dies,
        Quality::Flaky,
        Quality::FailsRequests,
    ]);
    let at = |rng: &mut Rng| i64::try_from(rng.below(8_000)).unwrap_or(0);
    let kinds = [Hand::Pause, Hand::Resume, Hand::Promote, Hand::PromoteAll, Hand::Abort, Hand::Supersede];
    let busy = if rng.chance(350) { 1 + rng.below(4) } else { 0 };
    let mut hands: Vec<(i64, Hand)> = (0..busy).map(|_| (at(rng), *rng.pick(&kinds))).collect();
    hands.sort_by_key(|(after, _)| *after);
    let restarted = if rng.chance(300) { 1 + rng.below(3) } else { 0 };
    let mut restarts: Vec<i64> = (0..restarted).map(|_| at(rng)).collect();
    restarts.sort_unstable();
    let freezes = if rng.chance(150) { vec![at(rng)] } else { vec![] };
    let freezes = freezes.into_iter().map(|from| (from, from + 1 + at(rng))).collect();
    Deploy { replicas, spec, quality, hands, restarts, freezes }
}

impl Deploy {
    /// Behaviours of the new fleet's instances.
    pub(super) fn new_script(&self, rng: &mut Rng) -> Vec<Behaviour> {
        (0..64).map(|_| self.life(rng)).collect()
    }

    fn life(&self, rng: &mut Rng) -> Behaviour {
        let good = good(rng);
        match self.quality {
            Quality::Good | Quality::FailsChecks | Quality::FailsRequests => good,
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

fn rules(rng: &mut Rng, replicas: u32) -> RolloutSpec {
    let span = |rng: &mut Rng, most| Span::from_millis(rng.below(most));
    let share = |rng: &mut Rng| 1 + u8::try_from(rng.below(100)).unwrap_or(0);
    let rare = |rng: &mut Rng, most| if rng.chance(200) { span(rng, most) } else { Span::default() };
    let checkpoint = rng.chance(150).then(|| Checkpoint { at: share(rng), hold: span(rng, 2_000) });
    RolloutSpec {
        strategy: strategy(rng, replicas),
        min_healthy: if rng.chance(500) { Span::default() } else { span(rng, 1_500) },
        healthy_deadline: Span::from_millis(6_000 + rng.below(6_000)),
        // Faults cost time, and a good release must not fail by them.
        progress_deadline: Span::from_millis(60_000 + rng.below(30_000)),
        drain_deadline: span(rng, 5_000),
        auto_rollback: !rng.chance(80),
        max_unhealthy: *rng.pick(&[0, 20, 20, 50, 100]),
        max_unhealthy_new: *rng.pick(&[0, 20, 20, 50]),
        scale_down_delay: rare(rng, 3_000),
        checkpoints: checkpoint.into_iter().collect(),
        approval: rng.chance(100).then(|| Approval { before: vec![share(rng)], by: Vec::new() }),
        analysis: rng.chance(300).then(|| analysis(rng)),
        ..RolloutSpec::default()
    }
}

fn analysis(rng: &mut Rng) -> AnalysisSpec {
    AnalysisSpec {
        against: *rng.pick(&[Against::Limits, Against::Limits, Against::Old, Against::Baseline]),
        max_error_rate: Some(0.05),
        ..AnalysisSpec::default()
    }
}

fn strategy(rng: &mut Rng, replicas: u32) -> Strategy {
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
        // Hundreds of instances one by one would take the time of hundreds of seeds.
        _ if replicas > 100 => Strategy::Rolling {
            max_surge: Amount::Percent(10 + u32::try_from(rng.below(40)).unwrap_or(0)),
            max_unavailable: amount(rng),
            batch: None,
            pause: hold,
        },
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
