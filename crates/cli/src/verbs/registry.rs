//! `kiln registry`: images for others.

use std::process::ExitCode;

use kiln_control::api::{CollectAnswer, CollectRequest, LinkRequest, RegistryAnswer, TagsAnswer};
use kiln_control::{RegistryService, serve_registry};
use kiln_registry::name::{Repository, Tag};
use kiln_store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::context::{Context, author, log_to_stderr, now_ms};
use crate::error::{Failure, Kind, Result};
use crate::registry_config::{PlaceArgs, SettingArgs, Way, unopened};
use crate::ui::{age, columns, size};

/// Arguments of `kiln registry`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Run the registry in the foreground, on the home's images
    Serve(Box<Serve>),
    /// Free what no repository, no image and nothing that runs needs, while everything goes on
    Gc {
        #[command(flatten)]
        place: PlaceArgs,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
        /// Leave alone bytes that are younger than this; the registry's own setting unless given
        #[arg(long)]
        grace: Option<kiln_model::Span>,
    },
    /// List repositories, or a repository's tags
    List {
        #[command(flatten)]
        place: PlaceArgs,
        /// Whose tags
        #[arg(value_parser = repository)]
        repository: Option<Repository>,
    },
    /// Put an image of the store into a repository, without copying it
    Link {
        #[command(flatten)]
        place: PlaceArgs,
        /// Tag, digest, or the beginning of a digest
        image: String,
        /// REPOSITORY or REPOSITORY:TAG; the tag is `latest` unless given
        #[arg(value_name = "REPOSITORY[:TAG]", value_parser = target)]
        target: (Repository, Tag),
    },
}

/// Arguments of `kiln registry serve`.
#[derive(Debug, clap::Args)]
struct Serve {
    /// Where to listen; port 0 takes any that is free [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    settings: SettingArgs,
}

/// The port that registries have had since the first one.
const USUAL: &str = "127.0.0.1:5000";

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    match &args.act {
        Act::Serve(args) => serve(args, context)?,
        Act::Gc { place, dry_run, grace } => {
            let (dry_run, grace) = (*dry_run, *grace);
            let request = CollectRequest { dry_run, grace, author: author(), ..CollectRequest::default() };
            let gone = Way::existing(place)?.collect(&request)?;
            context.ui.result(&gone, || collected(&gone));
        }
        Act::List { place, repository: None } => {
            let found = Way::existing(place)?.about()?;
            context.ui.result(&found, || repositories(&found));
        }
        Act::List { place, repository: Some(repository) } => {
            let found = Way::existing(place)?.tags(repository)?;
            context.ui.result(&found, || tags(&found));
        }
        Act::Link { place, image, target } => link(context, place, image, target)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn repository(text: &str) -> std::result::Result<Repository, String> {
    text.parse().map_err(|error: kiln_registry::name::NameError| error.to_string())
}

fn target(text: &str) -> std::result::Result<(Repository, Tag), String> {
    let (name, tag) = text.split_once(':').unwrap_or((text, "latest"));
    let tag = tag.parse().map_err(|error: kiln_registry::name::NameError| error.to_string())?;
    Ok((repository(name)?, tag))
}

fn serve(args: &Serve, context: &Context) -> Result<()> {
    log_to_stderr();
    let place = args.place.home()?;
    let mut settings = args.place.settings(&place)?;
    args.settings.onto(&mut settings)?;
    let open = settings.access.is_none();
    let address = args.listen.clone().or_else(|| settings.listen.clone()).unwrap_or_else(|| USUAL.into());
    let registry = RegistryService::open(&place, &settings).map_err(|error| unopened(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let listener = TcpListener::bind(&address).await.map_err(|error| {
            Failure::new(Kind::Failed, format!("cannot listen on {address}"))
                .because(&error)
                .hint("name a free address and port with --listen; port 0 takes any that is free")
        })?;
        registry.listens_on(&listener);
        let (stop, stopped) = watch::channel(false);
        let asked = serve_registry(registry.clone(), &place.socket(), until(stopped.clone()))?;
        tell(&registry, open, context);
        let serving = registry.serve(listener, until(stopped));
        tokio::pin!(serving);
        let served = tokio::select! {
            served = &mut serving => served,
            _ = terminate.recv() => { let _ = stop.send(true); serving.await }
            _ = interrupt.recv() => { let _ = stop.send(true); serving.await }
        };
        let _ = stop.send(true);
        let _ = asked.await;
        served.map_err(|error| Failure::from_error(Kind::Failed, &error))
    });
    registry.flush();
    let _ = std::fs::remove_file(place.socket());
    served
}

async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Tells where it is; and when everybody who can reach it may do everything, that too.
fn tell(registry: &RegistryService, open: bool, context: &Context) {
    let Some(place) = registry.place() else { return };
    if open && !place.address.ip().is_loopback() {
        context.ui.line(format!(
            "warning: everybody who reaches {} may push and delete; `--users FILE` lets only some",
            place.address
        ));
    }
    context.ui.result(&place, || format!("serving {}", place.url));
}

fn link(context: &Context, args: &PlaceArgs, image: &str, target: &(Repository, Tag)) -> Result<()> {
    let place = args.home()?;
    let store = Store::open(&place.store).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let image = super::image::resolve(&store, image)?.digest;
    let (repository, tag) = target.clone();
    let request = LinkRequest { image, repository, tag, author: author() };
    let linked = Way::find(&place, args)?.link(&request)?;
    context.ui.result(&linked, || match &linked.reference {
        Some(reference) => format!("{} is {reference}", image.short()),
        None => format!(
            "{} is {}:{} once the registry is served: `kiln registry serve`",
            image.short(),
            linked.repository,
            linked.tag
        ),
    });
    Ok(())
}

fn repositories(found: &RegistryAnswer) -> String {
    let mut rows = vec![["REPOSITORY", "TAGS", "MANIFESTS", "SIZE"].map(String::from).to_vec()];
    rows.extend(found.repositories.iter().map(|one| {
        vec![one.name.to_string(), one.tags.to_string(), one.manifests.to_string(), size(one.bytes)]
    }));
    let place = match &found.place {
        Some(place) => format!("{} · process {}", place.url, place.pid),
        None => "not served at present".into(),
    };
    format!("{}{place}", columns(&rows))
}

fn tags(found: &TagsAnswer) -> String {
    let mut rows = vec![["TAG", "DIGEST", "AGE"].map(String::from).to_vec()];
    rows.extend(found.tags.iter().map(|one| {
        let set = i64::try_from(one.set_ms).unwrap_or(i64::MAX);
        vec![one.tag.to_string(), one.digest.to_string(), age(set, now_ms())]
    }));
    columns(&rows)
}

fn collected(gone: &CollectAnswer) -> String {
    let mut out = String::new();
    for removed in &gone.manifests {
        out.push_str(&format!("- {}@{}\n", removed.repository, removed.digest));
    }
    for kept in &gone.kept {
        out.push_str(&format!("  {}@{} stays: {}\n", kept.repository, kept.digest, kept.reason));
    }
    let verb = if gone.dry_run { "would free" } else { "freed" };
    let (files, manifests, uploads) = (gone.files.len(), gone.manifests.len(), gone.uploads.len());
    out + &format!("{verb} {}: {files} files, {manifests} manifests, {uploads} uploads", size(gone.bytes))
}
