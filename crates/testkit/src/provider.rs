//! A provider in memory that is stricter than any real one.
//!
//! What a real provider would forgive is an error here and stays on record in [`FakeProvider::misuses`], so that a
//! test fails even when the caller swallows the error. All state survives [`FakeProvider::reopen`], which is what a
//! crashed control plane finds when it comes back.

mod fleet;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_model::{FleetId, InstanceId};
use kiln_provider::{
    ExecRequest, ExecResult, FleetSpec, Observation, Phase, Provider, ProviderError, RetireReason,
};

use crate::{Behaviour, FakeClock, Faults, Rng};
use fleet::Fleet;

/// A call that no caller may make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// `drained` for an instance that takes requests.
    #[error("{0} is not draining ({1:?}), so nobody can have seen its last request finish")]
    DrainedWhileServing(InstanceId, Phase),
    /// `remove_fleet` while something is left.
    #[error("fleet {0} still has {1} instances (size {2}) and cannot be removed")]
    RemovedWhileInUse(FleetId, usize, u32),
    /// Another release for a known fleet.
    #[error("fleet {0} was ensured with another release than before")]
    ReleaseChanged(FleetId),
}

#[derive(Debug, thiserror::Error)]
#[error("a fault of the test")]
struct Injected;

/// The fake. Clones are handles to the same world.
#[derive(Clone, Debug)]
pub struct FakeProvider {
    world: Arc<Mutex<World>>,
    clock: FakeClock,
    changes: Arc<tokio::sync::Notify>,
}

#[derive(Debug)]
struct World {
    fleets: BTreeMap<FleetId, Fleet>,
    scripts: BTreeMap<FleetId, Vec<Behaviour>>,
    zones: Vec<String>,
    misuses: Vec<Misuse>,
    faults: Faults,
    rng: Rng,
    last_seen: Option<Observation>,
}

impl FakeProvider {
    /// An empty provider on a clock; `seed` decides about ids and faults.
    pub fn new(clock: FakeClock, seed: u64) -> Self {
        let world = World {
            fleets: BTreeMap::new(),
            scripts: BTreeMap::new(),
            zones: Vec::new(),
            misuses: Vec::new(),
            faults: Faults::default(),
            rng: Rng::new(seed),
            last_seen: None,
        };
        Self { world: Arc::new(Mutex::new(world)), clock, changes: Arc::default() }
    }

    /// What the instances of a fleet do, one behaviour for each start; the last one goes for all that follow.
    pub fn script(&self, fleet: &FleetId, behaviours: impl Into<Vec<Behaviour>>) {
        self.lock().scripts.insert(fleet.clone(), behaviours.into());
    }

    /// The failure domains that fleets which come from now on are spread over; none is one without a name.
    pub fn zones(&self, zones: impl Into<Vec<String>>) {
        self.lock().zones = zones.into();
    }

    /// What goes wrong from now on.
    pub fn faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Every call so far that no caller may make.
    pub fn misuses(&self) -> Vec<Misuse> {
        self.lock().misuses.clone()
    }

    /// The clock it lives on.
    pub fn clock(&self) -> &FakeClock {
        &self.clock
    }

    /// What a new process finds: the same fleets and instances, none of the handles.
    pub fn reopen(&self) -> Self {
        self.lock().last_seen = None;
        Self { world: self.world.clone(), clock: self.clock.clone(), changes: Arc::default() }
    }

    /// An instance's processes vanish, as by `kill -9`. Whether there was such a living instance.
    pub fn kill(&self, instance: &InstanceId) -> bool {
        let now = self.clock.now_ms();
        let killed = self.lock().fleets.values_mut().any(|fleet| fleet.kill(instance, now));
        self.changes.notify_waiters();
        killed
    }

    /// What is there, without faults and without the effect of [`Provider::observe`] on [`Provider::changed`].
    pub fn peek(&self) -> Observation {
        self.lock().at(self.clock.now_ms())
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Performs a call between the faults before and after it.
    fn call<T>(
        &self,
        act: &'static str,
        object: &dyn std::fmt::Display,
        body: impl FnOnce(&mut World, i64) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let fault = || ProviderError::Failed { act, object: object.to_string(), source: Box::new(Injected) };
        let mut world = self.lock();
        let now = self.clock.now_ms();
        let faults = world.faults;
        if world.rng.chance(faults.error_before) {
            return Err(fault());
        }
        world.tick(now);
        let result = body(&mut world, now);
        world.tick(now);
        self.changes.notify_waiters();
        if world.rng.chance(faults.error_after) { Err(fault()) } else { result }
    }
}

impl World {
    fn tick(&mut self, now: i64) {
        for (id, fleet) in &mut self.fleets {
            let script = self.scripts.get(id).map_or(&[][..], Vec::as_slice);
            fleet.tick(now, script, &mut self.rng);
        }
    }

