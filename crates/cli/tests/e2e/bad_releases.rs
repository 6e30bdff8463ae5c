//! Bad releases under load: each is caught by the gate that should catch it. How long that takes and what it costs the
//! users is printed (`cargo nextest run --no-capture`), and is no matter of right or wrong on a busy machine.

use std::time::{Duration, UNIX_EPOCH};

use kiln_testkit::{LoadReport, is_alive, wait_until};
use serde_json::Value;

use crate::events;
use crate::support::{Project, SOON};

/// What a release is given.
type Variables<'a> = &'a [(&'a str, &'a str)];

const GOOD: Variables<'static> = &[("VERSION", "good")];

/// What came of a bad release.
struct Caught {
    report: LoadReport,
    reason: String,
}

/// Deploys a bad release over a good one under load of all kinds, and sees it turned back.
fn caught(project: &Project, name: &str, bad: Variables<'_>) -> Caught {
    project.up(GOOD).success();
    let load = project.mixed().start();
    wait_until("the load flows", SOON, || load.answered() > 50);
    let outcome = project.up(bad);
    // Also what the old release answers afterwards belongs to the picture.
    let answered = load.answered();
    wait_until("traffic goes on", SOON, || load.answered() > answered + 50);
    let report = load.stop();
    outcome.code(5);
    let events = events::all(project);
    tell(name, &report, &events);
    let status = project.status();
    assert_eq!(status["current"], 1, "{status}");
    assert!(project.body().expect("an answer").contains("hello good "));
    let back = events::latest(&events, "rolled-back").expect("it was rolled back");
    let ended = Duration::from_millis(back["at_ms"].as_u64().expect("a time"));
    let begun = report.begun_at.duration_since(UNIX_EPOCH).expect("after 1970");
    // A failure is noticed by its client a little after it has happened.
    let late = report.failed_at.iter().filter(|at| begun + at.start > ended + Duration::from_secs(5)).count();
    assert_eq!(late, 0, "requests failed after everything was said to be well: {report}");
    Caught { report, reason: back["reason"].as_str().expect("a reason").to_owned() }
}

/// Times from the first answer of the bad release, and what the users had of it.
fn tell(name: &str, report: &LoadReport, events: &[Value]) {
    let begun = report.begun_at.duration_since(UNIX_EPOCH).expect("after 1970");
    let at = |kind: &str| {
        let event = events::latest(events, kind)?;
        Duration::from_millis(event["at_ms"].as_u64()?).checked_sub(begun)
    };
    let served = report.count("hello bad ") + report.count("failed bad ");
    let spans = [report.span("hello bad "), report.span("failed bad ")].into_iter().flatten();
    let span = spans.reduce(|one, next| (one.0.min(next.0), one.1.max(next.1)));
    let since = |then: Option<Duration>| match (then, span) {
        (Some(then), Some((first, _))) => format!("{:.2} s", then.as_secs_f64() - first.as_secs_f64()),
        _ => "-".into(),
    };
    let last = span.map(|(_, last)| last);
    println!(
        "{name}: decided after {}, last request to the bad release after {}, over after {}; {} of {} requests failed, {served} \
         were served by the bad release",
        since(at("rolling-back")),
        since(last),
        since(at("rolled-back")),
        report.failed,
        report.answered,
    );
    println!("{report}");
}

fn canary(analysis: &str) -> String {
    format!(
        "rollout \"canary\" {{
    steps = [25]
    hold  = \"5m\"

    analyse {{
      {analysis}
    }}
  }}"
    )
}

/// What was rolled back from is not tried again by accident.
fn quarantined(project: &Project, bad: Variables<'_>) {
    let status = project.status();
    assert_eq!(status["quarantined"].as_array().expect("a list").len(), 1, "{status}");
    project.up(bad).code(7);
}

#[test]
fn a_slow_release_is_caught_by_max_p99() {
    let project = Project::new(&canary("max_p99 = \"1500ms\""));
    let bad = &[("VERSION", "bad"), ("DELAY_MS", "2500")];
    let Caught { report, reason } = caught(&project, "slow", bad);
    report.assert_lossless();
    assert!(report.count("hello bad ") > 0, "{report}");
    assert!(reason.contains("max_p99"), "{reason}");
    quarantined(&project, bad);
}

