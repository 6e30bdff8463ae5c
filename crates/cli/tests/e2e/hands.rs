//! A person's hand on rollouts, with the real binary.

use kiln_testkit::wait_until;
use serde_json::Value;

use crate::support::{Project, SOON};

/// Half of the traffic, then a person, then all of it.
fn canary(by: &str) -> String {
    format!(
        "rollout \"canary\" {{\n    steps = [50]\n    hold  = \"0s\"\n\n    approval {{\n      before = [100]\n{by}    }}\n  }}"
    )
}

fn rollout(project: &Project) -> Value {
    project.status()["rollout"].clone()
}

fn deploy(project: &Project, version: &str) {
    project.spec(&[("VERSION", version)]);
    project.env.kiln(["deploy", "--no-wait"]).success().stdout_has("is on its way");
}

#[test]
fn a_person_approves_pauses_and_resumes() {
    let project = Project::new(&canary(""));
    project.up(&[("VERSION", "one")]).success();
    project.env.kiln(["pause"]).code(8).stderr_has("no rollout of service web is under way");
    deploy(&project, "two");
    wait_until("the rollout waits for approval", SOON, || rollout(&project)["gate"]["kind"] == "approved");
    let shown = project.env.kiln(["status"]);
    shown
        .success()
        .stdout_has("rollout of release 2")
        .stdout_has("anyone may approve it: `kiln promote web`");

    project.env.kiln(["pause", "-m", "lunch"]).success().stdout_has("kiln resume web");
    project.env.kiln(["pause"]).code(7).stderr_has("was paused by").stderr_has("kiln resume");
    project.env.kiln(["status"]).success().stdout_has("lunch");
    project.env.kiln(["resume"]).success();
    project.env.kiln(["retry"]).code(7).stderr_has("release 2 of service web is under way");

    project.env.kiln(["promote", "-m", "looks good", "--wait"]).success().stdout_has("release 2 serves");
    assert_eq!(project.status()["current"], 2);
    assert!(project.body().expect("an answer").contains("hello two "));
    let history = project.env.kiln(["history"]);
    history
        .success()
        .stdout_has("approved it in stage")
        .stdout_has("looks good")
        .stdout_has("paused it: lunch");
}

#[test]
fn only_those_who_are_named_approve() {
    let project = Project::new(&canary("      by     = [\"nobody-of-this-name\"]\n"));
    project.up(&[("VERSION", "one")]).success();
    deploy(&project, "two");
    wait_until("the rollout waits for approval", SOON, || rollout(&project)["gate"]["kind"] == "approved");
    project.env.kiln(["promote"]).code(7).stderr_has("ask nobody-of-this-name");
    project.env.kiln(["plan"]).success().stdout_has("nothing to do");
    project.spec(&[("VERSION", "three")]);
    let plan = project.env.kiln(["plan"]);
    plan.success()
        .stdout_has("supersedes release 2")
        .stdout_has("before 100 % of the traffic, nobody-of-this-name must");
    project.env.kiln(["abort"]).success();
    wait_until("the old release is back", SOON, || rollout(&project).is_null());
    assert_eq!(project.status()["current"], 1);
}
