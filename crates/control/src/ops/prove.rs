//! Evidence before a deploy: what is there, what is missing, and what the control plane can swear to itself.

use std::collections::BTreeMap;

use kiln_model::{Digest, FleetId, Name, Requirement, Span};
use kiln_provider::Provider;
use rusqlite::Connection;

use super::ControlError;
use super::compare::current;
use crate::api::{DeployRequest, ProofRules, ProveAnswer, ProveRequest, Proven, Unproven};
use crate::event::{RolloutId, What};
use crate::proof::{Question, Soaked, Witness};
use crate::reconcile::{Control, append};
use crate::state::{events, releases, rollouts};
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Tells what is known about images, and what an environment misses.
    pub async fn prove(&self, request: ProveRequest) -> Result<ProveAnswer, ControlError> {
        let now = self.now_ms();
        let wanted = soaks(&request.rules.requires);
        let images = request.images.clone();
        let soaked = self.state().transact(move |db| facts(db, &images, &wanted, now)).await?;
        let witness = self.witness();
        let work = move || prove(&witness, &request, &soaked, now);
        tokio::task::spawn_blocking(work).await.map_err(|_| ControlError::Request("it was cut off".into()))?
    }

    /// What the images of a deploy prove; `None` where nothing is asked of them.
    pub(super) async fn proof(&self, request: &DeployRequest) -> Result<Option<Proof>, ControlError> {
        let rules = &request.proof;
        if rules.bypass.as_ref().is_some_and(|why| why.trim().is_empty()) {
            return Err(ControlError::NoBypass);
        }
        if rules.requires.is_empty() && rules.from.is_none() && !rules.protected {
            return Ok(None);
        }
        let images = request.releases.iter().map(|it| (it.service.name.clone(), it.image)).collect();
        let asked = ProveRequest { environment: request.environment.clone(), images, rules: rules.clone() };
        let services = match rules.requires.is_empty() {
            true => Vec::new(),
            false => self.prove(asked).await?.services,
        };
        Ok(Some(Proof { services }))
    }
}

/// What is known about the images of a deploy.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    services: Vec<Proven>,
}

impl Proof {
    /// Refuses what the environment does not let in, unless a person says why it must be.
    pub(super) fn judge(&self, db: &Connection, request: &DeployRequest) -> Result<(), ControlError> {
        let rules = &request.proof;
        let strays = strays(db, request)?;
        if rules.bypass.is_some() {
            return Ok(());
        }
        if rules.protected && rules.from.is_none() {
            return Err(ControlError::Protected(request.environment.clone()));
        }
        if let Some((service, from)) = strays.into_iter().next() {
            return Err(ControlError::NotThere { service, from });
        }
        let missing: Vec<Proven> =
            self.services.iter().filter(|it| !it.missing.is_empty()).cloned().collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(ControlError::Unproven { environment: request.environment.clone(), missing }),
        }
    }

    /// Puts on the record of a rollout what it was let in on.
    pub(super) fn record(
        &self,
        db: &Connection,
        request: &DeployRequest,
        fleet: &FleetId,
        rollout: RolloutId,
        now: i64,
    ) -> Result<(), ControlError> {
        let (rules, who) = (&request.proof, request.author.as_str());
        let own = self.services.iter().find(|it| it.service == fleet.service);
        let mut missing: Vec<String> = own.iter().flat_map(|it| &it.missing).map(told).collect();
        if rules.protected && rules.from.is_none() {
            missing.insert(0, "promotion: it was not promoted from another environment".into());
        }
        if let Some((_, from)) =
            strays(db, request)?.into_iter().find(|(service, _)| *service == fleet.service)
        {
            missing.insert(0, format!("promotion: another image serves in {from}"));
        }
        let what = match &rules.bypass {
            Some(reason) if !missing.is_empty() => What::Bypassed { missing, reason: reason.clone() },
            _ => What::Proven {
                from: rules.from.clone(),
                requires: rules.requires.clone(),
                evidence: own.map(holding).unwrap_or_default(),
            },
        };
        Ok(append(db, fleet, Some(rollout), who, now, &what)?)
    }
}

fn told(missing: &Unproven) -> String {
    format!("{}: {}", missing.requirement, missing.why)
}

/// The evidence that counts.
fn holding(proven: &Proven) -> Vec<Digest> {
    proven.evidence.iter().filter(|it| it.problem.is_none()).map(|it| it.digest).collect()
}

