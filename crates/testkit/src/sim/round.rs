//! One rollout of a scenario.

use kiln_provider::Provider;
use kiln_rollout::{Rollout, Setup, State, start};

use super::check::{self, Judged};
use super::control::{Control, ready};
use super::people::People;
use super::{Deploy, Quality, Simulator, fleet};
use crate::Rng;

/// More turns than any rollout needs.
const TURNS: u32 = 20_000;

impl Simulator<'_> {
    /// Rolls release `number` out. `None`: it cannot be planned from here.
    pub(super) fn deploy(&mut self, number: u64, deploy: &Deploy) -> Result<Option<State>, String> {
        let Some(rollout) = self.begin(number, deploy) else { return Ok(None) };
        let begun = self.clock.now_ms();
        let judged = Judged::new(self.scenario, deploy, &rollout, (self.stable, self.ill));
        self.disk.save(&rollout);
        let mut control = Control::new(self.scenario, deploy, begun);
        let mut people = People::default();
        let mut hands = deploy.hands.iter().peekable();
        let mut restarts = deploy.restarts.iter().peekable();
        for _ in 0..TURNS {
            self.clock.advance(20 + self.rng.below(280));
            self.look_at_requests(deploy)?;
            let now = self.clock.now_ms();
            while let Some((_, hand)) = hands.next_if(|(after, _)| now >= begun + after) {
                people.wish(*hand, &mut self.disk, now);
            }
            if restarts.next_if(|after| now >= begun + **after).is_some() {
                self.meter.restart(now);
                control.data_plane_restarted();
            }
            let done = control.turn(
                &self.provider,
                &mut self.traffic,
                &mut self.meter,
                &mut self.disk,
                &mut self.rng,
            );
            people.help(&mut self.disk, &control.last_view, now, &mut self.rng);
            self.outcome.turns += 1;
            self.note(begun, done.is_err());
            let seen = self.provider.peek();
            check::done(&self.provider, control.unsafe_act())?;
            judged.always(&seen, &self.traffic, self.disk.load())?;
            if done.is_err() {
                self.outcome.crashes += 1;
                control = Control::new(self.scenario, deploy, begun);
                continue;
            }
            if people.leaves_alone(self.disk.load()) && check::at_rest(&seen, self.disk.load()) {
                let state = self.disk.load().state.clone();
                judged.end(&seen, &self.traffic, self.disk.load(), &people)?;
                self.outcome.hands += people.acts;
                return self.close(number, deploy, &state).map(|()| Some(state));
            }
        }
        Err(format!("it did not end within {TURNS} turns: {:?}", self.disk.load().state))
    }

    pub(super) fn begin(&mut self, number: u64, deploy: &Deploy) -> Option<Rollout> {
        let mut rng = Rng::new(self.scenario.seed ^ number << 8);
        self.provider.script(&fleet(number), deploy.new_script(&mut rng));
        self.provider.script(&fleet(baseline(number)), super::scenario::good_lives(&mut rng));
        let failing = if deploy.quality == Quality::FailsRequests { 300 } else { 0 };
        self.meter.fails(fleet(number), failing);
        let zones = self.stable.map_or_else(Vec::new, |(old, _)| check::zones(&self.provider.peek(), old));
        let setup = Setup {
            baseline: Some(fleet(baseline(number))),
            zones,
            ..Setup::new(
                fleet(number),
                self.stable.map(|(old, size)| (fleet(old), size)),
                deploy.replicas,
                deploy.spec.clone(),
            )
        };
        start(setup, self.clock.now_ms()).ok()
    }

    /// What is left over can be removed, and the next rollout begins from what is stable now.
    pub(super) fn close(&mut self, number: u64, deploy: &Deploy, state: &State) -> Result<(), String> {
        let before = self.stable;
        match state {
            State::Succeeded { .. } => {
                self.stable = Some((number, deploy.replicas));
                self.ill = deploy.quality.harms();
            }
            State::RolledBack { .. } => {}
            State::Running { .. } | State::RollingBack { .. } | State::Failed { .. } => return Ok(()),
        }
        let stable = self.stable.map(|(number, _)| number);
        let left = [Some(number), Some(baseline(number)), before.map(|(number, _)| number)];
        self.provider.faults(crate::Faults::default());
        for id in left.into_iter().flatten().filter(|it| Some(*it) != stable) {
            ready(self.provider.remove_fleet(&fleet(id)))
                .map_err(|error| format!("{id} is left over: {error}"))?;
        }
        self.provider.faults(self.scenario.provider);
        Ok(())
    }

    /// Lets requests flow. A good world loses none, whatever happens to the control plane.
    pub(super) fn look_at_requests(&mut self, deploy: &Deploy) -> Result<(), String> {
        let seen = self.provider.peek();
        let living = check::living(&seen);
        let wasted = self.traffic.tick(self.clock.now_ms(), |id| living.contains(id));
        self.meter.tick(&self.traffic);
        if !deploy.quality.harms() && !self.ill && !wasted.is_empty() {
            return Err(format!("requests were sent to instances that are gone: {wasted:?}"));
        }
        Ok(())
    }

    fn note(&mut self, begun: i64, crashed: bool) {
        if !self.traced {
            return;
        }
        let rollout = self.disk.load();
        let line = format!(
            "{:>8} {:?} wish new {} old {} {:?} in force {:?} fleets {}{}",
            self.clock.now_ms() - begun,
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

/// The number that the baseline fleet of a rollout is known by.
pub(super) fn baseline(number: u64) -> u64 {
    1_000 + number
}
