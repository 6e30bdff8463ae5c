//! The registry in the control plane's process.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{OpenError, RegistryHome, RegistryService, RegistrySettings};

/// How long the control plane that was here before may take to give the registry and its port up.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long pushes and pulls under way hold up the control plane's end. Uploads that are cut off can be resumed.
const FAREWELL: Duration = Duration::from_secs(10);

/// Why the control plane has no registry.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its address cannot be listened on.
    #[error("cannot listen on {address} for the registry")]
    Listen {
        /// As it was asked for.
        address: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl EmbeddedError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open(error) => error.hint(),
            Self::Listen { .. } => Some(
                "name a free address and port, such as 127.0.0.1:5000; port 0 takes any that is free".into(),
            ),
        }
    }
}

/// A registry with its socket, not yet served.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) service: RegistryService,
    listener: TcpListener,
}

impl Embedded {
    /// Opens the home's registry with the settings in its folder.
    pub(crate) async fn open(home: &Path, address: &str, replace: bool) -> Result<Self, EmbeddedError> {
        let patience = if replace { PATIENCE } else { Duration::ZERO };
        let place = RegistryHome::of(home);
        let settings = RegistrySettings::of(&place).map_err(OpenError::from)?;
        let open = || async { RegistryService::open(&place, &settings) };
        let service = until(patience, open, OpenError::in_use).await?;
        let bind = || TcpListener::bind(address);
        let taken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
        let listener = until(patience, bind, taken).await;
        let listener =
            listener.map_err(|source| EmbeddedError::Listen { address: address.into(), source })?;
        service.listens_on(&listener);
        Ok(Self { service, listener })
    }

    /// Serves until the sender says so or is gone.
    pub(crate) fn serve(self, mut stop: watch::Receiver<bool>) -> Served {
        let Self { service, listener } = self;
        let own = service.clone();
        let handle = tokio::spawn(async move {
            let stopped = async move {
                let _ = stop.wait_for(|stop| *stop).await;
            };
            if let Err(error) = own.serve(listener, stopped).await {
                tracing::error!(why = crate::error::chain(&error), "the registry does not serve");
            }
        });
        if let Some(place) = service.place() {
            tracing::info!(url = place.url, "the registry serves");
        }
        Served { service, handle }
    }
}

/// A registry that serves.
#[derive(Debug)]
pub(crate) struct Served {
    service: RegistryService,
    handle: JoinHandle<()>,
}

impl Served {
    /// Waits for its end, which the stop signal began.
    pub(crate) async fn end(mut self) {
        if tokio::time::timeout(FAREWELL, &mut self.handle).await.is_err() {
            self.handle.abort();
            tracing::warn!("pushes and pulls under way were cut off");
        }
        let service = self.service;
        let _ = tokio::task::spawn_blocking(move || service.flush()).await;
    }
}

/// Tries again while somebody else is about to let go.
async fn until<T, E, F: Future<Output = Result<T, E>>>(
    patience: Duration,
    attempt: impl Fn() -> F,
    passing: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let begun = tokio::time::Instant::now();
    loop {
        match attempt().await {
            Err(error) if passing(&error) && begun.elapsed() < patience => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}
