//! From the registry's acts to the ledger, once and in order.
//!
//! The registry writes an act down in the transaction that does it. A thread appends what is there to the ledger and
//! then takes it out of the registry's database. Whatever dies in between, the ledger knows by the acts' numbers what
//! it has: none is lost and none is there twice. The registry waits for nobody; a ledger that refuses is tried again.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kiln_attest::ledger::{Entry, Ledger, LedgerError, Source};
use kiln_registry::digest::ContentDigest;
use kiln_registry::server::{Act, Deed, Registry, RegistryError, Told};
use serde_json::json;

use super::OpenError;

/// Acts in one append, which is one flush to the disk.
const BATCH: u32 = 256;
/// How long somebody waits for the ledger at the end.
const FAREWELL: Duration = Duration::from_secs(5);
/// When a ledger that refused is tried again, though nothing new was done.
const AGAIN: Duration = Duration::from_secs(30);

/// Says that there is something to write down, and what was written since.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    /// How often it was rung.
    rung: u64,
    /// Up to which ringing everything was looked at.
    heard: u64,
    ended: bool,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, Rung> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Rung) -> R) -> R {
        let changed = change(&mut self.state());
        self.changed.notify_all();
        changed
    }

    fn ring(&self) -> u64 {
        self.change(|state| {
            state.rung += 1;
            state.rung
        })
    }

    /// What the registry rings.
    pub(super) fn told(self: &Arc<Self>) -> Told {
        let bell = self.clone();
        Arc::new(move || {
            bell.ring();
        })
    }

    /// Waits for a ringing that was not heard, or for so long. `None` at the end.
    fn wait(&self, patience: Option<Duration>) -> Option<u64> {
        let until = patience.map(|patience| Instant::now() + patience);
        let mut state = self.state();
        while !state.ended && state.rung == state.heard {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        (!state.ended).then_some(state.rung)
    }
}

/// Writes acts down on a thread of its own.
#[derive(Debug)]
pub(super) struct Scribe {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.bell.change(|state| state.ended = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why acts do not get onto the ledger.
#[derive(Debug, thiserror::Error)]
enum PumpError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Scribe {
    /// Begins with what was not written down when the registry was open before.
    pub(super) fn start(registry: Registry, folder: &Path, bell: Arc<Bell>) -> Result<Self, OpenError> {
        let ledger = Ledger::open(folder)?;
        let source = format!("registry-{}", registry.identity()?);
        bell.ring();
        let own = bell.clone();
        let thread = std::thread::Builder::new().name("registry-ledger".into());
        let thread =
            thread.spawn(move || write(&registry, &ledger, &source, &own)).map_err(OpenError::System)?;
        Ok(Self { bell, thread: Some(thread) })
    }

    /// Waits until everything that was done so far is on the ledger, or was refused by it.
    pub(super) fn flush(&self) {
        let (number, until) = (self.bell.ring(), Instant::now() + FAREWELL);
        let mut state = self.bell.state();
        while state.heard < number {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.bell.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn write(registry: &Registry, ledger: &Ledger, source: &str, bell: &Bell) {
    let mut patience = None;
    while let Some(number) = bell.wait(patience) {
        patience = match pump(registry, ledger, source) {
            Ok(()) => None,
            Err(error) => {
                let why = crate::error::chain(&error);
                tracing::error!(
                    why,
                    "the registry's acts are not on the ledger; they are kept and tried again"
                );
                Some(AGAIN)
            }
        };
        bell.change(|state| state.heard = number);
    }
}

fn pump(registry: &Registry, ledger: &Ledger, source: &str) -> Result<(), PumpError> {
    loop {
        let acts = registry.acts(BATCH)?;
        let Some((last, _)) = acts.last() else { return Ok(()) };
        ledger.append_all(acts.iter().map(|(id, act)| entry(source, *id, act)).collect())?;
        registry.forget_acts(*last)?;
    }
}

fn entry(source: &str, id: u64, act: &Act) -> Entry {
    let (what, digest, details) = match &act.deed {
        Deed::Pushed { repository, digest, tag } => (
            "registry.pushed",
            Some(digest),
            json!({ "repository": repository, "digest": digest, "tag": tag }),
        ),
        Deed::Tagged { repository, tag, digest, before } => (
            "registry.tagged",
            Some(digest),
            json!({ "repository": repository, "tag": tag, "digest": digest, "before": before }),
        ),
        Deed::Untagged { repository, tag, digest } => (
            "registry.deleted",
            Some(digest),
            json!({ "repository": repository, "tag": tag, "digest": digest }),
        ),
        Deed::Deleted { repository, digest, tags } => (
            "registry.deleted",
            Some(digest),
            json!({ "repository": repository, "digest": digest, "tags": tags }),
        ),
        Deed::Collected { manifests, files, uploads, bytes } => (
            "registry.collected",
            None,
            json!({ "manifests": manifests, "files": files, "uploads": uploads, "bytes": bytes }),
        ),
    };
    let mut entry = Entry::new(act.at_ms, act.who.clone(), what);
    entry.image = digest.and_then(ContentDigest::as_sha256);
    entry.details = details;
    entry.source = Some(Source { name: source.into(), id });
    entry
}

#[cfg(test)]
mod tests {
    use kiln_attest::ledger::{Filter, Record};
    use kiln_registry::server::RegistryConfig;
    use kiln_store::Store;
    use tempfile::TempDir;

    use super::*;

    struct World {
        folder: TempDir,
        store: Store,
    }

    impl World {
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let store = Store::open(&folder.path().join("store")).unwrap();
            Self { folder, store }
        }

        fn ledger(&self) -> Ledger {
            Ledger::open(&self.folder.path().join("ledger")).unwrap()
        }

        fn registry(&self, bell: &Arc<Bell>) -> Registry {
            let mut config = RegistryConfig::new(self.store.clone(), self.folder.path().join("registry"));
            config.acts = Some(bell.told());
            Registry::open(config).unwrap()
        }

        fn scribe(&self) -> (Registry, Scribe) {
            let bell = Arc::new(Bell::default());
            let registry = self.registry(&bell);
            let scribe = Scribe::start(registry.clone(), &self.folder.path().join("ledger"), bell).unwrap();
            (registry, scribe)
        }

        /// Two acts: a manifest, and the tag that names it.
        fn push(&self, registry: &Registry, number: usize) {
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [],
                "annotations": { "number": number.to_string() },
            });
            let (digest, _) = self.store.put_bytes(manifest.to_string().as_bytes()).unwrap();
            let (repository, tag) = ("team/shop".parse().unwrap(), format!("v{number}").parse().unwrap());
            registry.link("ada", &repository, &tag, &digest).unwrap();
        }

        /// The tags in the order in which they were set, as the ledger has them.
        fn tags(&self) -> Vec<String> {
            let records = self.ledger().records(Filter::default()).unwrap().map(Result::unwrap);
            let tagged = records.filter(|record: &Record| record.entry.what == "registry.tagged");
            tagged.map(|it| it.entry.details["tag"].as_str().unwrap().to_owned()).collect()
        }
    }

    fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| format!("v{number}")).collect()
    }

