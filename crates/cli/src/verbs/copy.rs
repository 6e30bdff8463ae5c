//! `kiln copy`: an image from one place to another, without a name in the store.

use std::path::Path;
use std::process::ExitCode;

use kiln_model::Digest;
use kiln_registry::client::{Choice, PushOptions, Totals};
use kiln_registry::name::ImageReference;
use kiln_store::Format;

use crate::context::{Context, store};
use crate::error::{Failure, Kind, Result};
use crate::ledger::Act;
use crate::registries::{self, Endpoint, RegistryArgs};
use crate::verbs::pull;

/// Arguments of `kiln copy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where from: host/name:tag, an archive, or the folder of an OCI layout (begin paths with ./ or /)
    from: String,
    /// Where to: host/name:tag, an archive (.tar), or a folder
    to: String,
    /// Take the images for all platforms instead of this machine's; between registries only
    #[arg(long)]
    all_platforms: bool,
    /// Move the tag when it names another image already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What was copied.
struct Copied {
    digest: Digest,
    totals: Totals,
    evidence: usize,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let (from, to) = (Endpoint::parse(&args.from)?, Endpoint::parse(&args.to)?);
    let disk = matches!(from, Endpoint::Disk(_)) || matches!(to, Endpoint::Disk(_));
    if args.all_platforms && disk {
        return Err(Failure::new(
            Kind::Failed,
            "an archive or layout holds one image, not one for each platform",
        )
        .hint("leave out --all-platforms, or copy from registry to registry"));
    }
    let copied = match (&from, &to) {
        (Endpoint::Registry(from), Endpoint::Registry(to)) => between(args, context, from, to)?,
        (Endpoint::Disk(from), Endpoint::Registry(to)) => from_disk(args, context, from, to)?,
        (Endpoint::Registry(from), Endpoint::Disk(to)) => {
            let store = store()?;
            let digest = pull::pull(context, &store, from, false, &args.registry)?.image.digest;
            let tag = from.tag.as_ref().map_or("latest", |tag| tag.as_str());
            write(args, &store, &digest, to, Some(tag))?
        }
        (Endpoint::Disk(from), Endpoint::Disk(to)) => {
            let store = store()?;
            let image = import(&store, from)?;
            write(args, &store, &image.digest, to, image.tag())?
        }
    };
    let answer = serde_json::json!({
        "digest": copied.digest, "from": args.from, "to": args.to, "moved": copied.totals.moved,
        "bytes": copied.totals.bytes, "present": copied.totals.present, "mounted": copied.totals.mounted,
        "evidence": copied.evidence,
    });
    let details = serde_json::json!({ "from": args.from, "to": args.to });
    Act::new("image.copied").image(&copied.digest).details(details).record()?;
    context.ui.result(&answer, || {
        let totals = registries::totals(&copied.totals, copied.evidence);
        format!("copied {} to {}: {totals}", copied.digest, args.to)
    });
    Ok(ExitCode::SUCCESS)
}

fn options(args: &Args) -> PushOptions {
    let choice = if args.all_platforms { Choice::All } else { Choice::Host };
    PushOptions { choice, evidence: !args.registry.no_evidence, force: args.force, mounts: Vec::new() }
}

fn between(args: &Args, context: &Context, from: &ImageReference, to: &ImageReference) -> Result<Copied> {
    let (what, options) = (format!("copies {from}"), options(args));
    let pushed = registries::transfer(&context.ui, &args.registry, &what, |client, progress| {
        let options = &options;
        async move { client.copy(from, to, options, &progress).await }
    })?;
    Ok(Copied { digest: pushed.digest, totals: pushed.totals, evidence: pushed.evidence.len() })
}

fn from_disk(args: &Args, context: &Context, from: &Path, to: &ImageReference) -> Result<Copied> {
    let store = store()?;
    let image = import(&store, from)?.digest;
    let (what, options) = (format!("copies {}", from.display()), options(args));
    let pushed = registries::transfer(&context.ui, &args.registry, &what, |client, progress| {
        let (store, options) = (&store, &options);
        async move { client.push(store, &image, to, options, &progress).await }
    })?;
    Ok(Copied { digest: pushed.digest, totals: pushed.totals, evidence: pushed.evidence.len() })
}

fn import(store: &kiln_store::Store, path: &Path) -> Result<kiln_store::Descriptor> {
    store.import(path).map_err(|error| Failure::from_error(Kind::Failed, &error))
}

/// What is counted is what the archive or layout has afterwards: the way there leads through the store.
fn write(
    args: &Args,
    store: &kiln_store::Store,
    image: &Digest,
    path: &Path,
    tag: Option<&str>,
) -> Result<Copied> {
    let name = path.to_string_lossy();
    if [".gz", ".tgz", ".zst"].iter().any(|end| name.ends_with(end)) {
        return Err(Failure::new(
            Kind::Failed,
            format!("cannot write {name}: Kiln reads compressed archives only"),
        )
        .hint("name a .tar file: the layers in it are compressed already"));
    }
    let format = if name.ends_with(".tar") { Format::OciArchive } else { Format::OciLayout };
    let written = store.export_with(image, format, path, tag, !args.registry.no_evidence);
    let written = written.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let totals = Totals { moved: written.blobs, bytes: written.bytes, ..Totals::default() };
    Ok(Copied { digest: *image, totals, evidence: written.evidence })
}
