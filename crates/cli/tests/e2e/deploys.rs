//! Deploys of good and bad releases under load.

use kiln_testkit::{get, wait_until};

use crate::support::{Project, SOON};

const BLUE_GREEN: &str = "rollout \"blue-green\" {}";
const ROLLING: &str = "rollout \"rolling\" {}";
const RECREATE: &str = "rollout \"recreate\" {}";

#[test]
fn recreate_brings_the_new_release_and_stops_the_old_first() {
    let project = Project::new(RECREATE);
    project.up(&[("VERSION", "old")]).success();
    project.up(&[("VERSION", "new")]).success();
    assert!(project.body().expect("an answer").contains("hello new "));
    let instances = project.env.kiln(["ps", "--json"]).success().json();
    assert_eq!(instances["instances"].as_array().expect("a list").len(), 3);
}

/// A release that never becomes healthy is rolled back; the old one serves all the time.
fn never_healthy(rollout: &str) {
    let project = Project::new(rollout);
    project.up(&[("VERSION", "good")]).success();
    let load = project.load();
    let outcome = project.up(&[("VERSION", "bad"), ("EXIT", "3")]);
    outcome.code(5);
    outcome.stderr_has("the database is missing");
    let report = load.stop();
    report.assert_lossless();
    assert!(project.body().expect("an answer").contains("hello good "));
    let status = project.status();
    assert_eq!(status["current"], 1, "{status}");
    assert_eq!(status["quarantined"].as_array().expect("a list").len(), 1, "{status}");
    // The same content is refused until a person says otherwise.
    project.up(&[("VERSION", "bad"), ("EXIT", "3")]).code(7);
}

#[test]
fn a_blue_green_release_that_never_starts_is_rolled_back() {
    never_healthy(BLUE_GREEN);
}

#[test]
fn a_rolling_release_that_never_starts_is_rolled_back() {
    never_healthy(ROLLING);
}

#[test]
fn a_release_that_fails_its_health_check_is_rolled_back() {
    let mut project = Project::new(BLUE_GREEN);
    project.up(&[("VERSION", "good")]).success();
    let load = project.load();
    project.rollout = "rollout \"blue-green\" {\n    healthy_deadline = \"10s\"\n  }".into();
    project.up(&[("VERSION", "sick"), ("HEALTH", "503 Sick")]).code(5).stderr_has("503");
    load.stop().assert_lossless();
    assert_eq!(project.status()["current"], 1);
}

#[test]
fn rollback_brings_the_release_before_without_losing_a_request() {
    let project = Project::new(BLUE_GREEN);
    project.up(&[("VERSION", "one")]).success();
    project.up(&[("VERSION", "two")]).success();
    let load = project.load();
    project.env.kiln(["rollback"]).success();
    assert!(project.body().expect("an answer").contains("hello one "));
    project.env.kiln(["rollback", "2"]).success();
    assert!(project.body().expect("an answer").contains("hello two "));
    load.stop().assert_lossless();
}

#[test]
fn an_unchanged_spec_changes_nothing() {
    let project = Project::new(BLUE_GREEN);
    project.up(&[("VERSION", "one")]).success();
    let before = project.env.kiln(["ps", "--json"]).success().json();
    project.up(&[("VERSION", "one")]).success().stdout_has("nothing to do");
    let after = project.env.kiln(["ps", "--json"]).success().json();
    let ids = |value: &serde_json::Value| -> Vec<String> {
        value["instances"].as_array().expect("a list").iter().map(|one| one["id"].to_string()).collect()
    };
    assert_eq!(ids(&before), ids(&after));
}

#[test]
fn what_runs_cannot_be_changed_and_what_was_touched_is_replaced() {
    let project = Project::new(BLUE_GREEN);
    project.up(&[("VERSION", "one")]).success();
    let answer = get(project.addr, "localhost", "/write", &[]).expect("an answer");
    assert!(answer.text().contains("Read-only file system"), "{}", answer.text());

    let instances = project.env.kiln(["ps", "--json"]).success().json();
    let touched = instances["instances"][0]["id"].as_str().expect("an id").to_owned();
    // The image has no shell and no tools: the program itself is all there is to execute.
    let outcome = project.env.kiln(["exec", "-m", "look", &touched, "/program", "--help"]);
    outcome.stderr_has("tainted");
    wait_until("the tainted instance is replaced", SOON, || {
        let now = project.env.kiln(["ps", "--json"]).success().json();
        let list = now["instances"].as_array().expect("a list").clone();
        let ready = list.iter().filter(|one| one["phase"] == "ready").count();
        ready == 3 && list.iter().all(|one| one["id"] != touched.as_str())
    });
}

#[test]
fn a_program_that_ignores_sigterm_is_killed_after_its_grace() {
    let project = Project::new(BLUE_GREEN);
    project.up(&[("VERSION", "stubborn"), ("IGNORE_TERM", "1")]).success();
    let pids: Vec<u32> = project.env.instances().iter().filter_map(|one| one.init).collect();
    assert_eq!(pids.len(), 3);
    project.env.kiln(["down"]).success();
    assert!(pids.iter().all(|pid| !kiln_testkit::is_alive(*pid)), "a stubborn program outlived `kiln down`");
}

#[test]
fn a_program_that_floods_its_log_is_kept_within_limits() {
    let project = Project::new(BLUE_GREEN);
    project.up(&[("VERSION", "loud"), ("FLOOD", "1")]).success();
    let logs = || {
        let instances = project.env.kiln_home().join("instances");
        let output = std::process::Command::new("du").arg("-sb").arg(instances).output().expect("du");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().next().and_then(|bytes| bytes.parse::<u64>().ok()).expect("a size")
    };
    // Ten megabytes a file: the flood has gone through a rotation once more than one file's worth is there.
    wait_until("the flood fills a file", SOON, || logs() > 12 << 20);
    assert!(project.body().expect("an answer").contains("hello loud "));
    let limit = 3 * (30 << 20) + (2 << 20);
    assert!(logs() < limit, "logs have grown to {} bytes", logs());
    project.env.kiln(["down"]).success();
}

#[test]
fn down_leaves_nothing_behind() {
    let project = Project::new(BLUE_GREEN);
    project.up(&[("VERSION", "one")]).success();
    assert!(!project.env.processes().is_empty());
    project.env.kiln(["down"]).success();
    wait_until("every process is gone", SOON, || project.env.processes().is_empty());
}
