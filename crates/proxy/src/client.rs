//! How the control plane talks to a data plane.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::unixpath::ShortPath;
use crate::{Ack, Refused, RouteTable, Status};

/// A data plane behind its control socket. Every call is a connection of its own, so a restart of the data plane is
/// not noticed between two calls.
#[derive(Clone, Debug)]
pub struct ProxyClient {
    socket: PathBuf,
}

/// Why a call to the data plane failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("cannot reach the data plane at {}: start it with `kiln proxy`", socket.display())]
    Connect {
        /// The control socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It was there and broke off.
    #[error("the data plane broke off its answer")]
    Broken(#[from] hyper::Error),
    /// It did not take the table; the one with `refused.version` stays in force.
    #[error("the data plane refused the route table: {}", .0.error)]
    Refused(Refused),
    /// It answered something else than its documentation says.
    #[error("the data plane answered {status} with {body:?}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
        /// The body as text.
        body: String,
    },
}

impl ProxyClient {
    /// A client for a control socket. Nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Puts a table into force.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it was not taken; then the old one stands.
    pub async fn put_table(&self, table: &RouteTable) -> Result<Ack, ClientError> {
        let body =
            serde_json::to_vec(table).map_err(|error| unexpected(StatusCode::OK, &error.to_string()))?;
        let (status, body) = self.call(Method::PUT, "/v1/table", body.into()).await?;
        match status {
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(ClientError::Refused(parse(status, &body)?))
            }
            _ => expect_ok(status, &body),
        }
    }

    /// The table in force.
    ///
    /// # Errors
    /// When the data plane cannot be reached or answers nonsense.
    pub async fn table(&self) -> Result<RouteTable, ClientError> {
        self.get("/v1/table").await
    }

    /// What the data plane sees now.
    ///
    /// # Errors
    /// When the data plane cannot be reached or answers nonsense.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// The same as soon as its `seq` is above `seq`, or after 30 s.
    ///
    /// # Errors
    /// When the data plane cannot be reached or answers nonsense.
    pub async fn status_after(&self, seq: u64) -> Result<Status, ClientError> {
        self.get(&format!("/v1/status?after={seq}")).await
    }

    /// Counters as Prometheus text.
    ///
    /// # Errors
    /// When the data plane cannot be reached or answers nonsense.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let (status, body) = self.call(Method::GET, "/metrics", Bytes::new()).await?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status == StatusCode::OK { Ok(text) } else { Err(unexpected(status, &text)) }
    }

    /// Asks the process to finish what is under way and to end.
    ///
    /// # Errors
    /// When the data plane cannot be reached or answers nonsense.
    pub async fn stop(&self) -> Result<(), ClientError> {
        let (status, body) = self.call(Method::POST, "/v1/stop", Bytes::new()).await?;
        expect_ok::<crate::Stopping>(status, &body).map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let (status, body) = self.call(Method::GET, path, Bytes::new()).await?;
        expect_ok(status, &body)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let failed = |source| ClientError::Connect { socket: self.socket.clone(), source };
        let short = ShortPath::new(&self.socket).map_err(failed)?;
        let stream = UnixStream::connect(short.path()).await.map_err(failed)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder().method(method).uri(path).header("host", "kiln-proxy");
        let request = request
            .body(Full::new(body))
            .map_err(|error| unexpected(StatusCode::BAD_REQUEST, &error.to_string()))?;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        // The connection is driven by the same future: nothing is left behind when the caller gives up.
        let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
        tokio::select! {
            result = &mut exchange => result,
            _ = &mut connection => exchange.await,
        }
    }
}

fn expect_ok<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, ClientError> {
    if status == StatusCode::OK {
        parse(status, body)
    } else {
        Err(unexpected(status, &String::from_utf8_lossy(body)))
    }
}

fn parse<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|_| unexpected(status, &String::from_utf8_lossy(body)))
}

fn unexpected(status: StatusCode, body: &str) -> ClientError {
    ClientError::Unexpected { status: status.as_u16(), body: body.to_owned() }
}
