//! Acts on single instances: stop, taint, execute. What a person touches is replaced; it is never mended.

use kiln_model::{FleetId, InstanceId};
use kiln_provider::{ExecRequest, ExecResult, InstanceObservation, Provider, RetireReason};

use super::ControlError;
use crate::api::{ExecBody, InstanceRequest, InstanceStatus, InstancesAnswer};
use crate::event::What;
use crate::reconcile::{Control, append};
use crate::state::{StateError, Taint, releases, taints};
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// All instances.
    pub async fn instances(&self) -> Result<InstancesAnswer, ControlError> {
        let observation = self.provider().observe().await?;
        let mut instances = Vec::new();
        for (fleet, seen) in observation.fleets {
            for observed in seen.instances {
                instances.push((fleet.clone(), observed));
            }
        }
        Ok(InstancesAnswer { instances: self.described(instances).await? })
    }

    /// One instance.
    pub async fn instance(&self, id: &InstanceId) -> Result<InstanceStatus, ControlError> {
        let found = self.find(id).await?;
        let mut described = self.described(vec![found]).await?;
        described.pop().ok_or_else(|| ControlError::NoInstance(id.clone()))
    }

    /// Takes an instance out now; a replacement starts.
    pub async fn stop_instance(
        &self,
        id: &InstanceId,
        request: InstanceRequest,
    ) -> Result<InstanceStatus, ControlError> {
        let (fleet, _) = self.find(id).await?;
        let reason = request.reason.unwrap_or_else(|| "stopped by a person".into());
        let what = What::Retired { instance: id.clone(), reason: RetireReason::Requested };
        self.touch(id, fleet, request.author, reason, true, what).await?;
        self.instance(id).await
    }

    /// Says that an instance no longer equals its release; it is replaced within the disruption budget.
    pub async fn taint(
        &self,
        id: &InstanceId,
        request: InstanceRequest,
    ) -> Result<InstanceStatus, ControlError> {
        let (fleet, _) = self.find(id).await?;
        let reason = request.reason.unwrap_or_else(|| "tainted by a person".into());
        let what = What::Tainted { instance: id.clone(), reason: reason.clone() };
        self.touch(id, fleet, request.author, reason, false, what).await?;
        self.instance(id).await
    }

    /// Executes a command in an instance. The act is on record, and the instance tainted, before it begins; the
    /// instance is not taken out before it has ended.
    pub async fn exec(&self, id: &InstanceId, request: ExecBody) -> Result<ExecResult, ControlError> {
        let (fleet, _) = self.find(id).await?;
        let _held = Held::new(self, id);
        let reason = request.reason.unwrap_or_else(|| format!("executed {:?}", request.argv));
        let what = What::Executed { instance: id.clone(), argv: request.argv.clone() };
        self.touch(id, fleet, request.author, reason, false, what).await?;
        let exec = ExecRequest { argv: request.argv, timeout: request.timeout, user: None };
        Ok(self.provider().exec(id, &exec).await?)
    }

    async fn touch(
        &self,
        id: &InstanceId,
        fleet: FleetId,
        who: String,
        reason: String,
        asked: bool,
        what: What,
    ) -> Result<(), ControlError> {
        let instance = id.clone();
        self.intend(move |db, now| {
            append(db, &fleet, None, &who, now, &what)?;
            let taint = Taint { instance, fleet, reason, who, asked, at_ms: now };
            Ok(taints::add(db, &taint)?)
        })
        .await
    }

    async fn find(&self, id: &InstanceId) -> Result<(FleetId, InstanceObservation), ControlError> {
        let observation = self.provider().observe().await?;
        let all = observation
            .fleets
            .into_iter()
            .flat_map(|(fleet, seen)| seen.instances.into_iter().map(move |it| (fleet.clone(), it)));
        all.into_iter().find(|(_, it)| it.id == *id).ok_or_else(|| ControlError::NoInstance(id.clone()))
    }

    async fn described(
        &self,
        instances: Vec<(FleetId, InstanceObservation)>,
    ) -> Result<Vec<InstanceStatus>, ControlError> {
        let plane = self.memory().plane().unwrap_or_default();
        let status = self.fresh_status().await.unwrap_or_default();
        let described = self.state().transact(move |db| {
            let touched = taints::all(db)?;
            let mut described = Vec::new();
            for (fleet, mut observed) in instances {
                observed.tainted |= touched.iter().any(|taint| taint.instance == observed.id);
                let image = releases::get(db, &fleet)?.map(|stored| stored.release.content.image);
                let in_flight = status.in_flight.get(&observed.id).copied().unwrap_or_default();
                let serving = plane.serves(&fleet, &observed.id);
                described.push(InstanceStatus { fleet, image, observed, in_flight, serving });
            }
            Ok::<_, StateError>(described)
        });
        Ok(described.await?)
    }
}

/// Keeps an instance from being taken out while a person's command runs in it.
struct Held<'a, P: Provider, T: Traffic> {
    control: &'a Control<P, T>,
    id: InstanceId,
}

impl<'a, P: Provider, T: Traffic> Held<'a, P, T> {
    fn new(control: &'a Control<P, T>, id: &InstanceId) -> Self {
        control.memory().hold(id);
        Self { control, id: id.clone() }
    }
}

impl<P: Provider, T: Traffic> Drop for Held<'_, P, T> {
    fn drop(&mut self) {
        self.control.memory().release(&self.id);
        self.control.look();
    }
}
