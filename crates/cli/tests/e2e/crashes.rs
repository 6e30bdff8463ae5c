//! Any process may be killed at any moment; everything converges afterwards.

use std::time::{Duration, Instant};

use kiln_testkit::{Rng, signal, wait_until};

use crate::support::{Project, SOON};

const KILL: i32 = 9;
/// What `kiln` exits with when the present state forbids what was asked.
const REFUSED: i32 = 7;

fn converged(project: &Project, version: &str) -> bool {
    let outcome = project.env.kiln(["status", "--json"]);
    if outcome.code != Some(0) {
        return false;
    }
    let status = outcome.json()["services"][0].clone();
    let settled = status["rollout"].is_null() || !status["rollout"]["ended_ms"].is_null();
    settled
        && status["ready"] == 3
        && project.body().is_some_and(|body| body.contains(&format!("hello {version} ")))
}

/// What runs is what is known: nothing is orphaned, nothing was started twice.
pub(crate) fn no_orphans(project: &Project) -> bool {
    let known = project.env.kiln(["ps", "--json"]).success().json();
    let mut known: Vec<String> = known["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["id"].as_str().expect("an id").to_owned())
        .collect();
    known.sort();
    let mut running: Vec<String> =
        project.env.instances().into_iter().filter(|one| one.init.is_some()).map(|one| one.id).collect();
    running.sort();
    running.dedup();
    known == running
}

/// Deploys again what a process was killed under.
type Again = fn(&Project);

fn simply(project: &Project) {
    project.env.kiln(["deploy"]).success();
}

/// An instance that died with traffic on it speaks against its release: it may have been rolled back and banned. Only
/// then a person has to insist.
fn insisting(project: &Project) {
    let outcome = project.env.kiln(["deploy"]);
    if outcome.code == Some(REFUSED) && outcome.stderr.contains("in quarantine") {
        project.env.kiln(["deploy", "--force"]).success();
    } else {
        outcome.success();
    }
}

/// Deploys, kills the process that `victim` picks at a random moment, and waits for everything to be well again.
fn killed_during_a_deploy(
    seed: u64,
    rounds: u64,
    again: Again,
    victim: impl Fn(&Project, &mut Rng) -> Option<u32>,
) {
    let mut rng = Rng::new(seed);
    let project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "v0")]).success();
    for round in 1..=rounds {
        let version = format!("v{round}");
        project.spec(&[("VERSION", &version)]);
        let mut deploy = project.env.spawn(["deploy"]);
        let pause = Duration::from_millis(rng.below(400));
        println!("seed {seed} round {round}: kills after {pause:?}");
        // The moment is the test's input, not a condition that could be awaited.
        std::thread::park_timeout(pause);
        let pid = victim(&project, &mut rng).expect("somebody to kill");
        // It may have ended by itself in this very moment.
        let _ = signal(pid, KILL);
        deploy.wait(SOON);
        // Whoever died is started again by the next command, which finds everything as it was written down.
        again(&project);
        let begun = Instant::now();
        while !(converged(&project, &version) && no_orphans(&project)) {
            let (status, known) = (project.env.kiln(["status"]), project.env.kiln(["ps"]));
            let running = project.env.instances();
            assert!(
                begun.elapsed() < SOON,
                "{version} does not serve (seed {seed}):\n{status}{known}{running:?}"
            );
        }
    }
}

#[test]
fn the_control_plane_may_be_killed_during_a_deploy() {
    killed_during_a_deploy(1, 6, simply, |project, _| project.env.serve_pid());
}

#[test]
fn the_data_plane_may_be_killed_during_a_deploy() {
    killed_during_a_deploy(2, 6, simply, |project, _| project.env.proxy_pid());
}

