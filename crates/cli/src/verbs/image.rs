//! `kiln image`: the images of the store.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use kiln_control::RegistryHome;
use kiln_control::api::CollectRequest;
use kiln_model::{Digest, Span};
use kiln_store::{Change, Collected, Difference, Format, HistoryLine, ImageInfo, Side, Store, StoreError};

use crate::context::{Context, author};
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::home::Home;
use crate::registry_config::{PlaceArgs, Way};
use crate::ui::{columns, size};

/// Arguments of `kiln image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Act,
}

/// An image is named by its tag, its digest, or the beginning of its digest.
#[derive(Debug, clap::Subcommand)]
enum Act {
    /// List images
    List,
    /// Print an image's manifest and configuration
    Inspect {
        /// Tag, digest, or the beginning of a digest
        image: String,
    },
    /// Show the steps an image was made by
    History {
        /// Tag, digest, or the beginning of a digest
        image: String,
    },
    /// Show in which files two images differ
    Diff {
        /// The image before
        before: String,
        /// The image after
        after: String,
    },
    /// Write an image to a file or folder
    Export {
        /// Tag, digest, or the beginning of a digest
        image: String,
        /// Where to; nothing may be there
        path: PathBuf,
        /// What to write
        #[arg(short, long, value_enum, default_value_t = Kinds::OciArchive)]
        format: Kinds,
        /// Name of the image there; the one it was asked for by unless given
        #[arg(long)]
        name: Option<String>,
    },
    /// Take an image from an OCI layout, an OCI archive or a docker archive
    Import {
        /// File or folder; PATH:TAG chooses where there are several
        path: PathBuf,
        /// Tag to give it; the name it has there unless given
        #[arg(long)]
        name: Option<String>,
    },
    /// Remove images that nothing runs, names or could go back to, and free their bytes
    Prune {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Leave alone what is younger than this
        #[arg(long, default_value = "24h")]
        grace: kiln_model::Span,
    },
}

