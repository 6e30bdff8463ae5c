//! Twenty deploys in a row with each strategy, under requests of all kinds.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kiln_testkit::{LoadPlan, LoadReport, get, wait_until};

use crate::support::{Project, SOON};

const DEPLOYS: u32 = 20;
/// WebSockets of a release that leaves are ended with a goodbye.
const CLOSE: &str = "traffic { upgraded = \"close\" }";

/// Deploys so many good releases under this load. Also says when each deploy was under way.
fn deploys(project: &Project, plan: LoadPlan, count: u32) -> (LoadReport, Vec<Range<Duration>>) {
    project.up(&[("VERSION", "v0")]).success();
    let load = plan.start();
    let mut times = Vec::new();
    for number in 1..=count {
        let (version, begun) = (format!("v{number}"), load.elapsed());
        project.up(&[("VERSION", &version)]).success();
        times.push(begun..load.elapsed());
        let body = project.body().expect("an answer");
        assert!(body.contains(&format!("hello {version} ")), "after deploying {version}: {body}");
        let answered = load.answered();
        wait_until("it serves for a while", SOON, || load.answered() > answered + 20);
    }
    let report = load.stop();
    project.env.kiln(["down"]).success();
    println!("{report}");
    // Enough of each kind to mean something.
    assert!(report.answered > 500, "{report}");
    assert!(report.websockets.echoed > 0, "{report}");
    let slow = report.latencies.iter().filter(|took| **took >= Duration::from_secs(1)).count();
    assert!(slow > 0, "{slow} slow requests were answered: {report}");
    (report, times)
}

/// Twenty deploys lose no request, and WebSockets are told to go.
fn twenty(rollout: &str) -> LoadReport {
    let mut project = Project::new(rollout);
    project.in_service = CLOSE.into();
    let (report, _) = deploys(&project, project.mixed(), DEPLOYS);
    report.assert_lossless();
    assert!(report.websockets.told >= u64::from(DEPLOYS), "WebSockets were not told: {report}");
    report
}

#[test]
fn twenty_blue_green_deploys_lose_no_request() {
    twenty("rollout \"blue-green\" {}");
}

#[test]
fn twenty_rolling_deploys_lose_no_request() {
    twenty("rollout \"rolling\" {}");
}

#[test]
fn twenty_canary_deploys_lose_no_request() {
    twenty("rollout \"canary\" { steps = [10, 50] }");
}

/// Limits that only a broken release passes: this is about requests, not about the speed of the machine.
#[test]
fn twenty_analysed_canary_deploys_lose_no_request() {
    twenty(
        "rollout \"canary\" {
    steps = [25, 60]
    hold  = \"300ms\"

    analyse {
      max_error_rate = \"1%\"
      max_p99        = \"20s\"
      min_requests   = 20
    }
  }",
    );
}

/// A WebSocket is waited for until its client has ended it.
#[test]
fn twenty_deploys_wait_for_the_websockets_of_the_old_release() {
    let project = Project::new("rollout \"blue-green\" {}");
    let mut plan = project.mixed();
    plan.others.messages = 10;
    let (report, _) = deploys(&project, plan, DEPLOYS);
    report.assert_lossless();
    assert!(report.websockets.ended > 0 && report.websockets.told == 0, "{report}");
}

/// Who has been with a new release is never sent back to an older one.
#[test]
fn twenty_sticky_canary_deploys_lose_no_request_and_send_nobody_back() {
    let mut project = Project::new(
        "rollout \"canary\" {
    steps = [30, 60]
    hold  = \"100ms\"

    sticky { cookie = \"fleet\" }
  }",
    );
    project.in_service = CLOSE.into();
    project.up(&[("VERSION", "v0")]).success();
    let plan = LoadPlan { cookies: true, ..project.mixed() };
    let done = AtomicBool::new(false);
    let (report, seen) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| versions(&project, &done))).collect();
        let (report, _) = deploys(&project, plan, DEPLOYS);
        done.store(true, Ordering::Relaxed);
        let seen: Vec<Vec<u32>> = clients.into_iter().map(|it| it.join().expect("a client")).collect();
        (report, seen)
    });
    report.assert_lossless();
    for versions in seen {
        assert!(versions.len() > 10 && versions.is_sorted(), "a client was sent back: {versions:?}");
    }
}

/// The releases that a client with a cookie sees, one after the other, until it is told to stop or nobody serves.
fn versions(project: &Project, done: &AtomicBool) -> Vec<u32> {
    let (mut seen, mut cookie) = (Vec::new(), None::<String>);
    while !done.load(Ordering::Relaxed) {
        let header = cookie.as_deref().map(|cookie| ("cookie", cookie));
        let Ok(answer) = get(project.addr, "localhost", "/", header.as_slice()) else { break };
        if answer.status != 200 {
            break;
        }
        if let Some(set) = answer.header("set-cookie") {
            cookie = set.split(';').next().map(str::to_owned);
        }
        let version = answer.text().split(' ').nth(1).and_then(|word| word[1..].parse().ok());
        let version = version.expect("hello vN from HOST");
        if seen.last() != Some(&version) {
            seen.push(version);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    seen
}

/// Nothing of one release is answered after the next one has answered.
fn never_together(report: &LoadReport, deploys: u32) {
    let span = |number: u32| report.span(&format!("hello v{number} ")).expect("each release answered");
    for number in 1..=deploys {
        let (old, new) = (span(number - 1), span(number));
        assert!(old.1 <= new.0, "v{} was asked after v{number} had answered: {report}", number - 1);
    }
}

/// Two releases never run together, and requests of the time between wait at the data plane.
#[test]
fn twenty_recreate_deploys_lose_no_request() {
    let report = twenty("rollout \"recreate\" {}");
    never_together(&report, DEPLOYS);
}

/// Whoever does not want to wait is told 503 in the gap, and nothing fails beside it.
#[test]
fn recreate_deploys_without_a_hold_answer_503_and_only_in_the_gap() {
    let deployed = 5;
    let mut project = Project::new("rollout \"recreate\" {}");
    project.in_service = "traffic {
    upgraded = \"close\"
    hold     = \"0s\"
  }"
    .into();
    let (report, times) = deploys(&project, project.mixed(), deployed);
    let of = |status: u16| report.statuses.get(&status).copied().unwrap_or(0);
    println!("recreate: {} answers were 503 and {} were 200, in {deployed} gaps", of(503), of(200));
    assert!(of(503) > 0, "there was no gap: {report}");
    assert_eq!(report.failed, of(503), "something else than 503: {report}");
    // One may have been sent before a deploy began and answered in its gap.
    let between = |during: &Range<Duration>| {
        times.iter().any(|deploy| during.start <= deploy.end && deploy.start <= during.end)
    };
    assert!(report.failed_at.iter().all(between), "outside of {times:?}: {:?}", report.failed_at);
    never_together(&report, deployed);
}
