//! The control plane as a process, with real instances and a real data plane, killed and replaced.
//!
//! This binary is the control plane, the data plane and the supervisor of instances too, so the harness comes last in
//! `main`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod home;
mod image;
mod load;

use std::path::PathBuf;
use std::process::ExitCode;

use kiln_control::{ServeConfig, serve};
use kiln_proxy::ProxyConfig;
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = kiln_local::shim::dispatch() {
        return code;
    }
    let home = std::env::var_os("KILN_HOME").map(PathBuf::from);
    let mode = std::env::args().nth(1);
    match (mode.as_deref(), home) {
        (Some("proxy"), Some(home)) => {
            let config = ProxyConfig {
                threads: 1,
                ..ProxyConfig::new(home.join("proxy"), home.join("run/proxy.sock"))
            };
            told(kiln_proxy::run(config))
        }
        (Some(mode @ ("serve" | "replace")), Some(home)) => {
            let exe = std::env::current_exe().unwrap();
            told(serve(&ServeConfig { home, exe, replace: mode == "replace", registry: None }))
        }
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

fn told<E: std::error::Error>(ended: Result<(), E>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Vec<Trial> {
    let trial = |(name, case): (&str, fn())| {
        Trial::test(name, move || {
            case();
            Ok(())
        })
    };
    cases::all().into_iter().map(trial).collect()
}
