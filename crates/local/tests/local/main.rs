//! Tests of the embedded provider with real processes, each as root and as an ordinary user.
//!
//! The supervisor is this very binary, executed anew; so the harness comes second in `main`. Run by root, the tests for
//! an ordinary user run in a process of the user `nobody` (uid 65534), from a copy of this binary that it can read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod crash;
mod health;
mod limits;
mod log;
mod network;
mod sandbox;
mod secrets;
mod stop;
mod volumes;
mod world;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Failed, Trial};
use world::World;

/// Says which single test a process of `nobody` is to run.
const AS_NOBODY: &str = "KILN_LOCAL_TEST_AS_NOBODY";
const NOBODY: u32 = 65_534;

/// A test and where it makes sense.
#[derive(Clone, Copy)]
pub(crate) enum Case {
    /// As root and as an ordinary user.
    Both(&'static str, fn(&World)),
    /// As root only.
    Root(&'static str, fn(&World)),
    /// As an ordinary user only.
    User(&'static str, fn(&World)),
}

/// Lists async tests by their names.
macro_rules! cases {
    ($kind:ident: $($name:ident),* $(,)?) => {
        [$($crate::Case::$kind(
            concat!(module_path!(), "::", stringify!($name)),
            |world| $crate::block_on($name(world)),
        )),*]
    };
}
pub(crate) use cases;

pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

fn all() -> Vec<Case> {
    let parts = [
        contract::cases(),
        crash::cases(),
        health::cases(),
        limits::cases(),
        log::cases(),
        network::cases(),
        sandbox::cases(),
        secrets::cases(),
        stop::cases(),
        volumes::cases(),
    ];
    parts.concat()
}

fn main() -> ExitCode {
    if let Some(code) = kiln_local::shim::dispatch() {
        return code;
    }
    if let Some(home) = std::env::var_os(crash::PROVIDER) {
        block_on(crash::provide(home.into()));
        return ExitCode::SUCCESS;
    }
    if let Ok(name) = std::env::var(AS_NOBODY) {
        return run_one(&name);
    }
    let arguments = Arguments::from_args();
    let trials = all().into_iter().flat_map(trials).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn trials(case: Case) -> Vec<Trial> {
    let short = |name: &str| name.trim_start_matches("local::").to_owned();
    let as_root = |name: &'static str, test: fn(&World)| {
        Trial::test(format!("root::{}", short(name)), move || {
            if is_root() {
                test(&World::new(false));
                return Ok(());
            }
            skip("it must be run by root")
        })
    };
    let as_user = |name: &'static str, test: fn(&World)| {
        Trial::test(format!("user::{}", short(name)), move || {
            if is_root() {
                return in_process_of_nobody(name);
            }
            test(&World::new(true));
            Ok(())
        })
    };
    match case {
        Case::Both(name, test) => vec![as_root(name, test), as_user(name, test)],
        Case::Root(name, test) => vec![as_root(name, test)],
        Case::User(name, test) => vec![as_user(name, test)],
    }
}

/// Nothing is skipped in CI.
fn skip(why: &str) -> Result<(), Failed> {
    if std::env::var("CI").is_ok_and(|value| value == "true") {
        return Err(format!("this test cannot run here: {why}").into());
    }
    eprintln!("skipped: {why}");
    Ok(())
}

fn run_one(name: &str) -> ExitCode {
    for case in all() {
        if let Case::Both(known, test) | Case::User(known, test) = case
            && known == name
        {
            test(&World::new(true));
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::FAILURE
}

fn in_process_of_nobody(name: &str) -> Result<(), Failed> {
    let exe = readable_copy();
    let mut command = Command::new(exe);
    command.uid(NOBODY).gid(NOBODY).env(AS_NOBODY, name).current_dir("/");
    let output = command.output().map_err(|error| format!("cannot run as nobody: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("as nobody: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// This binary where everybody can execute it: build folders are often closed to other users.
fn readable_copy() -> &'static PathBuf {
    static COPY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = COPY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let copy = folder.path().join("kiln-local-test");
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        (folder, copy)
    });
    path
}
