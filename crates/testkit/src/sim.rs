//! The whole loop in one thread: the real engine, the strict fake provider, the fake data plane, people, and a control
//! plane that is killed between any two acts. A seed decides about everything, so a failure can be replayed.
//!
//! The control plane here does what the real one must: observe, tell the data plane who is ready, decide, write the
//! rollout down, ensure the actions, and say `drained` of what the data plane no longer sends requests to.
//!
//! A scenario is several rollouts in a row; each begins from the last stable release, which is always the way back.

mod acts;
mod check;
mod control;
mod meter;
mod people;
mod round;
mod scenario;

use std::fmt;

use kiln_model::FleetId;
use kiln_rollout::State;

use crate::{FakeClock, FakeProvider, FakeTraffic, Rng, fleet_spec};
pub use acts::{Interruption, fail_every_action};
use control::Disk;
use meter::Meter;
pub use people::Hand;
pub use scenario::{Deploy, Quality, Scenario};

/// What the rollouts of a scenario came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How each of them ended.
    pub states: Vec<State>,
    /// Turns of the control plane.
    pub turns: u32,
    /// Times it was killed.
    pub crashes: u32,
    /// What people did.
    pub hands: u32,
    /// Simulated time, milliseconds.
    pub millis: i64,
}

/// A broken promise, with all that is needed to see it again.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Replays it.
    pub seed: u64,
    /// The promise.
    pub what: String,
    /// The last turns.
    pub trace: Vec<String>,
    /// The world it was found in.
    pub scenario: Scenario,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} (replay with KILN_SEED={})", self.seed, self.what, self.seed)?;
        writeln!(f, "{:#?}", self.scenario)?;
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

/// Simulates the rollouts that `seed` stands for.
///
/// # Errors
/// The first promise that was broken.
pub fn simulate(seed: u64) -> Result<Outcome, Box<Broken>> {
    run(&Scenario::from_seed(seed))
}

/// Simulates the seeds, or only the one in the environment variable `KILN_SEED`.
///
/// # Panics
/// With the seed, when a promise is broken.
pub fn simulate_all(seeds: std::ops::Range<u64>) -> Vec<Outcome> {
    let only =
        std::env::var("KILN_SEED").ok().map(|text| text.parse::<u64>().expect("KILN_SEED is a number"));
    let seeds = only.map_or(seeds, |seed| seed..seed + 1);
    seeds.map(|seed| simulate(seed).unwrap_or_else(|broken| panic!("{broken}"))).collect()
}

/// Simulates a scenario.
///
/// # Errors
/// The first promise that was broken.
pub fn run(scenario: &Scenario) -> Result<Outcome, Box<Broken>> {
    Simulator::new(scenario).run().or_else(|_| {
        // Once more with a trace, which would cost the many good runs most of their time.
        let mut simulator = Simulator::new(scenario);
        simulator.traced = true;
        simulator.run().map_err(|what| {
            let trace = simulator.trace.iter().rev().take(60).rev().cloned().collect();
            Box::new(Broken { seed: scenario.seed, what, trace, scenario: scenario.clone() })
        })
    })
}

struct Simulator<'a> {
    scenario: &'a Scenario,
    clock: FakeClock,
    provider: FakeProvider,
    traffic: FakeTraffic,
    meter: Meter,
    disk: Disk,
    rng: Rng,
    /// The last stable release and its size.
    stable: Option<(u64, u32)>,
    /// Its instances fail by themselves.
    ill: bool,
    traced: bool,
    trace: Vec<String>,
    outcome: Outcome,
}

fn fleet(number: u64) -> FleetId {
    fleet_spec(number).release.fleet()
}

impl<'a> Simulator<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let clock = FakeClock::default();
        let provider = FakeProvider::new(clock.clone(), scenario.seed ^ 1);
        let mut rng = Rng::new(scenario.seed ^ 2);
        let zones: Vec<String> = (0..scenario.zones).map(|zone| format!("zone-{zone}")).collect();
        provider.zones(zones);
        provider.script(&fleet(1), scenario::good_lives(&mut rng));
        let traffic = FakeTraffic::new(scenario.seed ^ 3, scenario.traffic);
        let meter = Meter::new(scenario.seed ^ 4, scenario.requests, clock.now_ms());
        let outcome = Outcome { states: Vec::new(), turns: 0, crashes: 0, hands: 0, millis: 0 };
        Self {
            scenario,
            clock,
            provider,
            traffic,
            meter,
            disk: Disk::default(),
            rng,
            stable: scenario.old.map(|size| (1, size)),
            ill: false,
            traced: false,
            trace: Vec::new(),
            outcome,
        }
    }

    /// The world before: the stable fleet serves.
    fn settle(&mut self) {
        if let Some((number, size)) = self.stable {
            control::settle(&self.provider, &mut self.traffic, &mut self.disk, number, size);
        }
    }

    fn run(&mut self) -> Result<Outcome, String> {
        self.settle();
        let begun = self.clock.now_ms();
        self.provider.faults(self.scenario.provider);
        for (index, deploy) in self.scenario.deploys.iter().enumerate() {
            let state =
                self.deploy(2 + index as u64, deploy).map_err(|what| format!("deploy {index}: {what}"))?;
            if let Some(state) = state {
                let lost = matches!(state, State::Failed { .. });
                self.outcome.states.push(state);
                if lost {
                    break;
                }
            }
        }
        self.outcome.millis = self.clock.now_ms() - begun;
        Ok(self.outcome.clone())
    }
}
