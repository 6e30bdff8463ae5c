//! The API: [`crate::api`] over HTTP/1.1 on a Unix socket. No decision is made here.

mod answer;
mod events;
mod instances;
mod registry;
mod routes;

pub use registry::serve_registry;

use std::io;
use std::path::Path;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use kiln_provider::Provider;
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::api::ShutdownRequest;
use crate::reconcile::Control;
use crate::socket;
use crate::traffic::Traffic;

/// Largest request: a deploy of a hundred services with long environments stays below it.
const LONGEST_REQUEST: usize = 16 << 20;

/// What every request can reach.
struct Desk<P, T> {
    control: Control<P, T>,
    /// How the control plane is asked to end; streams end with it.
    shutdown: watch::Sender<Option<ShutdownRequest>>,
}

impl<P, T> Clone for Desk<P, T> {
    fn clone(&self) -> Self {
        Self { control: self.control.clone(), shutdown: self.shutdown.clone() }
    }
}

/// The API's socket, bound and not yet answered on.
#[derive(Debug)]
pub struct Api {
    listener: UnixListener,
}

impl Api {
    /// Listens on a Unix socket that only its owner may use, in place of a stale one. The caller holds the lock that
    /// says that nobody else listens there.
    ///
    /// # Errors
    /// Those of `bind`(2).
    pub fn bind(socket: &Path) -> io::Result<Self> {
        Ok(Self { listener: socket::listen(socket)? })
    }

    /// Answers requests until somebody asks to end, by request or through `shutdown`; then finishes those that are
    /// under way.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn serve<P: Provider, T: Traffic>(
        self,
        control: Control<P, T>,
        shutdown: watch::Sender<Option<ShutdownRequest>>,
    ) -> io::Result<()> {
        let mut asked = shutdown.subscribe();
        let ended = async move {
            let _ = asked.wait_for(Option::is_some).await;
        };
        let router = router(Desk { control, shutdown });
        axum::serve(self.listener, router).with_graceful_shutdown(ended).await
    }
}

fn router<P: Provider, T: Traffic>(desk: Desk<P, T>) -> Router {
    Router::new()
        .route("/v1/version", get(routes::version))
        .route("/v1/deploy", post(routes::deploy::<P, T>))
        .route("/v1/plan", post(routes::plan::<P, T>))
        .route("/v1/rollback", post(routes::rollback::<P, T>))
        .route("/v1/abort", post(routes::abort::<P, T>))
        .route("/v1/pause", post(routes::pause::<P, T>))
        .route("/v1/resume", post(routes::resume::<P, T>))
        .route("/v1/promote", post(routes::promote::<P, T>))
        .route("/v1/retry", post(routes::retry::<P, T>))
        .route("/v1/down", post(routes::down::<P, T>))
        .route("/v1/lift", post(routes::lift::<P, T>))
        .route("/v1/status", get(routes::status::<P, T>))
        .route("/v1/history", get(routes::history::<P, T>))
        .route("/v1/prove", post(routes::prove::<P, T>))
        .route("/v1/compare", post(routes::compare::<P, T>))
        .route("/v1/references", get(routes::references::<P, T>))
        .route("/v1/shutdown", post(routes::shutdown::<P, T>))
        .merge(registry::router(desk.control.registry().cloned()))
        .route("/v1/events", get(events::events::<P, T>))
        .route("/v1/instances", get(instances::all::<P, T>))
        .route("/v1/instances/{id}", get(instances::one::<P, T>))
        .route("/v1/instances/{id}/stop", post(instances::stop::<P, T>))
        .route("/v1/instances/{id}/taint", post(instances::taint::<P, T>))
        .route("/v1/instances/{id}/exec", post(instances::exec::<P, T>))
        .fallback(answer::unknown)
        .method_not_allowed_fallback(answer::unknown)
        .layer(DefaultBodyLimit::max(LONGEST_REQUEST))
        .layer(from_fn(answer::versions))
        .with_state(desk)
}
