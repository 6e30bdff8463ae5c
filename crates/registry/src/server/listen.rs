//! Serving a registry on a socket, plain or with TLS.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::acts::Peer;
use super::config::TlsFiles;
use super::{Registry, RegistryError};

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS: usize = 4096;
/// A client that does not send its request's head, or does not shake hands, for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long requests under way may take after the shutdown was asked for.
const FAREWELL: Duration = Duration::from_secs(20);
/// Bytes of a request in memory: what makes large uploads come in large pieces.
const BUFFER: usize = 512 << 10;

impl Registry {
    /// Serves until `shutdown` is ready, then lets requests under way end for 20 seconds. TLS is spoken when the
    /// configuration names a certificate.
    ///
    /// # Errors
    /// When the certificate or key cannot be used.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), RegistryError> {
        let tls = self.inner.config.tls.as_ref().map(acceptor).transpose()?;
        let router = self.router();
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = shutdown.as_mut() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors or a connection that broke before it was taken: others go on meanwhile.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
            tokio::spawn(async move {
                let _slot = slot;
                let router = TowerToHyperService::new(router);
                let peer = Peer(from.ip());
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(peer);
                    router.call(request)
                });
                let _ = stream.set_nodelay(true);
                match tls {
                    None => connection(stream, service, watcher).await,
                    Some(tls) => {
                        if let Some(stream) = shake_hands(&tls, stream).await {
                            connection(stream, service, watcher).await;
                        }
                    }
                }
            });
        }
        drop(listener);
        if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests under way were cut off");
        }
        Ok(())
    }
}

async fn shake_hands(
    tls: &TlsAcceptor,
    stream: TcpStream,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a client did not shake hands");
            None
        }
        Err(_) => None,
    }
}

async fn connection<S, H>(stream: S, service: H, watcher: hyper_util::server::graceful::Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Service<Request<Incoming>, Response = axum::response::Response, Error = Infallible> + Send + 'static,
    H::Future: Send + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(BUFFER)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection broke");
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, RegistryError> {
    let failed = |reason: String| RegistryError::Tls {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        reason,
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect);
    let chain: Vec<CertificateDer<'static>> = chain.map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| failed(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(error.to_string()))?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).map_err(|error| failed(error.to_string()))?;
    // One connection per layer is faster over HTTP/1.1 than all layers in one of HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
