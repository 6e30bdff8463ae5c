//! The whole loop in one thread: the real engine, the strict fake provider, the fake data plane, and a control
//! plane that is killed between any two acts. A seed decides about everything, so a failure can be replayed.
//!
//! The control plane here does what the real one must: observe, tell the data plane who is ready, decide, write the
//! rollout down, ensure the actions, and say `drained` of what the data plane no longer sends requests to.

mod check;
mod control;
mod scenario;

use std::fmt;

use kiln_model::FleetId;
use kiln_rollout::{Setup, State, abort, start};

use crate::{FakeClock, FakeProvider, FakeTraffic, Rng, fleet_spec};
use control::{Control, Disk};
pub use scenario::{Quality, Scenario};

/// More turns than any scenario needs.
const TURNS: u32 = 20_000;

/// What a simulated rollout came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub state: State,
    /// Turns of the control plane.
    pub turns: u32,
    /// Times it was killed.
    pub crashes: u32,
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

/// Simulates the rollout that `seed` stands for.
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
            let trace = simulator.trace.iter().rev().take(40).rev().cloned().collect();
            Box::new(Broken { seed: scenario.seed, what, trace, scenario: scenario.clone() })
        })
    })
}

struct Simulator<'a> {
    scenario: &'a Scenario,
    clock: FakeClock,
    provider: FakeProvider,
    traffic: FakeTraffic,
    disk: Disk,
    rng: Rng,
    traced: bool,
    trace: Vec<String>,
    crashes: u32,
}

fn fleet(number: u64) -> FleetId {
    fleet_spec(number).release.fleet()
}

impl<'a> Simulator<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let clock = FakeClock::default();
        let provider = FakeProvider::new(clock.clone(), scenario.seed ^ 1);
        let mut rng = Rng::new(scenario.seed ^ 2);
        provider.script(&fleet(1), scenario::good_lives(&mut rng));
        provider.script(&fleet(2), scenario.new_script(&mut rng));
        let traffic = FakeTraffic::new(scenario.seed ^ 3, scenario.traffic);
        Self {
            scenario,
            clock,
            provider,
            traffic,
            disk: Disk::default(),
            rng,
            traced: false,
            trace: Vec::new(),
            crashes: 0,
        }
    }

    fn run(&mut self) -> Result<Outcome, String> {
        self.settle_old();
        let begun = self.clock.now_ms();
        let setup = Setup::new(
            fleet(2),
            self.scenario.old.map(|size| (fleet(1), size)),
            self.scenario.replicas,
            self.scenario.spec.clone(),
        );
        let rollout =
            start(setup, begun).map_err(|error| format!("the scenario cannot be planned: {error}"))?;
        self.disk.save(&rollout);
        self.provider.faults(self.scenario.provider);
        let mut control = Control::new(self.scenario);
        let mut aborted = false;
        for turn in 0..TURNS {
            self.clock.advance(20 + self.rng.below(280));
            self.look_at_requests()?;
            let now = self.clock.now_ms();
            if !aborted && self.scenario.abort_after.is_some_and(|after| now >= begun + after) {
                aborted = true;
                self.disk.update(|rollout| abort(rollout, "a person asked", now));
            }
            let done = control.turn(&self.provider, &mut self.traffic, &mut self.disk, &mut self.rng);
            self.note(turn, done.is_err());
            let seen = self.provider.peek();
            check::done(&self.provider, control.unsafe_act())?;
            check::always(self.scenario, &seen, &self.traffic, self.disk.load())?;
            if done.is_err() {
                self.crashes += 1;
                control = Control::new(self.scenario);
            }
            if self.disk.load().is_over() && done.is_ok() && check::at_rest(&seen, self.disk.load()) {
                let rollout = self.disk.load();
                check::end(self.scenario, &seen, &self.traffic, rollout)?;
                let millis = self.clock.now_ms() - begun;
                return Ok(Outcome {
                    state: rollout.state.clone(),
                    turns: turn,
                    crashes: self.crashes,
                    millis,
                });
            }
        }
        Err(format!("it did not end within {TURNS} turns: {:?}", self.disk.load().state))
    }

    /// The world before: the old fleet serves.
    fn settle_old(&mut self) {
        let Some(size) = self.scenario.old else { return };
        control::settle(&self.provider, &mut self.traffic, &mut self.disk, size);
    }

    /// Lets requests flow. A good world loses none, whatever happens to the control plane.
    fn look_at_requests(&mut self) -> Result<(), String> {
        let seen = self.provider.peek();
        let living = check::living(&seen);
        let wasted = self.traffic.tick(self.clock.now_ms(), |id| living.contains(id));
        if self.scenario.quality == Quality::Good && !wasted.is_empty() {
            return Err(format!("requests were sent to instances that are gone: {wasted:?}"));
        }
        Ok(())
    }

    fn note(&mut self, turn: u32, crashed: bool) {
        if !self.traced {
            return;
        }
        let rollout = self.disk.load();
        let line = format!(
            "{turn:>5} {:>8} {:?} wish new {} old {} {:?} in force {:?} fleets {}{}",
            self.clock.now_ms() - rollout.started_ms,
            rollout.state,
            rollout.memory.wish.new,
            rollout.memory.wish.old,
            check::short(&rollout.memory.wish.weights),
            check::short(&self.traffic.in_force().1.weights),
            check::census(&self.provider.peek()),
            if crashed { " CRASH" } else { "" },
        );
        self.trace.push(line);
    }
}
