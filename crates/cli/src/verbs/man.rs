//! `kiln man`: the manual pages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::context::Context;
use crate::error::{Failure, Kind, Result};

/// Arguments of `kiln man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder to write kiln.1, kiln-up.1, … into
    #[arg(default_value = ".")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let failed = |error: std::io::Error| {
        Failure::new(Kind::Failed, format!("cannot write the manual pages into {}", args.folder.display()))
            .because(&error)
            .hint("name a folder that you may write to: kiln man FOLDER")
    };
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    clap_mangen::generate_to(crate::args::Cli::command(), &args.folder).map_err(failed)?;
    context.ui.line(format!("wrote the manual pages into {}", args.folder.display()));
    Ok(ExitCode::SUCCESS)
}