    #[test]
    fn acts_are_on_the_ledger_in_their_order_after_a_flush() {
        let world = World::new();
        let (registry, scribe) = world.scribe();
        (0..200).for_each(|number| world.push(&registry, number));
        scribe.flush();
        assert_eq!(world.tags(), names(0..200));
        let first = world.ledger().records(Filter::default()).unwrap().next().unwrap().unwrap().entry;
        assert_eq!((first.who.as_str(), first.what.as_str()), ("ada", "registry.pushed"));
        assert_eq!(
            (&first.details["repository"], &first.details["tag"]),
            (&json!("team/shop"), &json!("v0"))
        );
        assert!(first.image.is_some());
        assert!(registry.acts(1).unwrap().is_empty(), "what was taken is not kept twice");
    }

    #[test]
    fn what_was_done_before_a_death_is_written_down_after_it() {
        let world = World::new();
        let bell = Arc::new(Bell::default());
        // Nobody writes down: as if the process had died after each commit.
        let registry = world.registry(&bell);
        (0..3).for_each(|number| world.push(&registry, number));
        drop(registry);
        assert_eq!(world.tags(), names(0..0));
        let (registry, scribe) = world.scribe();
        scribe.flush();
        assert_eq!(world.tags(), names(0..3));
        world.push(&registry, 3);
        scribe.flush();
        assert_eq!(world.tags(), names(0..4));
    }

    #[test]
    fn what_is_on_the_ledger_and_was_not_taken_out_is_there_once() {
        let world = World::new();
        let registry = world.registry(&Arc::default());
        (0..3).for_each(|number| world.push(&registry, number));
        // As if the process had died between the append and the database.
        let source = format!("registry-{}", registry.identity().unwrap());
        let acts = registry.acts(4).unwrap();
        world.ledger().append_all(acts.iter().map(|(id, act)| entry(&source, *id, act)).collect()).unwrap();
        assert_eq!(world.tags(), names(0..2));
        drop(registry);
        let (_registry, scribe) = world.scribe();
        scribe.flush();
        assert_eq!(world.tags(), names(0..3));
        let count = world.ledger().records(Filter::default()).unwrap().count();
        assert_eq!(count, 6, "pushed and tagged, each once");
    }

    #[test]
    fn a_registry_made_anew_is_another_one() {
        let world = World::new();
        for round in 0..2 {
            let (registry, scribe) = world.scribe();
            world.push(&registry, round);
            scribe.flush();
            drop((registry, scribe));
            std::fs::remove_dir_all(world.folder.path().join("registry")).unwrap();
        }
        assert_eq!(
            world.tags(),
            names(0..2),
            "numbers that begin anew are not taken for those that were heard"
        );
    }

    #[test]
    fn a_ledger_that_refuses_holds_nobody_up_and_loses_nothing() {
        let world = World::new();
        let (registry, scribe) = world.scribe();
        scribe.flush();
        let folder = world.folder.path().join("ledger");
        // A file where the folder was: every append fails from here on.
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::write(&folder, "").unwrap();
        (0..5).for_each(|number| world.push(&registry, number));
        scribe.flush();
        std::fs::remove_file(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        world.push(&registry, 5);
        scribe.flush();
        assert_eq!(world.tags(), names(0..6));
    }
}
