//! Kill anything, any time.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_local::ShimPhase;
use kiln_provider::{Phase, Provider, RetireReason};

use crate::world::{World, eventually, in_phase, lives, one_failure, one_ready, signal, until};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases!(Both: a_killed_supervisor_takes_its_instance_with_it, a_supervisor_that_dies_unseen_is_cleared_up_after,
        a_dropped_provider_leaves_everything_running, an_instance_is_started_once, marks_outlive_the_provider,
        what_it_printed_last_is_in_the_failure, failures_are_replaced_ever_more_slowly,
        a_forgotten_fleets_instances_go, a_provider_may_be_killed_at_any_moment,
        a_supervisor_may_be_killed_while_it_starts)
    .to_vec()
}

async fn a_killed_supervisor_takes_its_instance_with_it(world: &World) {
    let provider = world.provider().await;
    let spec = world.serving(|_| {});
    let first = one_ready(&provider, &spec).await;
    let status = world.status(&first.id);
    signal(status.shim_pid, "KILL");
    let fleet = until(&provider, "a replacement", |fleet| {
        in_phase(fleet, Phase::Ready).iter().any(|instance| instance.id != first.id)
    })
    .await;
    assert!(!lives(first.pid.unwrap()), "the instance lives without a supervisor");
    let failure = fleet.last_failure.unwrap();
    assert!(failure.what.contains("its supervisor died"), "{failure:?}");
    assert_eq!(world.status(&first.id).phase, ShimPhase::Exited);
}

async fn a_supervisor_that_dies_unseen_is_cleared_up_after(world: &World) {
    let provider = world.provider().await;
    let spec = world.serving(|_| {});
    let first = one_ready(&provider, &spec).await;
    drop(provider);
    let status = world.status(&first.id);
    signal(status.shim_pid, "KILL");
    eventually("the instance's death", || !lives(status.pid.unwrap())).await;
    let provider = world.provider().await;
    until(&provider, "a replacement", |fleet| {
        in_phase(fleet, Phase::Ready).iter().any(|instance| instance.id != first.id)
    })
    .await;
    assert!(world.status(&first.id).exit.unwrap().what.contains("supervisor died"));
}

async fn a_dropped_provider_leaves_everything_running(world: &World) {
    let provider = world.provider().await;
    let spec = world.serving(|_| {});
    let first = one_ready(&provider, &spec).await;
    drop(provider);
    let provider = world.provider().await;
    // Ready at once, not only when it has been asked again: the data plane must not lose it meanwhile.
    let fleet = provider.observe().await.unwrap().fleets.into_values().next().unwrap();
    assert_eq!(fleet.instances.len(), 1);
    let again = &fleet.instances[0];
    assert_eq!((&again.id, again.phase, again.pid), (&first.id, Phase::Ready, first.pid));
    assert_eq!((again.ready_since_ms, &again.endpoints), (first.ready_since_ms, &first.endpoints));
    provider.retire(&first.id, RetireReason::Requested).await.unwrap();
    until(&provider, "a replacement", |fleet| in_phase(fleet, Phase::Ready).len() == 1).await;
    provider.drained(&first.id).await.unwrap();
    until(&provider, "the end", |fleet| {
        in_phase(fleet, Phase::Exited).iter().any(|gone| gone.id == first.id)
    })
    .await;
}