    fn at(&mut self, now: i64) -> Observation {
        self.tick(now);
        Observation { fleets: self.fleets.iter().map(|(id, fleet)| (id.clone(), fleet.observe())).collect() }
    }

    fn misuse<T>(&mut self, act: &'static str, object: String, misuse: Misuse) -> Result<T, ProviderError> {
        self.misuses.push(misuse.clone());
        Err(ProviderError::Failed { act, object, source: Box::new(misuse) })
    }

    fn ensure(&mut self, spec: &FleetSpec, size: u32) -> Result<(), ProviderError> {
        let id = spec.release.fleet();
        let zones = &self.zones;
        let fleet = self.fleets.entry(id.clone()).or_insert_with(|| Fleet::new(spec.clone(), zones.clone()));
        if fleet.spec().release != spec.release {
            self.misuses.push(Misuse::ReleaseChanged(id.clone()));
            return Err(ProviderError::ReleaseChanged(id));
        }
        fleet.resize(size);
        Ok(())
    }

    fn drained(&mut self, instance: &InstanceId, now: i64) -> Result<(), ProviderError> {
        let outcome = self.fleets.values_mut().find_map(|fleet| fleet.drained(instance, now));
        match outcome {
            // Gone already: the call is being repeated.
            None | Some(Ok(())) => Ok(()),
            Some(Err(phase)) => {
                let misuse = Misuse::DrainedWhileServing(instance.clone(), phase);
                self.misuse("stop", instance.to_string(), misuse)
            }
        }
    }

    fn remove(&mut self, id: &FleetId) -> Result<(), ProviderError> {
        let Some(fleet) = self.fleets.get(id) else { return Ok(()) };
        if fleet.size() > 0 || fleet.living() > 0 {
            let misuse = Misuse::RemovedWhileInUse(id.clone(), fleet.living(), fleet.size());
            return self.misuse("remove fleet", id.to_string(), misuse);
        }
        self.fleets.remove(id);
        Ok(())
    }

    fn exec(&mut self, instance: &InstanceId, request: &ExecRequest) -> Result<ExecResult, ProviderError> {
        let running = self.fleets.values().find_map(|fleet| fleet.runs(instance));
        match running {
            None => Err(ProviderError::NoInstance(instance.clone())),
            Some(true) => Ok(ExecResult {
                status: 0,
                stdout: format!("{}\n", request.argv.join(" ")),
                stderr: String::new(),
            }),
            Some(false) => {
                let source = "it does not run".into();
                Err(ProviderError::Failed { act: "execute in", object: instance.to_string(), source })
            }
        }
    }
}

impl Provider for FakeProvider {
    async fn ensure_fleet(&self, spec: &FleetSpec, size: u32) -> Result<(), ProviderError> {
        self.call("ensure fleet", &spec.release.fleet(), |world, _| world.ensure(spec, size))
    }

    async fn retire(&self, instance: &InstanceId, reason: RetireReason) -> Result<(), ProviderError> {
        self.call("retire", instance, |world, _| {
            world.fleets.values_mut().any(|fleet| fleet.retire(instance, reason));
            Ok(())
        })
    }

    async fn drained(&self, instance: &InstanceId) -> Result<(), ProviderError> {
        self.call("stop", instance, |world, now| world.drained(instance, now))
    }

    async fn remove_fleet(&self, fleet: &FleetId) -> Result<(), ProviderError> {
        self.call("remove fleet", fleet, |world, _| world.remove(fleet))
    }

    async fn observe(&self) -> Result<Observation, ProviderError> {
        self.call("observe", &"the fleets", |world, now| {
            let seen = world.at(now);
            world.last_seen = Some(seen.clone());
            Ok(seen)
        })
    }

    async fn changed(&self) {
        loop {
            let (changed, moved) = (self.changes.notified(), self.clock.moved());
            tokio::pin!(changed, moved);
            // Registered before looking, so that no change falls between the look and the wait.
            changed.as_mut().enable();
            {
                let mut world = self.lock();
                let now = world.at(self.clock.now_ms());
                if world.last_seen.as_ref() != Some(&now) {
                    return;
                }
            }
            tokio::select! {
                () = changed => {}
                () = moved => {}
                // The clock may have been moved between the look and the first poll of `moved`.
                () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
            }
        }
    }

    async fn exec(&self, instance: &InstanceId, request: &ExecRequest) -> Result<ExecResult, ProviderError> {
        self.call("execute in", instance, |world, _| world.exec(instance, request))
    }
}
