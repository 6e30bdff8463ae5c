//! Everything about one image at once: inventory, advisories, secrets, facts, and what the policy says of them.

use jiff::Timestamp;
use kiln_model::{Digest, Policy};
use kiln_store::{Store, StoreError};
use sha2::{Digest as _, Sha256};

use crate::advisories::{AdvisoryDb, AdvisoryError, Findings, MatchOptions, Vulnerability, match_packages};
use crate::facts::facts;
use crate::policy::{Found, Weakness, judge};
use crate::report::Report;
use crate::secrets::{Allow, SecretsError, scan_image};
use crate::vex::{Image, Vex, apply_vex};
use crate::{Inventory, Package, ScanError, inventory};

/// What is examined, and by what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where the image is.
    pub store: &'a Store,
    /// The image.
    pub image: &'a Digest,
    /// What a person calls it.
    pub name: &'a str,
    /// What it is judged by.
    pub policy: &'a Policy,
    /// Known vulnerabilities; `None` when there are none on this machine, which is told and never taken for good.
    pub advisories: Option<&'a AdvisoryDb>,
    /// Statements about which of them matter.
    pub vex: &'a [Vex],
    /// The present: judges the age of things.
    pub now: Timestamp,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The packages.
    pub inventory: Inventory,
    /// What is known against them; `None` without advisories.
    pub findings: Option<Findings>,
    /// The judgement, ready to be told.
    pub report: Report,
    /// SHA-256 of the policy's JSON.
    pub policy: Digest,
}

/// Why an image was not examined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExamineError {
    /// Its packages cannot be listed.
    #[error(transparent)]
    Inventory(#[from] ScanError),
    /// The advisories cannot be read.
    #[error(transparent)]
    Advisories(#[from] Box<AdvisoryError>),
    /// Its files cannot be searched.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// It cannot be read.
    #[error("cannot read image {}", image.short())]
    Store {
        /// Which.
        image: Digest,
        /// The store's answer.
        #[source]
        source: Box<StoreError>,
    },
}

/// Examines an image of the store.
///
/// # Errors
/// When the image or the advisories cannot be read. What the policy does not like is no error.
pub fn examine(request: &Request<'_>) -> Result<Examined, ExamineError> {
    let Request { store, image, policy, .. } = *request;
    let allow = Allow::of(policy)?;
    let (inventory, secrets, facts) = std::thread::scope(|scope| {
        let secrets = scope.spawn(|| scan_image(store, image, &allow));
        let facts = scope.spawn(|| facts(store, image));
        (inventory(store, image), joined(secrets), joined(facts))
    });
    let inventory = inventory?;
    let facts = facts.map_err(|source| ExamineError::Store { image: *image, source: source.into() })?;
    // What came with a distribution's package has that package's fixes, whatever its own version says.
    let own = |package: &&Package| !inventory.providers.contains_key(&package.purl);
    let judged: Vec<Package> = inventory.packages.iter().filter(own).cloned().collect();
    let mut findings = match request.advisories {
        Some(db) => Some(match_packages(db, &judged, &MatchOptions::default()).map_err(Box::new)?),
        None => None,
    };
    if let Some(findings) = &mut findings {
        let ids = vec![image.to_string(), request.name.to_owned()];
        apply_vex(&mut findings.vulnerabilities, request.vex, &Image { ids });
    }
    let found = Found {
        vulnerabilities: findings.as_ref().map(|it| it.vulnerabilities.iter().map(Weakness::from).collect()),
        unjudged: findings.iter().flat_map(|it| &it.unjudged).map(ToString::to_string).collect(),
        secrets: Some(secrets?),
        packages: Some(inventory.packages.clone()),
        facts: Some(facts),
        advisories: request.advisories.and_then(|db| db.info().modified),
    };
    let report = Report::new(request.name, judge(policy, &found, request.now), &found, request.now);
    Ok(Examined { inventory, findings, report, policy: digest_of(policy) })
}

/// The digest that evidence names a policy by.
fn digest_of(policy: &Policy) -> Digest {
    let bytes = serde_json::to_vec(policy).unwrap_or_default();
    Digest::from_bytes(Sha256::digest(&bytes).into())
}

fn joined<T>(handle: std::thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl From<&Vulnerability> for Weakness {
    fn from(found: &Vulnerability) -> Self {
        Self {
            id: found.id.clone(),
            aliases: found.aliases.clone(),
            package: found.package.name.clone(),
            version: found.package.version.clone(),
            purl: found.package.purl.clone(),
            severity: found.severity,
            summary: found.summary.clone(),
            fixed: found.fixed.clone(),
            how_to_fix: found.how_to_fix.clone(),
            locations: found.package.locations.clone(),
            suppressed: found.suppressed.as_ref().map(|it| format!("{}: {}", it.source, it.reason)),
        }
    }
}
