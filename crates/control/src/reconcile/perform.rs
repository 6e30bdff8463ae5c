//! Doing what a round decided. No choice is made here; what fails is remembered and tried again.

use kiln_model::{FleetId, InstanceId};
use kiln_provider::{FleetSpec, Provider, RetireReason};
use kiln_proxy::RouteTable;

use super::memory::ROUTE;
use super::{Control, Next, Plan, World, append};
use crate::event::{KILN, What};
use crate::ops::turn_back;
use crate::state::{StateError, rollouts};
use crate::traffic::{Traffic, TrafficError};

/// A table that was refused so often is what is wrong, and not the moment.
const REFUSALS: u32 = 2;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Growth first, then traffic, then shrinking: cut off anywhere, no fleet has more traffic than instances.
    pub(super) async fn perform(&self, plan: Plan) -> Next {
        let now = self.now_ms();
        {
            let mut memory = self.memory();
            memory.told(&plan.open);
            memory.complain(plan.complaints, now);
            memory.draining = plan.draining;
            memory.measuring = plan.measuring;
        }
        let mut next = Next { again: false, wake_ms: plan.wake_ms };
        for (spec, size) in &plan.grow {
            self.ensure(spec, *size, &mut next).await;
        }
        if let Some(table) = plan.table {
            self.route(table, &mut next).await;
        }
        for (spec, size) in &plan.shrink {
            self.ensure(spec, *size, &mut next).await;
        }
        for (rollout, fleet) in plan.verify {
            self.verify(rollout, fleet);
        }
        for about in &plan.measure {
            if let Some(at) = self.measure(about) {
                next.wake(at);
            }
        }
        for (fleet, spec) in &plan.probe {
            self.probe(fleet, spec);
        }
        for (fleet, instance, reason) in plan.retire {
            self.retire(fleet, instance, reason, &mut next).await;
        }
        for instance in &plan.drained {
            let done = self.provider().drained(instance).await;
            self.note(&format!("stop instance {instance}"), done, &mut next);
        }
        for fleet in &plan.remove {
            let done = self.provider().remove_fleet(fleet).await;
            self.note(&format!("forget fleet {fleet}"), done, &mut next);
        }
        if plan.draining || plan.measuring {
            self.inner.hurry.notify_one();
        }
        next
    }

    async fn ensure(&self, spec: &FleetSpec, size: u32, next: &mut Next) {
        let what = format!("run {size} instances of fleet {}", spec.release.fleet());
        if let Some(at) = self.memory().retry(&what, self.now_ms()) {
            next.wake(at);
            return;
        }
        let done = self.provider().ensure_fleet(spec, size).await;
        self.note(&what, done, next);
    }

    async fn retire(&self, fleet: FleetId, instance: InstanceId, reason: RetireReason, next: &mut Next) {
        let what = format!("take out instance {instance}");
        if let Some(at) = self.memory().retry(&what, self.now_ms()) {
            next.wake(at);
            return;
        }
        let done = self.provider().retire(&instance, reason).await;
        // What a person asked for is on record with the person's name.
        if done.is_ok() && reason != RetireReason::Requested {
            let (now, told) = (self.now_ms(), What::Retired { instance, reason });
            let written = self.state().transact(move |db| append(db, &fleet, None, KILN, now, &told)).await;
            self.note(&what, written, next);
        }
        self.note(&what, done, next);
    }

    fn note<E: std::error::Error>(&self, what: &str, done: Result<(), E>, next: &mut Next) {
        match done {
            Ok(()) => self.memory().fine(what),
            Err(error) => next.wake(self.trouble(what, &error)),
        }
    }

    async fn route(&self, table: RouteTable, next: &mut Next) {
        {
            let mut memory = self.memory();
            memory.wants(table.version);
            // A table that was refused is tried again after a while, another one at once.
            let again = memory.has_refused(table.version);
            if let Some(at) = memory.retry(ROUTE, self.now_ms()).filter(|_| again) {
                next.wake(at);
                return;
            }
        }
        match self.inner.traffic.put_table(&table).await {
            Ok(_) => {
                {
                    let mut memory = self.memory();
                    memory.fine(ROUTE);
                    memory.acknowledged(table);
                }
                let status = self.inner.traffic.status().await;
                self.memory().saw(status.ok());
                next.again = true;
            }
            Err(TrafficError::Refused(refused)) if refused.version >= table.version => {
                self.memory().ahead(refused.version);
                next.again = true;
            }
            Err(error) => {
                next.wake(self.trouble(ROUTE, &error));
                match error {
                    TrafficError::Refused(refused) => {
                        let times = self.memory().refuses(table.version);
                        // The first time an instance may just have gone whose socket the table names; then the next
                        // look makes another table.
                        next.again = times >= REFUSALS && self.turn_back(&refused.error).await;
                    }
                    TrafficError::Unreachable { .. } => {
                        let mut memory = self.memory();
                        memory.unanswered();
                        memory.saw(None);
                    }
                }
            }
        }
    }

    /// Turns back the rollouts that the data plane has not followed, such as one that exposes a port in use. Their
    /// contents are not to blame. Returns whether there were any.
    async fn turn_back(&self, error: &str) -> bool {
        // A data plane that has lost its table has none of the weights either.
        let plane = self.memory().plane().unwrap_or_default();
        let (now, error) = (self.now_ms(), error.to_owned());
        let turned = self.state().transact(move |db| {
            let world = World::load(db)?;
            let reason = format!("the data plane refused the routes: {error}");
            let mut turned = false;
            for mut entry in rollouts::open(db)? {
                if world.differs(&entry.fleet, &plane.table) && turn_back(db, &mut entry, KILN, &reason, now)?
                {
                    let told = What::RoutesRefused { error: error.clone() };
                    append(db, &entry.fleet, Some(entry.id), KILN, now, &told)?;
                    turned = true;
                }
            }
            Ok::<_, StateError>(turned)
        });
        turned.await.unwrap_or(false)
    }
}

impl World {
    /// Whether the wanted table and the one in force differ in what concerns a fleet's service.
    fn differs(&self, fleet: &FleetId, in_force: &RouteTable) -> bool {
        let prefix = format!("{}/{}/", fleet.environment, fleet.service);
        let own = |table: &RouteTable| -> Vec<_> {
            let backends = table.backends.iter().filter(|(key, _)| key.starts_with(&prefix));
            backends.map(|(key, backend)| (key.clone(), backend.clone())).collect()
        };
        // What instances call is listened for in them, which their own backends do not tell of.
        let calls = self.releases.get(fleet).is_some_and(|stored| !stored.peers.is_empty());
        calls || own(&self.table) != own(in_force)
    }
}

impl Next {
    fn wake(&mut self, at_ms: i64) {
        self.wake_ms = Some(self.wake_ms.map_or(at_ms, |known| known.min(at_ms)));
    }
}
