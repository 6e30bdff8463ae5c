//! `kiln push`: an image of the store into a registry.

use std::process::ExitCode;

use kiln_registry::client::PushOptions;

use crate::context::{Context, store};
use crate::error::Result;
use crate::registries::{self, RegistryArgs};

/// Arguments of `kiln push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tag, digest, or the beginning of a digest
    image: String,
    /// Where to: host/name:tag
    reference: String,
    /// Move the tag when it names another image already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let store = store()?;
    let image = registries::resolve(&store, &args.image)?.digest;
    let target = registries::reference(&args.reference)?;
    let options =
        PushOptions { evidence: !args.registry.no_evidence, force: args.force, ..PushOptions::default() };
    let what = format!("pushes {target}");
    let pushed = registries::transfer(&context.ui, &args.registry, &what, |client, progress| {
        let (store, target, options) = (&store, &target, &options);
        async move { client.push(store, &image, target, options, &progress).await }
    })?;
    context.ui.result(&pushed, || {
        let totals = registries::totals(&pushed.totals, pushed.evidence.len());
        format!("pushed {} to {target}: {totals}", pushed.digest)
    });
    Ok(ExitCode::SUCCESS)
}
