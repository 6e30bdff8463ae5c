//! `kiln proxy`: the data plane in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use kiln_proxy::ProxyConfig;

use crate::error::{Failure, Kind, Result};
use crate::home::Home;

/// Arguments of `kiln proxy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder for the last route table and the lock; `proxy` in the home folder unless given
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Control socket; `run/proxy.sock` in the home folder unless given
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Threads that carry traffic; one per processor unless given
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Take the listeners over from the proxy that runs, without refusing a connection
    #[arg(long)]
    take_over: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let home = Home::find()?;
    let dir = args.dir.clone().unwrap_or_else(|| home.path().join("proxy"));
    let socket = args.socket.clone().unwrap_or_else(|| home.path().join("run/proxy.sock"));
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::new(Kind::Failed, format!("cannot make the folder {}", folder.display())).because(&error)
        })?;
    }
    let config =
        ProxyConfig { threads: args.threads, take_over: args.take_over, ..ProxyConfig::new(dir, socket) };
    crate::context::log_to_stderr();
    kiln_proxy::run(config).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    Ok(ExitCode::SUCCESS)
}
