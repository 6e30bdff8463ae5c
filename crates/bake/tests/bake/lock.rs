//! The lock file itself.

use std::fs;

use kiln_bake::lock::{LockError, LockFile, OciPin, Section, read, write};

use crate::kit::{Kitchen, recipe};

fn sample() -> LockFile {
    let pin = OciPin {
        reference: "ghcr.io/acme/base:1".into(),
        digest: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
    };
    let mut lock = LockFile::default();
    lock.images.insert(recipe("web").name, Section::Oci(pin));
    lock
}

#[test]
fn a_lock_is_text_that_people_can_compare() {
    let kitchen = Kitchen::new();
    let path = kitchen.source().join("kiln.lock");
    assert_eq!(read(&path).unwrap(), None);
    write(&path, &sample()).unwrap();
    let expected = format!(
        "{{\n  \"version\": 1,\n  \"images\": {{\n    \"web\": {{\n      \"oci\": {{\n        \"reference\": \
         \"ghcr.io/acme/base:1\",\n        \"digest\": \"sha256:{}\"\n      }}\n    }}\n  }}\n}}\n",
        "a".repeat(64)
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(read(&path).unwrap(), Some(sample()));
    assert_eq!(fs::read_dir(kitchen.source()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_lock_that_cannot_be_used_says_what_to_do() {
    let kitchen = Kitchen::new();
    let path = kitchen.source().join("kiln.lock");
    for (text, word) in [
        ("<<<<<<< HEAD\n", "version control"),
        ("{\"version\":1}", "version control"),
        ("{\"version\":1,\"images\":{},\"more\":1}", "version control"),
        ("{\"version\":99,\"images\":{}}", "format 99"),
    ] {
        fs::write(&path, text).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains(word) && error.to_string().contains("kiln.lock"), "{error}");
    }
    let nowhere = kitchen.source().join("absent/kiln.lock");
    assert!(matches!(write(&nowhere, &sample()), Err(LockError::Io { .. })));
}
