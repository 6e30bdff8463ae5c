//! `kiln pull`: an image of a registry into the store.

use std::process::ExitCode;

use kiln_registry::client::{Choice, PullOptions, Pulled};
use kiln_registry::name::ImageReference;
use kiln_store::{Store, StoreError};

use crate::context::{Context, store};
use crate::error::{Failure, Kind, Result};
use crate::ledger::Act;
use crate::registries::{self, RegistryArgs};

/// Arguments of `kiln pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where from: host/name:tag or host/name@sha256:…
    reference: String,
    /// Tag to give it in the store; the reference unless given
    #[arg(long)]
    name: Option<String>,
    /// Take the images for all platforms instead of this machine's
    #[arg(long)]
    all_platforms: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let store = store()?;
    let reference = registries::reference(&args.reference)?;
    let pulled = pull(context, &store, &reference, args.all_platforms, &args.registry)?;
    let tag = name(&store, &reference, args.name.as_deref(), &pulled)
        .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let details = serde_json::json!({ "from": reference.to_string() });
    Act::new("image.pulled").image(&pulled.image.digest).details(details).record()?;
    let mut answer = serde_json::to_value(&pulled).unwrap_or_default();
    answer["digest"] = pulled.image.digest.to_string().into();
    answer["name"] = tag.clone().into();
    context.ui.result(&answer, || {
        let totals = registries::totals(&pulled.totals, pulled.evidence.len());
        let tag = tag.map(|tag| format!(" as {tag}")).unwrap_or_default();
        format!("pulled {}{tag}: {totals}", pulled.image.digest)
    });
    Ok(ExitCode::SUCCESS)
}

/// Gets an image into the store, where it has no name yet.
pub(crate) fn pull(
    context: &Context,
    store: &Store,
    reference: &ImageReference,
    all_platforms: bool,
    registry: &RegistryArgs,
) -> Result<Pulled> {
    let choice = if all_platforms { Choice::All } else { Choice::Host };
    let options = PullOptions { choice, evidence: !registry.no_evidence };
    let what = format!("pulls {reference}");
    registries::transfer(&context.ui, registry, &what, |client, progress| {
        let options = &options;
        async move { client.pull(reference, store, options, &progress).await }
    })
}

/// Lists the image in the store: under the name that was asked for, else that of the reference if it can be a tag.
fn name(
    store: &Store,
    reference: &ImageReference,
    asked: Option<&str>,
    pulled: &Pulled,
) -> std::result::Result<Option<String>, StoreError> {
    if let Some(tag) = asked {
        store.tag(tag, &pulled.image)?;
        return Ok(Some(tag.into()));
    }
    if reference.tag.is_some() || reference.digest.is_none() {
        let named = ImageReference { digest: None, ..reference.clone() };
        let tag = match named.tag {
            Some(_) => named.to_string(),
            None => format!("{named}:latest"),
        };
        match store.tag(&tag, &pulled.image) {
            Ok(()) => return Ok(Some(tag)),
            Err(StoreError::BadTag { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    store.keep(&pulled.image)?;
    Ok(None)
}
