//! What instances print is kept, and no more of it than was asked for.

use std::time::Duration;

use kiln_local::logs::{self, Follow};
use kiln_local::{LocalProvider, LogRule};
use kiln_provider::Provider;

use crate::world::{World, eventually, lives, one_ready};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases!(Both: a_flood_is_bounded, a_log_is_followed_over_its_rotation, streams_are_told_apart).to_vec()
}

async fn flooding(world: &World) -> (LocalProvider, kiln_provider::InstanceObservation) {
    let mut config = world.config();
    config.log = LogRule { max_bytes: 200_000, files: 3 };
    let provider = LocalProvider::open(config).await.unwrap();
    let instance = one_ready(&provider, &world.fleet(&["flood"], |_| {})).await;
    (provider, instance)
}

async fn a_flood_is_bounded(world: &World) {
    let (_provider, instance) = flooding(world).await;
    let dir = world.dir(&instance.id);
    let folder = dir.log();
    let shim = world.status(&instance.id).shim_pid;
    eventually("a full set of files", || folder.join("2").exists()).await;
    let newest = || logs::read(&dir, 1).unwrap().last().map(number).unwrap();
    let (before, anonymous_before) = (newest(), anonymous_kib(shim));
    eventually("many times as much as is kept", || newest() > before + 200_000).await;
    let sizes: Vec<u64> = std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .filter_map(|e| e.metadata().ok())
        .map(|m| m.len())
        .collect();
    assert!(sizes.len() <= 3 && sizes.iter().all(|size| *size <= 240_000), "{sizes:?}");
    assert!(lives(shim));
    let grown = anonymous_kib(shim).saturating_sub(anonymous_before);
    assert!(grown < 2048, "the supervisor grew by {grown} KiB over {anonymous_before} KiB");
}

/// Memory that a process has to itself. How much it begins with depends on the build and the kernel.
fn anonymous_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    anonymous.trim().trim_end_matches(" kB").parse().unwrap()
}

fn number(line: &logs::LogLine) -> u64 {
    let text = String::from_utf8_lossy(&line.text).into_owned();
    text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{text:?}"))
}

async fn a_log_is_followed_over_its_rotation(world: &World) {
    let (_provider, instance) = flooding(world).await;
    let dir = world.dir(&instance.id);
    eventually("a log", || !logs::tail(&dir, 1).is_empty()).await;
    let mut follow = Follow::open(&dir, 10).unwrap();
    let mut last = number(&follow.next_line().unwrap().unwrap());
    let mut read = 0;
    // The flood is faster than this reader now and then; then a file may be rotated away unread, never a part of one.
    while read < 20_000 {
        match follow.next_line().unwrap() {
            Some(line) => {
                let next = number(&line);
                assert!(next > last, "{next} after {last}");
                (last, read) = (next, read + 1);
            }
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn streams_are_told_apart(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["exit", "0", "to stderr"], |_| {});
    provider.ensure_fleet(&spec, 1).await.unwrap();
    let mut lines = Vec::new();
    eventually("a line", || {
        let folders = std::fs::read_dir(world.home.path().join("instances")).unwrap();
        let dirs = folders.flatten().map(|entry| kiln_local::InstanceDir::new(entry.path()));
        lines = dirs.flat_map(|dir| logs::read(&dir, 10).unwrap()).collect();
        !lines.is_empty()
    })
    .await;
    assert!(lines[0].stderr && !lines[0].goes_on && lines[0].text == b"to stderr", "{lines:?}");
    assert!(lines[0].at_ms > 1_700_000_000_000);
}