/// What can be written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kinds {
    /// A folder in OCI layout
    OciLayout,
    /// The same as one tar file
    OciArchive,
    /// What `docker load` reads
    DockerArchive,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let store = crate::context::store()?;
    match &args.act {
        Act::List => {
            let images = store.images().map_err(|error| failure(&error))?;
            context.ui.result(&images, || list(&images));
        }
        Act::Inspect { image } => {
            let found =
                store.inspect(&resolve_here(&store, image)?.digest).map_err(|error| failure(&error))?;
            context.ui.result(&found, || serde_json::to_string_pretty(&found).unwrap_or_default());
        }
        Act::History { image } => {
            let lines =
                store.history(&resolve_here(&store, image)?.digest).map_err(|error| failure(&error))?;
            context.ui.result(&lines, || history(&lines));
        }
        Act::Diff { before, after } => {
            let (before, after) = (resolve_here(&store, before)?, resolve_here(&store, after)?);
            let found = store.diff(&before.digest, &after.digest).map_err(|error| failure(&error))?;
            context.ui.result(&found, || found.iter().map(difference).collect());
        }
        Act::Export { image, path, format, name } => {
            let name = name.as_deref().unwrap_or(image);
            export(context, &store, image, path, *format, name)?;
        }
        Act::Import { path, name } => import(context, &store, path, name.as_deref())?,
        Act::Prune { dry_run, grace } => prune(context, &store, *dry_run, grace.duration())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn failure(error: &StoreError) -> Failure {
    Failure::from_error(Kind::Failed, error)
}

/// An image of the store by what a person calls it.
pub(crate) fn resolve(store: &Store, image: &str) -> Result<kiln_store::Descriptor> {
    store.resolve(image).map_err(|error| {
        Failure::from_error(Kind::NotFound, &error).hint("`kiln image list` shows tags and digests")
    })
}

/// The same where something is looked up in the image: of one for several platforms, this machine's.
pub(crate) fn resolve_here(store: &Store, image: &str) -> Result<kiln_store::Descriptor> {
    store.for_host(resolve(store, image)?).map_err(|error| {
        Failure::from_error(Kind::NotFound, &error)
            .hint("`kiln pull` without --all-platforms takes one for this machine, where there is one")
    })
}

fn export(
    context: &Context,
    store: &Store,
    image: &str,
    path: &Path,
    format: Kinds,
    name: &str,
) -> Result<()> {
    let format = match format {
        Kinds::OciLayout => Format::OciLayout,
        Kinds::OciArchive => Format::OciArchive,
        Kinds::DockerArchive => Format::DockerArchive,
    };
    let found = resolve_here(store, image)?;
    store.export(&found.digest, format, path, Some(name)).map_err(|error| failure(&error))?;
    let answer = serde_json::json!({ "digest": found.digest, "path": path, "name": name });
    context.ui.result(&answer, || format!("wrote {} to {}", found.digest, path.display()));
    Ok(())
}

fn import(context: &Context, store: &Store, path: &Path, name: Option<&str>) -> Result<()> {
    let found = store.import(path).map_err(|error| failure(&error))?;
    let tag = name.or_else(|| found.tag()).map(str::to_owned);
    if let Some(tag) = &tag {
        store.tag(tag, &found).map_err(|error| failure(&error))?;
    }
    let answer = serde_json::json!({ "digest": found.digest, "name": tag });
    context.ui.result(&answer, || match &tag {
        Some(tag) => format!("took {} as {tag}", found.digest),
        None => format!("took {}", found.digest),
    });
    Ok(())
}

fn prune(context: &Context, store: &Store, dry_run: bool, grace: Duration) -> Result<()> {
    // Only the control plane knows what could be rolled back to; without a state there is nothing to go back to.
    let deployed = Home::find()?.path().join("state/kiln.db").exists();
    let images = match deployed {
        true => Control::ensure()?.call(|client| async move { client.references().await })?.images,
        false => Vec::new(),
    };
    let keep = images.into_iter().collect();
    let gone = match RegistryHome::of(Home::find()?.path()).exists() {
        true => prune_beside_registry(store, &keep, dry_run, grace)?,
        false => store.collect(&keep, grace, dry_run).map_err(|error| failure(&error))?,
    };
    let verb = if dry_run { "would remove" } else { "removed" };
    context.ui.result(&gone, || {
        let (images, trees, blobs) = (gone.images.len(), gone.trees, gone.blobs);
        format!("{verb} {images} images, {trees} trees and {blobs} blobs: {}", size(gone.bytes))
    });
    Ok(())
}

/// Where a registry shares the store, only it knows which bytes are in its repositories: it frees them.
fn prune_beside_registry(
    store: &Store,
    keep: &HashSet<Digest>,
    dry_run: bool,
    grace: Duration,
) -> Result<Collected> {
    let registry = Way::existing(&PlaceArgs::default())?;
    let released = store.release(keep, grace, dry_run).map_err(|error| failure(&error))?;
    let trees = store.collect_trees(&released, grace, dry_run).map_err(|error| failure(&error))?;
    let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let freed = registry.collect(&CollectRequest {
        dry_run,
        grace: Some(Span::from_millis(millis)),
        keep_manifests: true,
        leaving: released.images.iter().chain(&released.lists).copied().collect(),
        author: author(),
    })?;
    let bytes = freed.files.iter().map(|file| file.bytes).sum();
    Ok(Collected { images: released.images, trees, blobs: freed.files.len(), bytes })
}

fn list(images: &[ImageInfo]) -> String {
    let mut rows = vec![["TAGS", "DIGEST", "CREATED", "ARCH", "LAYERS", "SIZE"].map(String::from).to_vec()];
    rows.extend(images.iter().map(|image| {
        vec![
            if image.tags.is_empty() { "-".into() } else { image.tags.join(",") },
            image.digest.short(),
            image.problem.clone().or_else(|| image.created.clone()).unwrap_or_default(),
            image.architecture.clone().unwrap_or_else(|| image.platforms.join(",")),
            image.layers.to_string(),
            size(image.size),
        ]
    }));
    columns(&rows)
}

fn history(lines: &[HistoryLine]) -> String {
    let mut rows = vec![["LAYER", "SIZE", "STEP"].map(String::from).to_vec()];
    rows.extend(lines.iter().map(|line| {
        let layer = line.layer.map_or_else(|| "-".into(), |layer| layer.short());
        vec![layer, size(line.size), line.created_by.clone().unwrap_or_default()]
    }));
    columns(&rows)
}

/// A file that differs, in a line.
pub(crate) fn difference(found: &Difference) -> String {
    let size_of = |side: &Option<Side>| side.as_ref().map(|side| size(side.size)).unwrap_or_default();
    match found.change {
        Change::Added => format!("+ {} ({})\n", found.path, size_of(&found.after)),
        Change::Removed => format!("- {} ({})\n", found.path, size_of(&found.before)),
        Change::Changed => format!("~ {} ({})\n", found.path, found.what.join(", ")),
    }
}
