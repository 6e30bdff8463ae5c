//! Requests that Kiln sends itself, straight to instances, while too few others come.

use std::time::Duration;

use kiln_check::{Direct, Target};
use kiln_model::{AnalysisSpec, FleetId, Probe, ReleaseContent, SyntheticProbe};
use kiln_provider::{InstanceObservation, Phase, Provider};
use kiln_rollout::analysis::Sample;

use crate::reconcile::Control;
use crate::state::releases;
use crate::traffic::Traffic;

/// Requests of one burst, and the rest after it: about a hundred a second, which no service should notice.
const BURST: usize = 10;
const REST: Duration = Duration::from_millis(100);

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Sends a burst of requests to a fleet, unless one is under way.
    pub(crate) fn probe(&self, fleet: &FleetId, spec: &AnalysisSpec) {
        if !self.memory().measured.probing.insert(fleet.clone()) {
            return;
        }
        let (control, fleet, spec) = (self.clone(), fleet.clone(), spec.clone());
        tokio::spawn(async move {
            let sample = control.burst(&fleet, &spec).await;
            tokio::time::sleep(REST).await;
            {
                let mut memory = control.memory();
                memory.measured.probing.remove(&fleet);
                let known = memory.measured.probed.entry(fleet).or_default();
                *known = known.plus(&sample);
            }
            control.look();
        });
    }

    async fn burst(&self, fleet: &FleetId, spec: &AnalysisSpec) -> Sample {
        let mut sample = Sample::default();
        let id = fleet.clone();
        let Ok(Some(stored)) = self.state().transact(move |db| releases::get(db, &id)).await else {
            return sample;
        };
        let content = &stored.release.content;
        let probes = probes(spec, content);
        let instances = self.ready_instances(fleet);
        let pairs = instances.iter().cycle().zip(probes.iter().cycle());
        for (instance, probe) in pairs.take(BURST) {
            let ports = &content.config.ports;
            let target = Target { instance: &instance.id, endpoints: &instance.endpoints, ports };
            let answer = kiln_check::send(probe, &target, &Direct).await;
            sample.requests += 1;
            match answer {
                Ok((status, took)) => {
                    sample.failed += u64::from(status >= 500);
                    count(&mut sample, took);
                }
                Err(_) => sample.failed += 1,
            }
        }
        sample
    }

    fn ready_instances(&self, fleet: &FleetId) -> Vec<InstanceObservation> {
        let memory = self.memory();
        let instances = memory.observation.fleets.get(fleet).map_or(&[][..], |it| &it.instances);
        instances.iter().filter(|it| it.phase == Phase::Ready).cloned().collect()
    }
}

/// What is asked for: as declared, or else what the health probe of the image asks for.
fn probes(spec: &AnalysisSpec, content: &ReleaseContent) -> Vec<SyntheticProbe> {
    if !spec.probes.is_empty() {
        return spec.probes.clone();
    }
    let health = content.config.health.as_ref().and_then(|health| match &health.probe {
        Probe::Http { path, port } => Some((path.clone(), port.clone())),
        _ => None,
    });
    let (get, port) = health.unwrap_or_else(|| ("/".into(), None));
    vec![SyntheticProbe { get, port, headers: std::collections::BTreeMap::new() }]
}

/// Counts a latency in the data plane's own buckets, so that both can be added up.
fn count(sample: &mut Sample, took: Duration) {
    if sample.latency.is_empty() {
        sample.latency = kiln_proxy::latency_bounds().map(|bound| (bound, 0)).collect();
    }
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let bucket = sample.latency.iter_mut().find(|bucket| micros < bucket.0 || bucket.0 == u64::MAX);
    if let Some(bucket) = bucket {
        bucket.1 += 1;
    }
}
