//! The database as a file: reopening, damage, newer schemas, rules that the tables themselves keep.

use std::fs;

use tempfile::TempDir;

use super::events::About;
use super::*;
use crate::event::What;
use crate::testing::{content, name};

fn path(home: &TempDir) -> std::path::PathBuf {
    home.path().join("state/kiln.db")
}

fn say(db: &Connection, text: &str) -> Result<(), StateError> {
    let (environment, service) = (name("dev"), name("web"));
    let about = About {
        environment: &environment,
        service: &service,
        release: None,
        rollout: None,
        who: "test",
        at_ms: 1,
    };
    events::append(db, about, &What::Cancelled { reason: text.into() })
}

fn stored(number: u64) -> Stored {
    let content = content("web", "one");
    Stored {
        replicas: content.service.replicas,
        peers: Vec::new(),
        release: kiln_model::Release {
            environment: name("dev"),
            number: kiln_model::ReleaseNumber(number),
            digest: crate::content_digest(&content),
            content,
            created_ms: 5,
            author: "ann".into(),
            reason: None,
        },
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening_and_what_failed_is_not() {
    let home = TempDir::new().unwrap();
    let state = State::open(&path(&home)).unwrap();
    state.transact(|db| releases::add(db, &stored(1))).await.unwrap();
    let failed: Result<(), StateError> = state
        .transact(|db| {
            releases::add(db, &stored(2))?;
            Err(StateError::Closed)
        })
        .await;
    assert!(failed.is_err());
    drop(state);
    let state = State::open(&path(&home)).unwrap();
    let found = state.transact(|db| releases::newest(db, None, None, 9)).await.unwrap();
    assert_eq!(found, [stored(1)]);
    assert!(home.path().join("state/kiln.db.backup").exists(), "a whole database is copied at the start");
}

#[tokio::test]
async fn followers_hear_of_events_only_when_there_are_some() {
    let home = TempDir::new().unwrap();
    let state = State::open(&path(&home)).unwrap();
    let mut last = state.last_event();
    state.transact(|db| say(db, "one")).await.unwrap();
    last.changed().await.unwrap();
    assert_eq!(*last.borrow_and_update(), 1);
    state.transact(events::last).await.unwrap();
    assert!(!last.has_changed().unwrap());
}

#[tokio::test]
async fn events_are_never_changed_or_removed() {
    let home = TempDir::new().unwrap();
    let state = State::open(&path(&home)).unwrap();
    state.transact(|db| say(db, "one")).await.unwrap();
    for text in ["UPDATE events SET who = 'me'", "DELETE FROM events"] {
        let done = state.transact(|db| sql::run(db, "tamper", text, [])).await;
        assert!(done.is_err(), "{text}");
    }
}

#[test]
fn a_damaged_database_is_refused_and_left_alone() {
    let home = TempDir::new().unwrap();
    let path = path(&home);
    drop(State::open(&path).unwrap());
    drop(State::open(&path).unwrap());
    let garbage = vec![0x5a_u8; 8192];
    fs::write(&path, &garbage).unwrap();
    let error = State::open(&path).unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
    assert!(error.hint().contains("kiln.db.backup"), "{}", error.hint());
    assert_eq!(fs::read(&path).unwrap(), garbage, "the evidence is kept");
    for suffix in ["db", "db-wal", "db-shm"] {
        let _ = fs::remove_file(path.with_extension(suffix));
    }
    fs::copy(path.with_extension("db.backup"), &path).unwrap();
    State::open(&path).expect("what the hint says works");
}

#[tokio::test]
async fn a_page_that_rotted_is_found_at_the_start() {
    let home = TempDir::new().unwrap();
    let path = path(&home);
    let state = State::open(&path).unwrap();
    for _ in 0..200 {
        state.transact(|db| say(db, &"x".repeat(500))).await.unwrap();
    }
    drop(state);
    drop(rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 8192 * 4096;
    bytes[middle..middle + 4096].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let error = State::open(&path).unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let home = TempDir::new().unwrap();
    let path = path(&home);
    drop(State::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = State::open(&path).unwrap_err();
    assert!(matches!(error, StateError::Newer { found: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("newer kiln"));
}
