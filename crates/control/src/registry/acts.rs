//! From the registry's acts to the ledger: a bounded queue, for the registry waits for nobody.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use kiln_attest::ledger::{Entry, Ledger};
use kiln_registry::digest::ContentDigest;
use kiln_registry::server::{Act, Deed, Told};
use serde_json::json;

use super::OpenError;

/// Acts that wait for the disk. A flush takes some milliseconds, and as many manifests a second are not pushed.
const QUEUE: usize = 4096;
/// Acts in one append, which is one flush to the disk.
const BATCH: usize = 256;
/// How long somebody waits for the ledger at the end.
const FAREWELL: Duration = Duration::from_secs(5);

enum Message {
    Act(Box<Act>),
    Flush(SyncSender<()>),
}

/// Writes acts down on a thread of its own, which ends with the last sender.
#[derive(Debug)]
pub(super) struct Scribe {
    queue: SyncSender<Message>,
}

impl Scribe {
    pub(super) fn start(folder: &Path) -> Result<Self, OpenError> {
        let ledger = Ledger::open(folder)?;
        let (queue, waiting) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("registry-ledger".into());
        thread.spawn(move || write(&ledger, &waiting)).map_err(OpenError::System)?;
        Ok(Self { queue })
    }

    /// What the registry tells its acts to.
    pub(super) fn told(&self) -> Told {
        let queue = self.queue.clone();
        Arc::new(move |act| {
            let (TrySendError::Full(lost) | TrySendError::Disconnected(lost)) =
                match queue.try_send(Message::Act(act.into())) {
                    Ok(()) => return,
                    Err(lost) => lost,
                };
            if let Message::Act(act) = lost {
                tracing::error!(who = act.who, deed = %act.deed, "an act is not on the ledger: it cannot keep up");
            }
        })
    }

    pub(super) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FAREWELL);
        }
    }
}

fn write(ledger: &Ledger, waiting: &Receiver<Message>) {
    while let Ok(first) = waiting.recv() {
        let (mut acts, mut flushes) = (Vec::new(), Vec::new());
        let mut sort = |message| match message {
            Message::Act(act) => acts.push(*act),
            Message::Flush(done) => flushes.push(done),
        };
        sort(first);
        waiting.try_iter().take(BATCH - 1).for_each(sort);
        append(ledger, &acts);
        for done in flushes {
            let _ = done.send(());
        }
    }
}

fn append(ledger: &Ledger, acts: &[Act]) {
    if acts.is_empty() {
        return;
    }
    if let Err(error) = ledger.append_all(acts.iter().map(entry).collect()) {
        let why = crate::error::chain(&error);
        for act in acts {
            tracing::error!(who = act.who, deed = %act.deed, why, "an act is not on the ledger");
        }
    }
}

fn entry(act: &Act) -> Entry {
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
    entry
}

#[cfg(test)]
mod tests {
    use kiln_attest::ledger::Filter;

    use super::*;

    fn act(number: u8) -> Act {
        let digest = ContentDigest::sha256(&[number]);
        let (repository, tag) = ("team/shop".parse().unwrap(), Some("1".parse().unwrap()));
        Act { at_ms: 7, who: "ada".into(), deed: Deed::Pushed { repository, digest, tag } }
    }

    #[test]
    fn acts_are_on_the_ledger_in_their_order_after_a_flush() {
        let folder = tempfile::TempDir::new().unwrap();
        let scribe = Scribe::start(folder.path()).unwrap();
        let told = scribe.told();
        for number in 0..200 {
            told(act(number));
        }
        scribe.flush();
        let ledger = Ledger::open(folder.path()).unwrap();
        let records: Vec<_> = ledger.records(Filter::default()).unwrap().map(Result::unwrap).collect();
        let images: Vec<_> = records.iter().map(|record| record.entry.image.unwrap()).collect();
        let expected: Vec<_> = (0..200).map(|n| ContentDigest::sha256(&[n]).as_sha256().unwrap()).collect();
        assert_eq!(images, expected);
        assert_eq!(
            (records[0].entry.who.as_str(), records[0].entry.what.as_str()),
            ("ada", "registry.pushed")
        );
        assert_eq!(records[0].entry.details["repository"], "team/shop");
        assert_eq!(records[0].entry.details["tag"], "1");
    }

    #[test]
    fn a_ledger_that_refuses_holds_nobody_up() {
        let folder = tempfile::TempDir::new().unwrap();
        let scribe = Scribe::start(folder.path()).unwrap();
        // A file where the folder was: every append fails from here on.
        std::fs::remove_dir_all(folder.path()).unwrap();
        std::fs::write(folder.path(), "").unwrap();
        let told = scribe.told();
        for number in 0..=255 {
            told(act(number));
        }
        scribe.flush();
        std::fs::remove_file(folder.path()).unwrap();
        std::fs::create_dir(folder.path()).unwrap();
        told(act(1));
        scribe.flush();
        let ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!(ledger.records(Filter::default()).unwrap().count(), 1);
    }
}
