//! What runs again and what does not.

use std::fs;

use kiln_bake::{Baked, Outcome};

use crate::kit::Kitchen;

fn ran(baked: &Baked) -> Vec<(&str, &str)> {
    let ran = baked.steps.iter().filter(|step| step.outcome == Outcome::Ran);
    ran.map(|step| (step.name.as_str(), step.why.as_str())).collect()
}

const TEXT: &str =
    "copy bin /bin\n run mkdir /srv\n copy lib /srv/lib\n copy app /srv/app\n copy conf /etc/app";

fn sample() -> Kitchen {
    let kitchen = Kitchen::with_busybox();
    kitchen.file("lib/a", "1").file("app/main", "1").file("app/other", "1").file("conf/x", "1");
    kitchen
}

#[test]
fn a_changed_file_remakes_only_its_own_layer() {
    let kitchen = sample();
    let first = kitchen.bake(TEXT);
    assert_eq!(ran(&first).len(), 5);
    assert!(ran(&first).iter().all(|(_, why)| *why == "first bake"));
    assert_eq!(ran(&kitchen.bake(TEXT)), []);
    kitchen.file("app/main", "2");
    let second = kitchen.bake(TEXT);
    assert_eq!(ran(&second), [("copy app /srv/app", "/srv/app/main changed")]);
    assert_ne!(first.digest, second.digest);
    kitchen.file("app/main", "1");
    let third = kitchen.bake(TEXT);
    assert_eq!((ran(&third), third.digest), (vec![], first.digest), "back again is no work");
}

#[test]
fn a_command_runs_again_when_anything_below_it_changed() {
    let kitchen = sample();
    kitchen.bake(TEXT);
    kitchen.file("bin/new", "x");
    let again = kitchen.bake(TEXT);
    assert_eq!(
        ran(&again),
        [("copy bin /bin", "/bin/new is new"), ("run mkdir /srv", "a layer below changed")]
    );
}

#[test]
fn reasons_name_what_changed() {
    let kitchen = sample();
    kitchen.bake(TEXT);
    fs::remove_file(kitchen.source().join("app/other")).unwrap();
    assert_eq!(ran(&kitchen.bake(TEXT)), [("copy app /srv/app", "/srv/app/other is gone")]);
    let other = TEXT.replace("copy conf /etc/app", "copy conf /etc/other");
    assert_eq!(ran(&kitchen.bake(&other)), [("copy conf /etc/other", "new or changed step")]);
    kitchen.bake(TEXT);
    let blob = kitchen.bake(TEXT).steps[3].layer.unwrap();
    fs::remove_file(kitchen.store.blob_path(&blob)).unwrap();
    assert_eq!(ran(&kitchen.bake(TEXT)), [("copy app /srv/app", "its layer is no longer in the store")]);
}

#[test]
fn a_file_that_changes_behind_the_clock_is_noticed() {
    let kitchen = sample();
    let path = kitchen.source().join("app/main");
    let mut digests = std::collections::HashSet::new();
    for content in ["a", "b", "c", "d"] {
        // Same length, written right after the bake that hashed it, and dated to the same time.
        fs::write(&path, content).unwrap();
        let time = fs::FileTimes::new()
            .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000));
        fs::File::options().write(true).open(&path).unwrap().set_times(time).unwrap();
        digests.insert(kitchen.bake(TEXT).digest);
    }
    assert_eq!(digests.len(), 4);
}

#[test]
fn damaged_caches_are_only_slower() {
    let kitchen = sample();
    let digest = kitchen.bake(TEXT).digest;
    let mut stack = vec![kitchen.store.cache()];
    while let Some(folder) = stack.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                stack.push(entry.path());
            } else {
                fs::write(entry.path(), b"\0\0\0").unwrap();
            }
        }
    }
    assert_eq!(kitchen.bake(TEXT).digest, digest);
    fs::remove_dir_all(kitchen.store.cache()).unwrap();
    assert_eq!(kitchen.bake(TEXT).digest, digest);
}

/// Bytes that this process has read so far.
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// What makes a bake without changes fast, measured by what a busy machine does not change.
#[test]
fn what_has_not_changed_is_not_read_again() {
    let kitchen = sample();
    for number in 0..20 {
        kitchen.file(&format!("lib/file{number}"), vec![number; 1_000_000]);
    }
    kitchen.bake(TEXT);
    // Other tests may read in the same process: the least counts.
    let least = |act: &dyn Fn(u64)| {
        let once = |round| {
            let before = bytes_read();
            act(round);
            bytes_read() - before
        };
        (0..5).map(once).min().unwrap()
    };
    let unchanged = least(&|_| drop(kitchen.bake(TEXT)));
    let changed = least(&|round| {
        kitchen.file("app/main", format!("round {round}"));
        kitchen.bake(TEXT);
    });
    println!("read {unchanged} bytes for no change, {changed} for one file");
    assert!(unchanged < 5_000_000 && changed < 5_000_000, "{unchanged} {changed}");
}

#[test]
fn a_damaged_document_is_written_again() {
    let kitchen = sample();
    let digest = kitchen.bake(TEXT).digest;
    let path = kitchen.store.blob_path(&digest);
    let length = fs::metadata(&path).unwrap().len();
    fs::write(&path, "x".repeat(length as usize)).unwrap();
    assert!(kitchen.store.image(&digest).is_err());
    assert_eq!(ran(&kitchen.bake(TEXT)), []);
    kitchen.store.image(&digest).unwrap();
}

#[test]
fn two_bakes_at_once_do_not_disturb_each_other() {
    let kitchen = sample();
    let digests: Vec<_> = std::thread::scope(|scope| {
        let bakes: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let store = kiln_store::Store::open(kitchen.store.root()).unwrap();
                    let own = Kitchen { store, ..Kitchen::with_busybox() };
                    own.file("lib/a", "1").file("app/main", "1").file("app/other", "1").file("conf/x", "1");
                    own.bake(TEXT).digest
                })
            })
            .collect();
        bakes.into_iter().map(|bake| bake.join().unwrap()).collect()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    assert_eq!(kitchen.bake(TEXT).digest, digests[0]);
}
