//! The test tiers.
//!
//! | tier | holds | needs |
//! |---|---|---|
//! | unit | the tests beside the code | a compiler |
//! | e2e | the tests in `tests/` folders: real processes, real archives, peers' programs | `cargo xtask setup` |
//! | all | set-up, lints, documentation tests, then both | the same |
//!
//! The runner (cargo-nextest where it is installed, else `cargo test`) comes last and prints the last line.

use crate::setup::{self, Strictness};
use crate::{Cmd, Error, cargo, ci, lint};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Unit,
    E2e,
    All,
}

/// Runs the tier that the arguments name.
pub fn run(args: &[String]) -> Result<(), Error> {
    let tier = match args {
        [] => Tier::All,
        [one] => match one.as_str() {
            "unit" => Tier::Unit,
            "e2e" => Tier::E2e,
            "all" => Tier::All,
            other => return Err(Error::Usage(format!("there is no test tier {other:?}: unit, e2e or all"))),
        },
        _ => return Err(Error::Usage("`cargo xtask test` takes one tier at most: unit, e2e or all".into())),
    };
    if tier != Tier::Unit {
        setup::run(if ci() { Strictness::Complete } else { Strictness::Lenient })?;
    }
    if tier == Tier::All {
        lint::run()?;
        finish(&locked(prepared(cargo()).args(["test", "--quiet", "--doc", "--workspace"])))?;
    }
    finish(&runner(tier))
}

fn runner(tier: Tier) -> Cmd {
    let nextest = Cmd::new("cargo-nextest").args(["nextest", "--version"]).output();
    if nextest.is_ok_and(|output| output.status.success()) {
        let mut command = cargo().args(["nextest", "run", "--workspace"]);
        if ci() {
            command = command.args(["--profile", "ci"]);
        }
        return locked(prepared(match tier {
            Tier::Unit => command.args(["-E", "not kind(test)"]),
            Tier::E2e => command.args(["-E", "kind(test)"]),
            Tier::All => command,
        }));
    }
    let command = cargo().args(["test", "--workspace", "--no-fail-fast"]);
    locked(prepared(match tier {
        Tier::Unit => command.args(["--lib", "--bins"]),
        Tier::E2e => command.args(["--test", "*"]),
        Tier::All => command.args(["--lib", "--bins", "--tests"]),
    }))
}

fn locked(command: Cmd) -> Cmd {
    if ci() { command.arg("--locked") } else { command }
}

/// Tests find the tools of the set-up on their path.
fn prepared(command: Cmd) -> Cmd {
    command.env("PATH", setup::path())
}

fn finish(command: &Cmd) -> Result<(), Error> {
    match command.status()? {
        0 => Ok(()),
        status => Err(Error::Tests(status)),
    }
}
