//! Bad input: each mistake gets an error that names the thing, the place and the next step, and loses nothing.

use std::net::TcpListener;

use kiln_testkit::{TestEnvironment, free_port};

use crate::support::Project;

fn environment() -> TestEnvironment {
    TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"))
}

#[test]
fn a_spec_with_several_errors_tells_all_of_them() {
    let env = environment();
    env.write(
        "kiln.hcl",
        "image \"web\" {\n  bse = scratch\n}\n\nservice \"web\" {\n  image = image.wbe\n}\n",
    );
    let outcome = env.kiln(["validate"]);
    outcome.code(3).stderr_has("kiln.hcl:2:3").stderr_has("base").stderr_has("kiln.hcl:6").stderr_has("web");
    let json = env.kiln(["validate", "--json"]);
    assert_eq!(json.code(3).json()["error"]["kind"], "spec");
}

#[test]
fn a_folder_without_a_spec_says_how_to_get_one() {
    let env = environment();
    env.kiln(["up", "-d"]).code(3).stderr_has("kiln init");
}

#[test]
fn init_writes_a_spec_that_is_valid_and_never_overwrites_one() {
    let env = environment();
    env.write("main.py", "print('hello')\n");
    env.kiln(["init"]).success().stdout_has("kiln.hcl");
    env.kiln(["validate"]).success();
    env.kiln(["fmt", "--check"]).success();
    env.kiln(["init"]).failure().stderr_has("kiln.hcl");
}

#[test]
fn nothing_runs_is_said_and_not_an_accident() {
    let env = environment();
    env.kiln(["status"]).code(6).stderr_has("kiln up");
    env.kiln(["ps"]).code(6);
    env.kiln(["down", "--all"]).success().stdout_has("nothing runs");
}

#[test]
fn a_port_in_use_is_named_with_who_holds_it() {
    let project = Project::new("rollout \"blue-green\" {}");
    let taken = TcpListener::bind(project.addr).expect("the port is free for the test");
    let outcome = project.up(&[("VERSION", "one")]);
    outcome.failure();
    let told = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(told.contains(&project.addr.port().to_string()), "{told}");
    assert!(told.contains("in use"), "{told}");
    drop(taken);
}

#[test]
fn a_missing_source_is_named() {
    let project = Project::new("rollout \"blue-green\" {}");
    std::fs::remove_file(project.env.work().join("program")).expect("the program was there");
    project.up(&[("VERSION", "one")]).failure().stderr_has("program");
}

#[test]
fn a_lock_that_does_not_fit_is_refused() {
    let env = environment();
    env.write(
        "kiln.hcl",
        "image \"web\" {\n  base     = debian(\"bookworm\")\n  packages = [\"tzdata\"]\n}\n",
    );
    env.write("kiln.lock", "this is not a lock\n");
    env.kiln(["bake"]).code(4).stderr_has("kiln.lock");
}

#[test]
fn a_mirror_that_does_not_answer_is_named() {
    let mut env = environment();
    env.write(
        "kiln.hcl",
        "image \"web\" {\n  base     = debian(\"bookworm\")\n  packages = [\"tzdata\"]\n}\n",
    );
    let closed = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    env.set_env("KILN_DEBIAN_MIRROR", format!("http://{closed}/debian"));
    let outcome = env.kiln(["bake"]);
    outcome.code(4).stderr_has(&closed.to_string());
    assert!(!env.work().join("kiln.lock").exists(), "a lock was written though nothing could be resolved");
}

#[test]
fn a_corrupt_image_is_noticed_and_baking_again_mends_it() {
    let project = Project::new("rollout \"blue-green\" {}");
    project.spec(&[("VERSION", "one")]);
    project.env.kiln(["bake"]).success();
    let blobs = project.env.kiln_home().join("store/blobs/sha256");
    for entry in std::fs::read_dir(&blobs).expect("blobs") {
        let path = entry.expect("a blob").path();
        std::fs::remove_file(&path).expect("a blob can be removed");
        std::fs::write(&path, "garbage").expect("a blob can be spoiled");
    }
    let outcome = project.env.kiln(["image", "inspect", "web"]);
    outcome.failure().stderr_has("store");
    project.env.kiln(["up", "-d"]).success();
}

#[test]
fn an_unknown_name_is_answered_with_those_that_exist() {
    let project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "one")]).success();
    project.env.kiln(["inspect", "nobody"]).code(8).stderr_has("kiln ps");
    project.env.kiln(["rollback", "--service", "nobody"]).code(8);
    project.env.kiln(["rollback", "99"]).failure();
    project.env.kiln(["rollback", "web"]).code(2).stderr_has("--service web");
    project.env.kiln(["ps", "nosuch"]).code(8).stderr_has("there is no service nosuch").stderr_has("web");
    project.env.kiln(["deploy", "--service", "wbe"]).code(8).stderr_has("web");
    project.env.kiln(["image", "inspect", "nothing"]).code(8).stderr_has("kiln image list");
}

#[test]
fn a_second_control_plane_is_refused() {
    let project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "one")]).success();
    let pid = project.env.serve_pid().expect("a control plane").to_string();
    project.env.kiln(["serve"]).code(7).stderr_has(&pid).stderr_has("--replace");
}
