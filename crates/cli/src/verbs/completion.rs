//! `kiln completion`: the completion script of a shell.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::error::Result;

/// Arguments of `kiln completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    clap_complete::generate(args.shell, &mut crate::args::Cli::command(), "kiln", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
