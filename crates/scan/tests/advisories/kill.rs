//! An update that is killed: at every step it names, the store is the old one or the new one and whole.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_scan::advisories::{AdvisoryDb, AdvisoryError, Source, UpdateOptions};
use serde_json::json;

use super::kit::{run, run_with, write};

const STORE: &str = "KILN_TEST_KILL_STORE";
const SOURCE: &str = "KILN_TEST_KILL_SOURCE";
const STEP: &str = "KILN_TEST_KILL_STEP";

fn fill(dir: &Path, version: u32) {
    let documents: Vec<_> = (0..30)
        .map(|n| {
            json!({"id": format!("X-{n}"), "modified": "2024-01-01T00:00:00Z", "summary": format!("state {version}"),
                "affected": [{"package": {"ecosystem": "npm", "name": "demo"}, "versions": ["1.0.0"]}]})
        })
        .collect();
    for ecosystem in ["one", "two"] {
        write(&dir.join(ecosystem), &documents);
    }
}

/// Two sources in one folder, named by their folders.
fn sources(dir: &Path) -> Vec<Source> {
    vec![Source::Osv(dir.to_owned())]
}

/// Runs only as the child of the test below.
#[test]
fn child() {
    let Some(store) = std::env::var_os(STORE) else { return };
    let step: usize = std::env::var(STEP).unwrap().parse().unwrap();
    let passed = AtomicUsize::new(0);
    let options = UpdateOptions {
        step: Arc::new(move |_| {
            if passed.fetch_add(1, Ordering::SeqCst) == step {
                std::process::abort();
            }
        }),
        ..UpdateOptions::default()
    };
    run_with(Path::new(&store), &sources(&PathBuf::from(std::env::var_os(SOURCE).unwrap())), &options);
}

#[test]
fn at_every_step() {
    let files = tempfile::tempdir().unwrap();
    let states = [1, 2].map(|version| {
        fill(files.path(), version);
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &sources(files.path())).digest.unwrap()
    });
    let [old, new] = states;
    assert_ne!(old, new);
    let (mut aborted, mut seen) = (0, Vec::new());
    for step in 0.. {
        assert!(step < 50, "an update has fewer steps");
        let dir = tempfile::tempdir().unwrap();
        fill(files.path(), 1);
        run(dir.path(), &sources(files.path()));
        fill(files.path(), 2);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["kill::child", "--exact", "--nocapture"])
            .env(STORE, dir.path())
            .env(SOURCE, files.path())
            .env(STEP, step.to_string())
            .output()
            .unwrap()
            .status;
        let db = AdvisoryDb::open(dir.path()).unwrap();
        db.verify().unwrap();
        assert!(db.digest() == old || db.digest() == new, "step {step} left a third state");
        seen.push(db.digest());
        drop(db);
        // The next update finds the lock free, goes on, and leaves nothing behind.
        assert_eq!(run(dir.path(), &sources(files.path())).digest, Some(new), "after step {step}");
        let files = std::fs::read_dir(dir.path().join("data")).unwrap().count();
        assert!(files <= 2, "step {step} left {files} data files");
        if status.success() {
            break;
        }
        aborted += 1;
    }
    assert!(aborted >= 10, "only {aborted} steps were hit");
    assert!(seen.contains(&old) && seen.contains(&new));
    assert!(seen.windows(2).all(|pair| !(pair[0] == new && pair[1] == old)), "once replaced, it stays");
}

#[test]
fn only_one_update_at_a_time() {
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(files.path(), 1);
    let (store, inputs) = (dir.path().to_owned(), sources(files.path()));
    let inner = Arc::new(std::sync::Mutex::new(None));
    let result = Arc::clone(&inner);
    let again = inputs.clone();
    let options = UpdateOptions {
        step: Arc::new(move |_| {
            let (store, again) = (store.clone(), again.clone());
            let second = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime
                    .block_on(kiln_scan::advisories::update(&store, &again, &UpdateOptions::default()))
                    .err()
            });
            result.lock().unwrap().get_or_insert(second.join().unwrap());
        }),
        ..UpdateOptions::default()
    };
    run_with(dir.path(), &inputs, &options);
    assert!(matches!(*inner.lock().unwrap(), Some(Some(AdvisoryError::Busy { .. }))));
}
