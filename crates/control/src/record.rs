//! Every event of the state goes on the ledger, once and in order.
//!
//! Events are written in the transaction of the decision that they tell of. This loop follows them: what the ledger
//! already has of them it knows from the ledger itself, so that a crash between the two neither loses nor repeats one.
//! Where the ledger ends is kept beside the state too, as a witness against a tail that was cut off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_attest::keys::{Folder, PASSPHRASE_VARIABLE};
use kiln_attest::ledger::{Entry, Head, Ledger, LedgerError, Source};
use kiln_model::{Digest, FleetId};
use kiln_provider::Provider;
use tokio::sync::watch;

use crate::event::{Event, What};
use crate::reconcile::Control;
use crate::state::{State, StateError, events, releases};
use crate::traffic::Traffic;

/// The name of the events as a source of the ledger.
const SOURCE: &str = "control";

/// Events in one append, which is one flush to the disk.
const BATCH: u32 = 256;

/// Records between two signed checkpoints.
const CHECKPOINT: u64 = 100;

/// The ledger of a home, and what is kept beside it.
#[derive(Clone, Debug)]
pub struct Recorder {
    ledger: Ledger,
    keys: Folder,
    witness: PathBuf,
}

/// Why events do not get onto the ledger.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("cannot write the witness {}", path.display())]
    Witness {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the work was cut off")]
    Cut,
}

/// Where the end of the ledger is kept beside it.
pub fn witness_path(home: &Path) -> PathBuf {
    home.join("state/ledger.head")
}

/// The end of the ledger as the control plane last saw it; `None` when it never did.
pub fn witness(home: &Path) -> Option<Head> {
    serde_json::from_slice(&std::fs::read(witness_path(home)).ok()?).ok()
}

impl Recorder {
    /// The ledger of a home.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn open(home: &Path, keys: Folder) -> Result<Self, LedgerError> {
        let ledger = Ledger::open(&home.join("ledger"))?;
        Ok(Self { ledger, keys, witness: witness_path(home) })
    }

    /// Writes down what is new until the sender of `events` is gone.
    pub(crate) async fn keep<P: Provider, T: Traffic>(&self, control: &Control<P, T>) {
        const RECORD: &str = "write the ledger";
        let mut last: watch::Receiver<i64> = control.state().last_event();
        loop {
            match self.catch_up(control.state()).await {
                Ok(()) => control.memory().fine(RECORD),
                Err(error) => {
                    control.trouble(RECORD, &error);
                }
            }
            if last.changed().await.is_err() {
                return;
            }
        }
    }

    /// Appends all events that the ledger does not have.
    async fn catch_up(&self, state: &State) -> Result<(), RecordError> {
        loop {
            let known = self.blocking(|own| Ok(own.ledger.last_source(SOURCE)?)).await?;
            let after = known.map_or(0, |id| i64::try_from(id).unwrap_or(i64::MAX));
            let (batch, full) = state.transact(move |db| entries(db, after)).await?;
            if batch.is_empty() && !full {
                return Ok(());
            }
            self.blocking(move |own| own.append(batch)).await?;
            if !full {
                return Ok(());
            }
        }
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<R, RecordError> + Send + 'static,
    ) -> Result<R, RecordError> {
        let own = self.clone();
        tokio::task::spawn_blocking(move || work(&own)).await.map_err(|_| RecordError::Cut)?
    }

    fn append(&self, batch: Vec<Entry>) -> Result<(), RecordError> {
        let now = batch.last().map_or(0, |entry| entry.at_ms);
        self.ledger.append_all(batch)?;
        let passphrase = std::env::var(PASSPHRASE_VARIABLE).ok();
        // A key that nobody opens signs no checkpoints; the chain and the witness hold without.
        if let Ok(key) = self.keys.own(passphrase.as_deref().map(str::as_bytes)) {
            self.ledger.checkpoint_if_due(CHECKPOINT, &key, now)?;
        }
        let Some(head) = self.ledger.head()? else { return Ok(()) };
        let fail = |source| RecordError::Witness { path: self.witness.clone(), source };
        let fresh = self.witness.with_extension("new");
        std::fs::write(&fresh, serde_json::to_vec(&head).unwrap_or_default()).map_err(fail)?;
        std::fs::rename(&fresh, &self.witness).map_err(fail)
    }
}

/// The next events as entries, and whether there are more. What only shows progress is left out, except the last of a
/// batch, which carries the number up to which everything was seen.
fn entries(db: &rusqlite::Connection, after: i64) -> Result<(Vec<Entry>, bool), StateError> {
    let found = events::after(db, after, BATCH)?;
    let full = found.len() == BATCH as usize;
    let mut images: BTreeMap<FleetId, Option<Digest>> = BTreeMap::new();
    let mut entries = Vec::new();
    let last = found.last().map(|event| event.id);
    for event in found {
        let silent = matches!(event.what, What::Progress(_) | What::Noted { .. });
        if silent && !(full && Some(event.id) == last) {
            continue;
        }
        let image = match image_of(&event) {
            Some(fleet) => match images.get(&fleet) {
                Some(known) => *known,
                None => {
                    let image = releases::get(db, &fleet)?.map(|it| it.release.content.image);
                    *images.entry(fleet).or_insert(image)
                }
            },
            None => None,
        };
        entries.push(entry(event, image));
    }
    Ok((entries, full))
}

fn image_of(event: &Event) -> Option<FleetId> {
    let release = event.release?;
    Some(FleetId { environment: event.environment.clone(), service: event.service.clone(), release })
}

fn entry(event: Event, image: Option<Digest>) -> Entry {
    let what = serde_json::to_value(&event.what).unwrap_or_default();
    let kind = what.get("kind").and_then(serde_json::Value::as_str).unwrap_or("unknown").to_owned();
    let mut entry = Entry::new(event.at_ms.max(0).unsigned_abs(), event.who, verb(&event.what, &kind));
    entry.why = what.get("reason").and_then(serde_json::Value::as_str).map(str::to_owned);
    entry.environment = Some(event.environment);
    entry.service = Some(event.service);
    entry.image = image;
    if let What::Proven { evidence, .. } = &event.what {
        entry.evidence.clone_from(evidence);
    }
    entry.details = serde_json::json!({ "release": event.release, "rollout": event.rollout, "event": what });
    entry.source = Some(Source { name: SOURCE.into(), id: event.id.unsigned_abs() });
    entry
}

/// What happened, as a noun and a verb.
fn verb(what: &What, kind: &str) -> String {
    let noun = match what {
        What::Released { .. } | What::Resized { .. } => "release",
        What::Checked { .. } => "check",
        What::Quarantined { .. } | What::Lifted { .. } => "quarantine",
        What::InstanceFailed { .. } => return "instance.failed".into(),
        What::Retired { .. } | What::Executed { .. } | What::Tainted { .. } => "instance",
        What::RoutesRefused { .. } => return "routes.refused".into(),
        What::Down { .. } | What::Gone => "service",
        What::Waiting { .. }
        | What::Started { .. }
        | What::Stage { .. }
        | What::Gate { .. }
        | What::Noted { .. }
        | What::Paused { .. }
        | What::Resumed { .. }
        | What::Promoted { .. }
        | What::Retried { .. }
        | What::Emergency { .. }
        | What::Proven { .. }
        | What::Bypassed { .. }
        | What::Progress(_)
        | What::Succeeded { .. }
        | What::RollingBack { .. }
        | What::RolledBack { .. }
        | What::Failed { .. }
        | What::Cancelled { .. } => "rollout",
    };
    format!("{noun}.{kind}")
}
