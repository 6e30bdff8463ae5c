//! `kiln push`: an image of the store into a registry.

use std::process::ExitCode;

use kiln_model::Digest;
use kiln_registry::client::{PushOptions, Pushed};
use kiln_store::Store;

use crate::context::{Context, store};
use crate::error::Result;
use crate::ledger::Act;
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
    let image = super::image::resolve(&store, &args.image)?.digest;
    let pushed = push(context, &store, &image, &args.reference, args.force, &args.registry)?;
    context.ui.result(&pushed, || {
        let totals = registries::totals(&pushed.totals, pushed.evidence.len());
        format!("pushed {} to {}: {totals}", pushed.digest, args.reference)
    });
    Ok(ExitCode::SUCCESS)
}

/// Pushes an image of the store with its evidence.
pub(crate) fn push(
    context: &Context,
    store: &Store,
    image: &Digest,
    reference: &str,
    force: bool,
    registry: &RegistryArgs,
) -> Result<Pushed> {
    let target = registries::reference(reference)?;
    let options = PushOptions { evidence: !registry.no_evidence, force, ..PushOptions::default() };
    let what = format!("pushes {target}");
    let pushed = registries::transfer(&context.ui, registry, &what, |client, progress| {
        let (target, options) = (&target, &options);
        async move { client.push(store, image, target, options, &progress).await }
    })?;
    let details = serde_json::json!({ "to": target.to_string(), "forced": force });
    Act::new("image.pushed").image(image).details(details).record()?;
    Ok(pushed)
}
