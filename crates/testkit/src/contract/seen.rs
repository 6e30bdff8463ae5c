//! Looking at a provider until something is so.

use std::time::Instant;

use kiln_model::FleetId;
use kiln_provider::{FleetObservation, InstanceObservation, Observation, Phase, Provider};

use super::ContractWorld;

/// One case's view of its provider.
pub(super) struct Seen<'a, W: ContractWorld> {
    pub(super) world: &'a W,
    pub(super) provider: &'a W::Provider,
}

pub(super) fn stays(instance: &InstanceObservation) -> bool {
    matches!(instance.phase, Phase::Pending | Phase::Starting | Phase::Ready | Phase::Unready)
}

pub(super) fn in_phase(fleet: &FleetObservation, phase: Phase) -> Vec<&InstanceObservation> {
    fleet.instances.iter().filter(|instance| instance.phase == phase).collect()
}

impl<W: ContractWorld> Seen<'_, W> {
    pub(super) async fn look(&self) -> Observation {
        self.provider.observe().await.expect("observe works")
    }

    /// The fleet as it is; empty when the provider does not know it.
    pub(super) async fn fleet(&self, id: &FleetId) -> FleetObservation {
        self.look().await.fleets.remove(id).unwrap_or_default()
    }

    /// Waits until the fleet is as wanted and returns it.
    pub(super) async fn until(
        &self,
        id: &FleetId,
        what: &str,
        mut wanted: impl FnMut(&FleetObservation) -> bool,
    ) -> FleetObservation {
        let begun = Instant::now();
        loop {
            let fleet = self.fleet(id).await;
            if wanted(&fleet) {
                return fleet;
            }
            assert!(begun.elapsed() < self.world.patience(), "waited too long for {what}: {fleet:#?}");
            self.world.pass(self.provider).await;
        }
    }

    /// Waits for `size` ready instances.
    pub(super) async fn until_ready(&self, id: &FleetId, size: usize) -> FleetObservation {
        let what = format!("{size} ready instances");
        self.until(id, &what, |fleet| in_phase(fleet, Phase::Ready).len() == size).await
    }

    /// Says `drained` for everything that drains until the fleet has no living instance.
    pub(super) async fn until_empty(&self, id: &FleetId) {
        let begun = Instant::now();
        loop {
            let fleet = self.fleet(id).await;
            if fleet.instances.iter().all(|instance| instance.phase == Phase::Exited) {
                return;
            }
            for instance in in_phase(&fleet, Phase::Draining) {
                self.provider.drained(&instance.id).await.expect("a draining instance may be stopped");
            }
            assert!(
                begun.elapsed() < self.world.patience(),
                "waited too long for an empty fleet: {fleet:#?}"
            );
            self.world.pass(self.provider).await;
        }
    }

    /// Lets time pass for a while, so that what must not happen has its chance to.
    pub(super) async fn rest(&self) {
        for _ in 0..10 {
            self.world.pass(self.provider).await;
        }
    }
}