async fn an_instance_is_started_once(world: &World) {
    let provider = world.provider().await;
    let first = one_ready(&provider, &world.serving(|_| {})).await;
    let dir = world.dir(&first.id);
    let second = || {
        let mut shim = Command::new(std::env::current_exe().unwrap());
        let output = shim.arg("shim").arg(dir.path()).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = second();
    assert_eq!(code, Some(3));
    assert!(said.contains("has a supervisor already"), "{said}");
    assert!(lives(first.pid.unwrap()));
    drop(provider);
    let shim = world.status(&first.id).shim_pid;
    signal(shim, "KILL");
    eventually("the supervisor's death", || !lives(shim)).await;
    let (code, said) = second();
    assert_eq!(code, Some(3));
    assert!(said.contains("started only once"), "{said}");
}

async fn marks_outlive_the_provider(world: &World) {
    let provider = world.provider().await;
    let first = one_ready(&provider, &world.serving(|_| {})).await;
    provider.taint(&first.id).await.unwrap();
    provider.retire(&first.id, RetireReason::Tainted).await.unwrap();
    drop(provider);
    let provider = world.provider().await;
    let fleet = provider.observe().await.unwrap().fleets.into_values().next().unwrap();
    let again = fleet.instances.iter().find(|instance| instance.id == first.id).unwrap();
    assert_eq!((again.tainted, again.retiring), (true, Some(RetireReason::Tainted)));
    assert_eq!(again.phase, Phase::Draining);
    until(&provider, "a replacement", |fleet| in_phase(fleet, Phase::Ready).len() == 1).await;
}

async fn what_it_printed_last_is_in_the_failure(world: &World) {
    let provider = world.provider().await;
    let failure = one_failure(&provider, &world.fleet(&["exit", "3", "cannot open the till"], |_| {})).await;
    assert!(failure.what.starts_with("exited with status 3 after "), "{failure:?}");
    assert_eq!(failure.log_tail, ["cannot open the till"]);
    let world = World::new(world.rootless);
    let provider = world.provider().await;
    let failure = one_failure(&provider, &world.fleet(&["crash"], |_| {})).await;
    assert!(failure.what.starts_with("was killed by SIG"), "{failure:?}");
    assert_eq!(failure.log_tail, ["going down"]);
}

async fn failures_are_replaced_ever_more_slowly(world: &World) {
    let provider = world.provider().await;
    provider.ensure_fleet(&world.fleet(&["exit", "1", "no"], |_| {}), 1).await.unwrap();
    // The number of failures and when the last of them was; a look may come too late for one of them.
    let mut seen: Vec<(u32, i64)> = Vec::new();
    until(&provider, "four failures", |fleet| {
        let last = fleet.last_failure.as_ref().map(|failure| (fleet.failed_starts, failure.at_ms));
        seen.extend(last);
        fleet.failed_starts >= 4
    })
    .await;
    // After the first failure 100 ms pass, after the second 200 more, then 400.
    let (first, first_ms) = seen[0];
    for (failures, at_ms) in seen {
        let least = 100 * ((1 << (failures - 1)) - (1 << (first - 1)));
        assert!(at_ms - first_ms >= least, "{failures} failures {} ms after {first}", at_ms - first_ms);
    }
    let fleet =
        until(&provider, "a pending instance", |fleet| !in_phase(fleet, Phase::Pending).is_empty()).await;
    assert!(in_phase(&fleet, Phase::Exited).len() <= 4, "the dead pile up: {fleet:#?}");
}

async fn a_forgotten_fleets_instances_go(world: &World) {
    let provider = world.provider().await;
    let first = one_ready(&provider, &world.serving(|_| {})).await;
    drop(provider);
    let fleets = std::fs::read_dir(world.home.path().join("fleets")).unwrap();
    fleets.for_each(|file| std::fs::remove_file(file.unwrap().path()).unwrap());
    let _provider = world.provider().await;
    let pid = first.pid.unwrap();
    eventually("the end of an instance that nobody knows", || !lives(pid)).await;
}

/// Tells a process of this binary to be a provider for the home, until it is killed.
pub(crate) const PROVIDER: &str = "KILN_LOCAL_TEST_PROVIDER";
const ROOTLESS: &str = "KILN_LOCAL_TEST_ROOTLESS";

/// Instances of the fleet that the doomed providers keep.
const SIZE: u32 = 3;

pub(crate) async fn provide(home: PathBuf) {
    let world = World::at(home, std::env::var(ROOTLESS).is_ok());
    let provider = world.provider().await;
    provider.ensure_fleet(&world.serving(|_| {}), SIZE).await.unwrap();
    // One instance after the other is exchanged, so that there is always something to be killed in the middle of.
    loop {
        let fleet =
            until(&provider, "readiness", |fleet| in_phase(fleet, Phase::Ready).len() == SIZE as usize).await;
        provider.retire(&in_phase(&fleet, Phase::Ready)[0].id, RetireReason::Requested).await.unwrap();
        for leaving in in_phase(&fleet, Phase::Draining) {
            provider.drained(&leaving.id).await.unwrap();
        }
    }
}

/// Processes that supervise instances of this home.
fn supervisors(world: &World) -> Vec<u32> {
    let home = world.home.path().to_string_lossy().into_owned();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let supervises = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("shim") && line.contains(&home) && lives(*pid)
    };
    pids.filter(supervises).collect()
}

async fn a_provider_may_be_killed_at_any_moment(world: &World) {
    // Delays that fall into opening, starting, probing and exchanging; the same in every run.
    for delay_ms in [0, 3, 9, 17, 26, 38, 51, 70, 95, 140, 220, 330] {
        let mut doomed = Command::new(std::env::current_exe().unwrap());
        doomed.env(PROVIDER, world.home.path()).stdout(Stdio::null());
        if world.rootless {
            doomed.env(ROOTLESS, "1");
        }
        let mut doomed = doomed.spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        doomed.kill().unwrap();
        doomed.wait().unwrap();
    }
    let provider = world.provider().await;
    provider.ensure_fleet(&world.serving(|_| {}), SIZE).await.unwrap();
    let fleet = until(&provider, "convergence", |fleet| {
        let staying = fleet.instances.iter().filter(|instance| instance.phase < Phase::Draining).count();
        in_phase(fleet, Phase::Ready).len() == SIZE as usize && staying == SIZE as usize
    })
    .await;
    for leaving in in_phase(&fleet, Phase::Draining) {
        provider.drained(&leaving.id).await.unwrap();
    }
    until(&provider, "the rest to go", |fleet| {
        fleet.instances.iter().all(|known| matches!(known.phase, Phase::Ready | Phase::Exited))
    })
    .await;
    eventually("one supervisor for each instance", || supervisors(world).len() == SIZE as usize).await;
}

async fn a_supervisor_may_be_killed_while_it_starts(world: &World) {
    let provider = world.provider().await;
    provider.ensure_fleet(&world.serving(|_| {}), 1).await.unwrap();
    // From the first instruction to a program that listens, by the clock of a quiet machine.
    for delay_ms in [0, 2, 5, 8, 12] {
        let mut victims = Vec::new();
        eventually("a supervisor", || {
            victims = supervisors(world);
            !victims.is_empty()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        let parent = victims.iter().min().copied().unwrap();
        signal(parent, "KILL");
        // What it had forked by then has the same command line.
        eventually("the end of what it began", || {
            !supervisors(world).iter().any(|pid| victims.contains(pid))
        })
        .await;
    }
    until(&provider, "readiness", |fleet| in_phase(fleet, Phase::Ready).len() == 1).await;
    eventually("one supervisor", || supervisors(world).len() == 1).await;
}
