//! Running an image's checks against the new fleet of a rollout, beside the loop.

use kiln_check::{Direct, Target};
use kiln_model::FleetId;
use kiln_provider::{InstanceObservation, Phase, Provider};

use super::{Control, append};
use crate::event::{KILN, RolloutId, What};
use crate::state::{StateError, Stored, releases};
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Begins the checks of a rollout, unless they run or have run. After a restart they run again.
    pub(super) fn verify(&self, rollout: RolloutId, fleet: FleetId) {
        {
            let mut memory = self.memory();
            if memory.checks.contains_key(&rollout) {
                return;
            }
            memory.checks.insert(rollout, None);
        }
        let control = self.clone();
        tokio::spawn(async move {
            let outcome = control.check(rollout, fleet).await;
            control.memory().checks.insert(rollout, Some(outcome));
            control.look();
        });
    }

    async fn check(&self, rollout: RolloutId, fleet: FleetId) -> Result<(), String> {
        let id = fleet.clone();
        let stored = self.state().transact(move |db| releases::get(db, &id)).await;
        let stored = stored.map_err(|error| crate::error::chain(&error))?;
        let stored = stored.ok_or_else(|| format!("release {fleet} is not on record"))?;
        let instance = self.ready_instance(&fleet).ok_or("no instance is ready any more")?;
        let failed = self.check_instance(rollout, &fleet, &stored, &instance).await;
        let failed = failed.map_err(|error| crate::error::chain(&error))?;
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    fn ready_instance(&self, fleet: &FleetId) -> Option<InstanceObservation> {
        let memory = self.memory();
        let instances = &memory.observation.fleets.get(fleet)?.instances;
        instances.iter().find(|instance| instance.phase == Phase::Ready).cloned()
    }

    async fn check_instance(
        &self,
        rollout: RolloutId,
        fleet: &FleetId,
        stored: &Stored,
        instance: &InstanceObservation,
    ) -> Result<Vec<String>, StateError> {
        let content = &stored.release.content;
        let target =
            Target { instance: &instance.id, endpoints: &instance.endpoints, ports: &content.config.ports };
        let mut failed = Vec::new();
        // What is expected of the image itself was proved before, and would disturb the instance here.
        for check in content.checks.iter().filter(|check| kiln_check::asks_instance(check)) {
            let report = kiln_check::run(check, &target, self.provider(), &Direct).await;
            let detail = report.failure.as_ref().map(crate::error::chain);
            failed.extend(detail.as_ref().map(|detail| format!("check {:?}: {detail}", check.name)));
            let what = What::Checked {
                check: check.name.clone(),
                passed: detail.is_none(),
                millis: report.millis,
                detail,
            };
            let (fleet, now) = (fleet.clone(), self.now_ms());
            self.state().transact(move |db| append(db, &fleet, Some(rollout), KILN, now, &what)).await?;
        }
        Ok(failed)
    }
}
