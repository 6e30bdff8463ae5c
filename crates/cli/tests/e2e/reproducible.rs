//! The same spec, lock and source make the same digest, whoever bakes them wherever and whenever.

use std::process::Command;

use kiln_testkit::TestEnvironment;

use crate::support::{as_nobody, is_root, program};

const SPEC: &str = r#"project = "same"

image "web" {
  base = scratch

  copy "program" {
    to   = "/program"
    mode = "0755"
  }

  copy "files/" {
    to = "/srv/files"
  }

  entrypoint = ["/program"]

  env = {
    A = "1"
    B = "2"
  }
}
"#;

/// A place with the same project; files are written in the order given.
fn place(names: &[&str]) -> TestEnvironment {
    let env = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
    std::fs::copy(program(), env.work().join("program")).expect("the program can be copied");
    for name in names {
        env.write(format!("files/{name}"), format!("content of {name}\n"));
    }
    env.write("kiln.hcl", SPEC);
    env
}

fn digest(env: &TestEnvironment, change: impl FnOnce(&mut Command)) -> String {
    let mut command = env.command(["bake", "--json"]);
    change(&mut command);
    let outcome = env.run(command);
    outcome.success().json()[0]["digest"].as_str().expect("a digest").to_owned()
}

/// Runs the same command under another program, such as `taskset`.
fn under(command: &mut Command, program: &str, args: &[&str]) {
    let mut wrapped = Command::new(program);
    wrapped.args(args).arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        wrapped.envs(value.map(|value| (name, value)));
    }
    wrapped.current_dir(command.get_current_dir().expect("a folder")).stdin(std::process::Stdio::null());
    *command = wrapped;
}

#[test]
fn the_digest_depends_on_nothing_but_the_inputs() {
    let names = ["a", "b", "sub/c", "sub/d", "z"];
    let expected = digest(&place(&names), |_| {});
    // Another folder, and files that came into being in another order.
    let reversed: Vec<&str> = names.iter().rev().copied().collect();
    assert_eq!(digest(&place(&reversed), |_| {}), expected, "another folder and order");
    let env = place(&names);
    let zone = |command: &mut Command| {
        command.env("TZ", "Asia/Tokyo").env("LANG", "tr_TR.UTF-8").env("LC_ALL", "tr_TR.UTF-8");
    };
    assert_eq!(digest(&env, zone), expected, "another time zone and locale");
    let mask = |command: &mut Command| under(command, "sh", &["-c", "umask 077; exec \"$@\"", "sh"]);
    assert_eq!(digest(&place(&names), mask), expected, "another umask");
    let core = |command: &mut Command| under(command, "taskset", &["-c", "0"]);
    assert_eq!(digest(&place(&names), core), expected, "one core");
}

#[test]
fn the_digest_is_the_same_on_another_day() {
    if !crate::support::has("faketime") {
        return;
    }
    let names = ["a", "sub/b"];
    let expected = digest(&place(&names), |_| {});
    let later = |command: &mut Command| under(command, "faketime", &["2031-05-05 05:05:05"]);
    assert_eq!(digest(&place(&names), later), expected);
    let env = place(&names);
    let old = Command::new("touch").args(["-d", "1999-01-01"]).arg(env.work().join("files/a")).status();
    assert!(old.expect("touch").success());
    assert_eq!(digest(&env, |_| {}), expected, "other file times");
}

/// The digest that `kiln bake` of a project has for root and for somebody who is nobody.
fn root_and_nobody(make: impl Fn() -> TestEnvironment) {
    if !is_root() {
        return;
    }
    let first = make();
    let expected = digest(&first, |_| {});
    let env = make();
    if let Ok(lock) = std::fs::read(first.work().join("kiln.lock")) {
        env.write("kiln.lock", lock);
    }
    let outcome = env.run(as_nobody(&env)(&["bake", "--json"]));
    assert_eq!(outcome.success().json()[0]["digest"], expected.as_str());
}

#[test]
fn the_digest_is_the_same_for_an_ordinary_user() {
    root_and_nobody(|| place(&["a", "sub/b"]));
}

#[test]
fn packages_and_commands_give_the_same_digest_for_an_ordinary_user() {
    root_and_nobody(|| {
        let env = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
        env.copy_in(crate::support::repository("examples/hello"));
        env
    });
}
