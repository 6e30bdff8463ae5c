//! The binary `kiln`: one file per verb, no logic. Each verb collects its arguments, calls one operation and
//! prints what it returned.

mod args;
mod baking;
mod checking;
mod context;
mod control;
mod error;
mod evidence;
mod files;
mod following;
mod home;
mod internal;
mod ledger;
mod progress;
mod promotion;
mod provenance;
mod registries;
mod registry_config;
mod release;
mod rolling;
mod scanning;
mod stopping;
mod ui;
mod verbs;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::context::Context;

fn main() -> ExitCode {
    // The supervisor and the build sandbox must be single-threaded from the first instruction on.
    if let Some(code) = internal::dispatch() {
        return code;
    }
    let cli = Cli::parse();
    let context = Context::new(&cli);
    match verbs::run(cli.verb, &context) {
        Ok(code) => code,
        Err(failure) => {
            context.ui.clear();
            failure.report(context.ui.json())
        }
    }
}