#[test]
fn supervisors_may_be_killed_during_a_deploy() {
    killed_during_a_deploy(3, 6, insisting, |project, rng| {
        let shims: Vec<u32> = project.env.instances().into_iter().filter_map(|one| one.shim).collect();
        let index = usize::try_from(rng.below(shims.len().max(1) as u64)).unwrap();
        shims.get(index).copied()
    });
}

#[test]
fn traffic_flows_while_the_control_plane_is_dead_and_it_adopts_what_runs() {
    let project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "one")]).success();
    let before: Vec<_> = project.env.instances();
    let load = project.load();
    signal(project.env.serve_pid().expect("a control plane"), KILL).expect("a signal");
    wait_until("it is dead", SOON, || project.env.serve_pid().is_none());
    let answered = load.answered();
    wait_until("traffic flows without it", SOON, || load.answered() > answered + 200);
    project.up(&[("VERSION", "one")]).success();
    let after: Vec<_> = project.env.instances();
    assert_eq!(before, after, "instances were not adopted");
    project.up(&[("VERSION", "two")]).success();
    load.stop().assert_lossless();
}

#[test]
fn the_data_plane_comes_back_with_its_routes_alone() {
    let project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "one")]).success();
    let first = project.env.proxy_pid().expect("a data plane");
    signal(first, KILL).expect("a signal");
    wait_until("another data plane serves", SOON, || {
        project.env.proxy_pid().is_some_and(|pid| pid != first) && project.body().is_some()
    });
}

#[test]
fn a_control_plane_is_replaced_without_a_lost_request() {
    let project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "one")]).success();
    let load = project.load();
    let old = project.env.serve_pid().expect("a control plane");
    let mut new = project.env.spawn(["serve", "--replace"]);
    wait_until("the new control plane serves", SOON, || {
        project.env.serve_pid() == Some(new.pid()) && project.env.kiln(["status"]).code == Some(0)
    });
    wait_until("the old control plane is gone", SOON, || !kiln_testkit::is_alive(old));
    project.up(&[("VERSION", "two")]).success();
    load.stop().assert_lossless();
    project.env.kiln(["down"]).success();
    assert_eq!(new.wait(SOON), Some(0));
}

#[test]
fn down_takes_down_what_outlived_its_control_plane() {
    let project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "one")]).success();
    signal(project.env.serve_pid().expect("a control plane"), KILL).expect("a signal");
    wait_until("it is dead", SOON, || project.env.serve_pid().is_none());
    project.env.kiln(["down"]).success();
    wait_until("every process is gone", SOON, || project.env.processes().is_empty());
}

#[test]
fn the_data_plane_serves_its_last_table_without_a_control_plane() {
    let project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "one")]).success();
    for pid in [project.env.serve_pid(), project.env.proxy_pid()] {
        signal(pid.expect("a process"), KILL).expect("a signal");
    }
    wait_until("both are dead", SOON, || {
        project.env.serve_pid().is_none() && project.env.proxy_pid().is_none()
    });
    let _alone = project.env.spawn(["proxy"]);
    wait_until("a data plane alone serves", SOON, || {
        project.body().is_some_and(|body| body.contains("hello one"))
    });
    assert!(project.env.serve_pid().is_none());
    project.env.kiln(["down"]).success();
}

#[test]
fn a_home_that_another_one_still_holds_is_waited_for() {
    let project = Project::new("");
    let run = project.env.kiln_home().join("run");
    std::fs::create_dir_all(&run).unwrap();
    // As a control plane does that has not begun to listen yet, or is just saying its last word.
    let held = std::fs::File::create(run.join("serve.lock")).unwrap();
    held.lock().unwrap();
    project.spec(&[]);
    let mut up = project.env.spawn(["up", "-d"]);
    let log = project.env.kiln_home().join("log/serve.log");
    let refused =
        || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("a control plane already runs"));
    wait_until("a control plane that gave way", SOON, refused);
    drop(held);
    assert_eq!(up.wait(SOON), Some(0), "{}", up.stderr());
    assert!(project.body().is_some());
}
