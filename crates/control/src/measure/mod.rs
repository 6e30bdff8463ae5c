//! Measuring what an analysis needs beside the data plane's counters: further metrics are read, and while too few
//! requests come, Kiln sends some itself. Both happen beside the loop; what they find is remembered for the next round,
//! and lost with the process, which only costs time.

mod sources;
mod synthetic;

use std::collections::{BTreeMap, BTreeSet};

use kiln_model::{AnalysisSpec, FleetId, ReleaseNumber};
use kiln_provider::Provider;
use kiln_rollout::analysis::{Reading, Sample};

use crate::event::RolloutId;
use crate::reconcile::Control;
use crate::traffic::Traffic;
use sources::About;

/// A rollout that is being analysed.
#[derive(Clone, Debug)]
pub(crate) struct Analysed {
    pub(crate) rollout: RolloutId,
    pub(crate) fleet: FleetId,
    pub(crate) old: Option<ReleaseNumber>,
    pub(crate) spec: AnalysisSpec,
}

/// What has been measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    readings: BTreeMap<RolloutId, BTreeMap<String, Reading>>,
    reading: BTreeSet<(RolloutId, String)>,
    /// What Kiln's own requests came to, by fleet.
    probed: BTreeMap<FleetId, Sample>,
    probing: BTreeSet<FleetId>,
    http: Option<reqwest::Client>,
}

impl Measured {
    /// The last reading of each metric, by rollout.
    pub(crate) fn readings(&self) -> BTreeMap<RolloutId, BTreeMap<String, Reading>> {
        self.readings.clone()
    }

    /// What Kiln's own requests came to, by fleet.
    pub(crate) fn probed(&self) -> BTreeMap<FleetId, Sample> {
        self.probed.clone()
    }

    /// Forgets rollouts that are over.
    pub(crate) fn keep(&mut self, open: &BTreeSet<RolloutId>) {
        self.readings.retain(|rollout, _| open.contains(rollout));
        if open.is_empty() {
            self.probed.clear();
        }
    }

    /// Whether a metric is to be read now, or when.
    fn due(&mut self, about: &Analysed, metric: &str, now_ms: i64) -> Due {
        let key = (about.rollout, metric.to_owned());
        if self.reading.contains(&key) {
            return Due::UnderWay;
        }
        let last = self.readings.get(&about.rollout).and_then(|all| all.get(metric));
        let next = last.map(|it| it.at_ms.saturating_add_unsigned(about.spec.interval.millis().max(100)));
        match next.filter(|at| *at > now_ms) {
            Some(at) => Due::At(at),
            None => {
                self.reading.insert(key);
                Due::Now
            }
        }
    }

    /// The client is made when the first one needs it: most rollouts never do.
    fn http(&mut self) -> Result<reqwest::Client, String> {
        if let Some(http) = &self.http {
            return Ok(http.clone());
        }
        let builder = kiln_outbound::client().map_err(|error| crate::error::chain(&error))?;
        let http = builder.build().map_err(|error| crate::error::chain(&error))?;
        Ok(self.http.insert(http).clone())
    }
}

enum Due {
    Now,
    At(i64),
    UnderWay,
}

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Reads the metrics that are due. Returns when the next one is.
    pub(crate) fn measure(&self, about: &Analysed) -> Option<i64> {
        let now = self.now_ms();
        let mut next = None;
        for metric in &about.spec.metrics {
            match self.memory().measured.due(about, &metric.name, now) {
                Due::UnderWay => {}
                Due::At(at) => next = Some(next.map_or(at, |known: i64| known.min(at))),
                Due::Now => {
                    let (control, about, metric) = (self.clone(), about.clone(), metric.clone());
                    tokio::spawn(async move {
                        let outcome = control.read(&about, &metric).await;
                        let reading = Reading { at_ms: control.now_ms(), outcome };
                        {
                            let mut memory = control.memory();
                            let measured = &mut memory.measured;
                            measured.reading.remove(&(about.rollout, metric.name.clone()));
                            measured.readings.entry(about.rollout).or_default().insert(metric.name, reading);
                        }
                        control.look();
                    });
                }
            }
        }
        next
    }

    async fn read(
        &self,
        about: &Analysed,
        metric: &kiln_model::Metric,
    ) -> Result<kiln_rollout::analysis::Measured, String> {
        let http = self.memory().measured.http()?;
        let about = About { fleet: about.fleet.clone(), old: about.old };
        sources::read(metric, &about, &http).await
    }
}