/// Services whose image is not what serves in the environment that it is promoted from.
fn strays(db: &Connection, request: &DeployRequest) -> Result<Vec<(Name, Name)>, ControlError> {
    let Some(from) = &request.proof.from else { return Ok(Vec::new()) };
    let mut strays = Vec::new();
    for content in &request.releases {
        let serving = current(db, from, &content.service.name)?;
        if serving.is_none_or(|it| it.release.content.image != content.image) {
            strays.push((content.service.name.clone(), from.clone()));
        }
    }
    Ok(strays)
}

fn soaks(requires: &[Requirement]) -> Vec<(Name, Span)> {
    let soak = |it: &Requirement| match it {
        Requirement::Soaked { environment, time } => Some((environment.clone(), *time)),
        _ => None,
    };
    requires.iter().filter_map(soak).collect()
}

/// How an image ran elsewhere, and what is asked of it.
struct Fact {
    image: Digest,
    soaked: Soaked,
    wanted: Span,
}

impl Fact {
    fn lasted(&self) -> Span {
        let millis = self.soaked.until_ms.saturating_sub(self.soaked.from_ms).max(0).unsigned_abs();
        Span::from_millis(millis)
    }

    /// Why it is not enough; `None` when it is.
    fn lacks(&self) -> Option<String> {
        let (environment, failures) = (&self.soaked.environment, self.soaked.failures);
        if failures > 0 {
            return Some(format!("{failures} of its instances failed while it served in {environment}"));
        }
        let seconds = Span::from_secs(self.lasted().millis() / 1000);
        let short = self.lasted() < self.wanted;
        short.then(|| format!("it has served in {environment} for {seconds} of {}", self.wanted))
    }
}

/// How the images ran elsewhere.
fn facts(
    db: &Connection,
    images: &BTreeMap<Name, Digest>,
    wanted: &[(Name, Span)],
    now: i64,
) -> Result<Vec<Fact>, ControlError> {
    let mut facts = Vec::new();
    for (service, image) in images {
        for (environment, time) in wanted {
            let Some(soaked) = soak(db, environment, service, image, now)? else { continue };
            facts.push(Fact { image: *image, soaked, wanted: *time });
        }
    }
    Ok(facts)
}

/// How the newest release with an image ran in an environment, since it served alone.
fn soak(
    db: &Connection,
    environment: &Name,
    service: &Name,
    image: &Digest,
    now: i64,
) -> Result<Option<Soaked>, ControlError> {
    let served = rollouts::succeeded(db, environment, service)?;
    let mut until_ms = now;
    for entry in served.iter().rev() {
        let begun = entry.ended_ms.unwrap_or(now);
        let stored = releases::get(db, &entry.fleet)?;
        if stored.is_some_and(|it| it.release.content.image == *image) {
            let gone = current(db, environment, service)?.is_none();
            // What was stopped did not soak until now; when it was stopped is on the record.
            let until_ms =
                if gone { events::stopped(db, environment, service)?.unwrap_or(begun) } else { until_ms };
            return Ok(Some(Soaked {
                environment: environment.clone(),
                service: service.clone(),
                release: entry.fleet.release,
                from_ms: begun,
                until_ms: until_ms.max(begun),
                failures: events::failures(db, &entry.fleet, begun, until_ms)?,
            }));
        }
        until_ms = begun;
    }
    Ok(None)
}

fn prove(
    witness: &Witness,
    request: &ProveRequest,
    facts: &[Fact],
    now_ms: i64,
) -> Result<ProveAnswer, ControlError> {
    let ProofRules { requires, keys, .. } = &request.rules;
    let mut services = Vec::new();
    for (service, image) in &request.images {
        let question = Question { image, environment: &request.environment, requires, keys, now_ms };
        let mut known = witness.known(&question)?;
        let lacks = |it: &Unproven| matches!(it.requirement, Requirement::Soaked { .. });
        if known.missing.iter().any(lacks) {
            let own = facts.iter().filter(|it| it.image == *image && it.soaked.service == *service);
            for fact in own.clone().filter(|it| it.lacks().is_none()) {
                witness.swear(image, &fact.soaked)?;
            }
            known = witness.known(&question)?;
            for missing in &mut known.missing {
                let Requirement::Soaked { environment, time } = &missing.requirement else { continue };
                let asked = |it: &&Fact| it.soaked.environment == *environment && it.wanted == *time;
                if let Some(why) = own.clone().find(asked).and_then(Fact::lacks) {
                    *missing = Unproven { why, command: "kiln status".into(), ..missing.clone() };
                }
            }
        }
        services.push(Proven {
            service: service.clone(),
            image: *image,
            evidence: known.evidence,
            missing: known.missing,
        });
    }
    Ok(ProveAnswer { services })
}
