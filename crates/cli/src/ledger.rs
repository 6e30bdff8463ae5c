//! What the verbs write on the ledger of the home themselves; the control plane writes the rest.

use kiln_attest::ledger::{Entry, Ledger};
use kiln_model::Digest;
use serde_json::Value;

use crate::context::{author, now_ms};
use crate::error::{Failure, Kind, Result};
use crate::home::Home;

/// An act of the person at the keyboard.
#[derive(Debug)]
pub(crate) struct Act(Entry);

impl Act {
    /// What was done, as noun and verb: `image.baked`.
    pub(crate) fn new(what: &str) -> Self {
        Self(Entry::new(now_ms().max(0).unsigned_abs(), author(), what))
    }

    /// To which image.
    pub(crate) fn image(mut self, image: &Digest) -> Self {
        self.0.image = Some(*image);
        self
    }

    /// With which evidence.
    pub(crate) fn evidence(mut self, evidence: &Digest) -> Self {
        self.0.evidence.push(*evidence);
        self
    }

    /// For which environment and service.
    pub(crate) fn place(mut self, environment: &kiln_model::Name, service: &kiln_model::Name) -> Self {
        self.0.environment = Some(environment.clone());
        self.0.service = Some(service.clone());
        self
    }

    /// Why.
    pub(crate) fn why(mut self, why: Option<&str>) -> Self {
        self.0.why = why.map(str::to_owned);
        self
    }

    /// What else is to be known.
    pub(crate) fn details(mut self, details: Value) -> Self {
        self.0.details = details;
        self
    }

    /// Writes it down. What cannot be put on the record has failed.
    pub(crate) fn record(self) -> Result<()> {
        open()?.append(self.0).map(drop).map_err(|error| {
            Failure::from_error(Kind::Failed, &error).hint(
                "it was done, and is not on the ledger: make room, or repair the folder, and do it again",
            )
        })
    }
}

/// The ledger of the home.
pub(crate) fn open() -> Result<Ledger> {
    Ledger::open(&Home::find()?.path().join("ledger"))
        .map_err(|error| Failure::from_error(Kind::Failed, &error))
}