#[test]
fn a_release_that_fails_5_percent_is_caught_by_max_error_rate() {
    let project = Project::new(&canary("max_error_rate = \"1%\""));
    let bad = &[("VERSION", "bad"), ("FAIL_PERCENT", "5")];
    let Caught { report, reason } = caught(&project, "fails 5 %", bad);
    let failed = report.count("failed bad ");
    assert!(failed > 0 && report.failed == failed, "something else failed: {report}");
    assert!(reason.contains("failed") && reason.contains("1 % allowed"), "{reason}");
    quarantined(&project, bad);
}

#[test]
fn a_release_that_is_worse_than_a_fresh_baseline_is_caught() {
    let project = Project::new(&canary("against = \"baseline\""));
    let bad = &[("VERSION", "bad"), ("FAIL_PERCENT", "50")];
    let Caught { report, reason } = caught(&project, "fails 50 %, against a baseline", bad);
    assert_eq!(report.failed, report.count("failed bad "), "something else failed: {report}");
    assert!(reason.contains("baseline"), "{reason}");
    quarantined(&project, bad);
}

#[test]
fn a_release_that_dies_during_the_hold_is_caught() {
    let project = Project::new("rollout \"blue-green\" { hold = \"5m\" }");
    let bad = &[("VERSION", "bad"), ("DIE_AFTER_MS", "4000")];
    let Caught { report, reason } = caught(&project, "dies after 4 s", bad);
    assert!(report.count("hello bad ") > 0, "it never had traffic: {report}");
    assert!(reason.contains("instances with traffic are ready"), "{reason}");
    assert!(reason.contains("out of luck"), "its last words are missing: {reason}");
    quarantined(&project, bad);
}

/// It serves well, and does not go when it is told to: whoever comes next does not wait for ever, and loses nothing.
#[test]
fn a_release_that_hangs_on_sigterm_does_not_hold_up_the_next() {
    let mut project = Project::new("rollout \"rolling\" {}");
    project.in_service = "traffic { upgraded = \"close\" }".into();
    project.up(&[("VERSION", "stubborn"), ("IGNORE_TERM", "1")]).success();
    let pids: Vec<u32> = project.env.instances().iter().filter_map(|one| one.init).collect();
    assert_eq!(pids.len(), 3);
    let load = project.mixed().start();
    let outcome = project.up(&[("VERSION", "good")]);
    let report = load.stop();
    println!("hangs on SIGTERM: the deploy away from it took {:?}\n{report}", outcome.took);
    outcome.success();
    report.assert_lossless();
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "a stubborn instance is still there");
}

#[test]
fn a_canary_that_never_is_ready_is_caught_before_its_first_request() {
    let mut project = Project::new("rollout \"canary\" {}");
    project.up(GOOD).success();
    project.rollout = "rollout \"canary\" { healthy_deadline = \"10s\" }".into();
    let bad = &[("VERSION", "bad"), ("HEALTH", "503 Sick")];
    let load = project.mixed().start();
    let outcome = project.up(bad);
    let report = load.stop();
    tell("never ready", &report, &events::all(&project));
    outcome.code(5).stderr_has("503");
    report.assert_lossless();
    assert_eq!(report.count("hello bad "), 0, "{report}");
    assert_eq!(project.status()["current"], 1);
    quarantined(&project, bad);
}

#[test]
fn a_release_that_fails_its_check_is_caught_before_its_first_request() {
    let mut project = Project::new("rollout \"canary\" {}");
    project.beside = "
check \"home page\" {
  image = image.web

  http {
    get      = \"/\"
    contains = \"hello good\"
  }
}
"
    .into();
    let bad = &[("VERSION", "bad")];
    let Caught { report, reason } = caught(&project, "fails its check", bad);
    report.assert_lossless();
    assert!(reason.contains("the checks failed") && reason.contains("home page"), "{reason}");
    // The check's own requests go straight to the instance.
    assert_eq!(report.count("hello bad "), 0, "{report}");
    quarantined(&project, bad);
}
