//! The control plane as a process: everything put together, from start to end.
//!
//! It may be killed at any time: instances have their supervisors and the data plane its table on disk. SIGTERM and
//! SIGINT end it and nothing else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_attest::keys::{Folder, KeyError};
use kiln_attest::ledger::LedgerError;
use kiln_local::{LocalConfig, LocalError, LocalProvider};
use kiln_proxy::ProxyClient;
use kiln_store::{Store, StoreError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::api::ShutdownRequest;
use crate::clock::SystemClock;
use crate::home::Home;
use crate::http::Api;
use crate::proof::StoreProofs;
use crate::reconcile::{Control, Settings};
use crate::record::Recorder;
use crate::registry::{Embedded, EmbeddedError, RegistryService};
use crate::routes::PeerListen;
use crate::state::{State, StateError};
use crate::supervisor::Supervisor;

/// How a control plane is run.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// `$KILN_HOME`, absolute.
    pub home: PathBuf,
    /// The program that is started as data plane (`EXE proxy`) and as supervisor of instances.
    pub exe: PathBuf,
    /// Ask a control plane that runs to end, and take its place. Instances and traffic go on meanwhile.
    pub replace: bool,
    /// Serve a registry on the home's store, on this address (`127.0.0.1:5000`).
    pub registry: Option<String>,
}

/// Why the control plane does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// There is one already.
    #[error("a control plane already runs for {home}{}", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Running {
        /// Its process id, where it is known.
        pid: Option<u32>,
        /// The home.
        home: PathBuf,
    },
    /// A file of the home cannot be used.
    #[error("cannot {act} {path}")]
    File {
        /// Verb phrase.
        act: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state cannot be used.
    #[error("the state of this home cannot be used")]
    State(#[from] StateError),
    /// The image store cannot be used.
    #[error("the image store of this home cannot be used")]
    Store(#[from] StoreError),
    /// The keys cannot be used.
    #[error("the keys of this home cannot be used")]
    Keys(#[from] KeyError),
    /// The ledger cannot be used.
    #[error("the ledger of this home cannot be used")]
    Ledger(#[from] LedgerError),
    /// The registry that was asked for cannot be run.
    #[error(transparent)]
    Registry(#[from] EmbeddedError),
    /// Instances cannot be run or found again.
    #[error("instances cannot be run on this machine")]
    Provider(#[from] LocalError),
    /// The system refused threads or signals.
    #[error("the system does not let the control plane run")]
    System(#[source] io::Error),
}

impl ServeError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Running { .. } => Some(
                "use it, or take its place with `kiln serve --replace`; another KILN_HOME is another control plane"
                    .into(),
            ),
            Self::State(error) => Some(error.hint()),
            Self::Registry(error) => error.hint(),
            Self::File { .. } => Some("name a folder that you may write to in KILN_HOME".into()),
            Self::Store(_) | Self::Keys(_) | Self::Ledger(_) | Self::Provider(_) | Self::System(_) => None,
        }
    }
}

/// Runs a control plane until SIGTERM, SIGINT or `POST /v1/shutdown`. Call it outside of any async runtime; it makes
/// its own, with two threads.
///
/// # Errors
/// When it cannot start, or its socket fails. Once it serves, what goes wrong is told in its status.
pub fn serve(config: &ServeConfig) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("serve")
        .enable_all()
        .build()
        .map_err(ServeError::System)?;
    runtime.block_on(live(config))
}

async fn live(config: &ServeConfig) -> Result<(), ServeError> {
    let (mut terminate, mut interrupt) = signals().map_err(ServeError::System)?;
    let home = Home::take(&config.home, config.replace).await?;
    let client = ProxyClient::new(home.proxy_socket());
    let registry = match &config.registry {
        Some(address) => Some(Embedded::open(&config.home, address, config.replace).await?),
        None => None,
    };
    let service = registry.as_ref().map(|registry| registry.service.clone());
    let control = assemble(config, &home, client.clone(), service).await?;
    let api = listen(&home.socket())?;

    let (shutdown, asked) = watch::channel(None);
    let (stop, stopped) = watch::channel(false);
    let registry = registry.map(|registry| registry.serve(stopped.clone()));
    let api = tokio::spawn(api.serve(control.clone(), shutdown.clone()));
    let watched = control.clone();
    let keeper = Supervisor::new(&config.exe, &config.home, client.clone());
    let keeper = tokio::spawn(async move { keeper.keep(|told| watched.data_plane(told)).await });
    let running = control.clone();
    let loops = tokio::spawn(async move { running.run(stopped).await });
    let recorder = Recorder::open(&config.home, Folder::open(&config.home.join("keys"))?)?;
    let recorded = control.clone();
    let record = tokio::spawn(async move { recorder.keep(&recorded).await });
    tell_systemd("READY=1");
    tracing::info!(home = %config.home.display(), pid = std::process::id(), "the control plane serves");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = ended(asked.clone()) => {}
    }
    tell_systemd("STOPPING=1");
    let request = asked.borrow().clone().unwrap_or_default();
    shutdown.send_replace(Some(request.clone()));
    keeper.abort();
    record.abort();
    let _ = stop.send(true);
    let _ = loops.await;
    if let Some(registry) = registry {
        registry.end().await;
    }
    if request.stop_proxy {
        stop_proxy(&client).await;
        // Where instances go on, so does their network.
        if let Err(error) = control.provider().close().await {
            tracing::warn!(why = crate::error::chain(&error), "the network of this home stays");
        }
    }
    // The lock and the state are given up only when the last answer is out.
    let answered = api.await;
    drop(home);
    match answered {
        Ok(Err(source)) => {
            Err(ServeError::File { act: "serve", path: config.home.join("run/serve.sock"), source })
        }
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

/// State, provider and data plane, from what is on disk and what runs.
async fn assemble(
    config: &ServeConfig,
    home: &Home,
    client: ProxyClient,
    registry: Option<RegistryService>,
) -> Result<Control<LocalProvider, ProxyClient>, ServeError> {
    let state = State::open(&home.database())?;
    let store = Store::open(&home.store())?;
    let keys = Folder::open(&config.home.join("keys"))?;
    let proofs = Arc::new(StoreProofs::new(store.clone(), keys));
    let tree = move |image: &kiln_model::Digest| {
        store.tree(image).map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>)
    };
    let provider = LocalProvider::open(LocalConfig::new(&config.home, &config.exe, Arc::new(tree))).await?;
    let peers = match provider.peer_listen_address() {
        Some(address) => PeerListen::On(address.into()),
        None => PeerListen::Inside,
    };
    let (warnings, _) = provider.warnings();
    for warning in &warnings {
        tracing::warn!(warning);
    }
    Ok(Control::new(provider, client, state, SystemClock, Settings { peers, warnings, proofs, registry }))
}

fn listen(path: &Path) -> Result<Api, ServeError> {
    Api::bind(path).map_err(|source| ServeError::File { act: "listen on", path: path.into(), source })
}

fn signals() -> io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

async fn ended(mut asked: watch::Receiver<Option<ShutdownRequest>>) {
    let _ = asked.wait_for(Option::is_some).await;
}

async fn stop_proxy(client: &ProxyClient) {
    if let Err(error) = client.stop().await {
        tracing::warn!(why = crate::error::chain(&error), "the data plane did not take the word to stop");
    }
}

/// Tells systemd, when it waits for that (sd_notify(3)).
fn tell_systemd(word: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told =
        std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(word.as_bytes(), path));
    if let Err(error) = told {
        tracing::warn!(%error, "systemd does not listen");
    }
}
