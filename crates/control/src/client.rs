//! The control plane's typed client, for the command line and for tests.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kiln_model::InstanceId;
use kiln_provider::ExecResult;
use kiln_registry::name::Repository;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::*;
use crate::event::Event;
use crate::socket;

/// Header by which both sides tell their [`API_VERSION`].
pub(crate) const API_HEADER: &str = "kiln-api";

/// Talks to one control plane. Every request is its own connection, so a client never goes stale.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why a request to the control plane failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens.
    #[error("the control plane does not answer on {socket}")]
    NotRunning {
        /// Where it was looked for.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The control plane is of another version.
    #[error("the control plane that runs speaks API {theirs}, this kiln speaks {ours}")]
    VersionMismatch {
        /// This program's.
        ours: u32,
        /// The control plane's.
        theirs: String,
    },
    /// The control plane answered with an error.
    #[error("{}", .0.message)]
    Refused(Box<ErrorBody>),
    /// The connection broke.
    #[error("the connection to the control plane broke while asking {request}")]
    Broken {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The answer makes no sense.
    #[error("the control plane's answer to {request} cannot be read")]
    Answer {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The request cannot be written.
    #[error("cannot write the request {request}")]
    Request {
        /// Method and path.
        request: String,
        /// Why.
        #[source]
        source: http::Error,
    },
}

impl ClientError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => Some("start it with `kiln serve`, or use `kiln up`".into()),
            Self::VersionMismatch { .. } => {
                Some("restart it with `kiln serve --replace`; instances and traffic go on meanwhile".into())
            }
            Self::Refused(body) => body.hint.clone(),
            Self::Broken { .. } => {
                Some("see whether it still runs with `kiln status`; what was accepted is carried out".into())
            }
            Self::Answer { .. } | Self::Request { .. } => None,
        }
    }
}

impl Client {
    /// A client of the control plane that listens on `socket`; nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// A client of the control plane of a home.
    pub fn of_home(home: &Path) -> Self {
        Self::new(home.join("run/serve.sock"))
    }

    /// Which program answers. Works across API versions.
    pub async fn version(&self) -> Result<VersionAnswer, ClientError> {
        let response = self.send(Method::GET, "/v1/version", Bytes::new()).await?;
        read("GET /v1/version", response).await
    }

    /// Deploys releases.
    pub async fn deploy(&self, request: &DeployRequest) -> Result<DeployAnswer, ClientError> {
        self.post("/v1/deploy", request).await
    }

    /// What a deploy would do.
    pub async fn plan(&self, request: &PlanRequest) -> Result<PlanAnswer, ClientError> {
        self.post("/v1/plan", request).await
    }

    /// Goes back to an older release.
    pub async fn rollback(&self, request: &RollbackRequest) -> Result<RollbackAnswer, ClientError> {
        self.post("/v1/rollback", request).await
    }

    /// Gives up the rollout under way.
    pub async fn abort(&self, request: &AbortRequest) -> Result<AbortAnswer, ClientError> {
        self.post("/v1/abort", request).await
    }

    /// Stops the rollout under way where it is.
    pub async fn pause(&self, request: &HandRequest) -> Result<HandAnswer, ClientError> {
        self.post("/v1/pause", request).await
    }

    /// Lets a stopped rollout go on.
    pub async fn resume(&self, request: &HandRequest) -> Result<HandAnswer, ClientError> {
        self.post("/v1/resume", request).await
    }

    /// Lets the rollout under way pass the gate that it waits for.
    pub async fn promote(&self, request: &PromoteRequest) -> Result<HandAnswer, ClientError> {
        self.post("/v1/promote", request).await
    }

    /// Tries the last rollout again, which failed or was rolled back.
    pub async fn retry(&self, request: &RetryRequest) -> Result<HandAnswer, ClientError> {
        self.post("/v1/retry", request).await
    }

    /// Stops services.
    pub async fn down(&self, request: &DownRequest) -> Result<DownAnswer, ClientError> {
        self.post("/v1/down", request).await
    }

    /// What is proven about images.
    pub async fn prove(&self, request: &ProveRequest) -> Result<ProveAnswer, ClientError> {
        self.post("/v1/prove", request).await
    }

    /// How two environments differ.
    pub async fn compare(&self, request: &CompareRequest) -> Result<CompareAnswer, ClientError> {
        self.post("/v1/compare", request).await
    }

    /// Lifts quarantines.
    pub async fn lift(&self, request: &LiftRequest) -> Result<LiftAnswer, ClientError> {
        self.post("/v1/lift", request).await
    }

    /// Everything at a glance.
    pub async fn status(&self) -> Result<StatusAnswer, ClientError> {
        self.get("/v1/status").await
    }

    /// Releases with what became of them.
    pub async fn history(&self, query: &HistoryQuery) -> Result<HistoryAnswer, ClientError> {
        let limit = query.limit.map(|limit| limit.to_string());
        let path = path(
            "/v1/history",
            &[
                ("environment", query.environment.as_ref().map(ToString::to_string)),
                ("service", query.service.as_ref().map(ToString::to_string)),
                ("limit", limit),
            ],
        );
        self.get(&path).await
    }

    /// All instances.
    pub async fn instances(&self) -> Result<InstancesAnswer, ClientError> {
        self.get("/v1/instances").await
    }

    /// One instance.
    pub async fn instance(&self, id: &InstanceId) -> Result<InstanceStatus, ClientError> {
        self.get(&format!("/v1/instances/{id}")).await
    }

    /// Takes one instance out; a replacement starts.
    pub async fn stop_instance(
        &self,
        id: &InstanceId,
        request: &InstanceRequest,
    ) -> Result<InstanceStatus, ClientError> {
        self.post(&format!("/v1/instances/{id}/stop"), request).await
    }

    /// Says that an instance no longer equals its release; it is replaced within the disruption budget.
    pub async fn taint(
        &self,
        id: &InstanceId,
        request: &InstanceRequest,
    ) -> Result<InstanceStatus, ClientError> {
        self.post(&format!("/v1/instances/{id}/taint"), request).await
    }

    /// Executes a command in an instance, which taints it.
    pub async fn exec(&self, id: &InstanceId, request: &ExecBody) -> Result<ExecResult, ClientError> {
        self.post(&format!("/v1/instances/{id}/exec"), request).await
    }

    /// Images that must not be removed from the store.
    pub async fn references(&self) -> Result<ReferencesAnswer, ClientError> {
        self.get("/v1/references").await
    }

    /// The registry and its repositories.
    pub async fn registry(&self) -> Result<RegistryAnswer, ClientError> {
        self.get("/v1/registry").await
    }

    /// A repository's tags.
    pub async fn registry_tags(&self, repository: &Repository) -> Result<TagsAnswer, ClientError> {
        self.get(&path("/v1/registry/tags", &[("repository", Some(repository.to_string()))])).await
    }

    /// Frees what the registry does not need.
    pub async fn collect_registry(&self, request: &CollectRequest) -> Result<CollectAnswer, ClientError> {
        self.post("/v1/registry/collect", request).await
    }

    /// Makes an image of the store a repository's.
    pub async fn link(&self, request: &LinkRequest) -> Result<LinkAnswer, ClientError> {
        self.post("/v1/registry/link", request).await
    }

    /// Ends the control plane. Works across API versions.
    pub async fn shutdown(&self, request: &ShutdownRequest) -> Result<VersionAnswer, ClientError> {
        let body = serde_json::to_vec(request);
        let body = body.map_err(|source| ClientError::Answer { request: "/v1/shutdown".into(), source })?;
        let response = self.send(Method::POST, "/v1/shutdown", body.into()).await?;
        read("POST /v1/shutdown", response).await
    }

    /// Events, oldest first; with `follow` the stream goes on with what happens.
    pub async fn events(&self, query: &EventsQuery) -> Result<EventStream, ClientError> {
        let path = path(
            "/v1/events",
            &[
                ("after", Some(query.after.to_string())),
                ("follow", Some(query.follow.to_string())),
                ("environment", query.environment.as_ref().map(ToString::to_string)),
                ("service", query.service.as_ref().map(ToString::to_string)),
            ],
        );
        let response = self.send(Method::GET, &path, Bytes::new()).await?;
        check_version(response.headers())?;
        if !response.status().is_success() {
            return Err(refusal("GET /v1/events", response).await);
        }
        Ok(EventStream { body: response.into_body(), buffer: BytesMut::new() })
    }

    async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        check_version(response.headers())?;
        read(&format!("GET {path}"), response).await
    }

    async fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A, ClientError> {
        let request = format!("POST {path}");
        let body = serde_json::to_vec(body)
            .map_err(|source| ClientError::Answer { request: request.clone(), source })?;
        let response = self.send(Method::POST, path, body.into()).await?;
        check_version(response.headers())?;
        read(&request, response).await
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let name = format!("{method} {path}");
        let broken = |source| ClientError::Broken { request: name.clone(), source };
        let stream = socket::connect(&self.socket)
            .await
            .map_err(|source| ClientError::NotRunning { socket: self.socket.clone(), source })?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(broken)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "kiln")
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(API_HEADER, API_VERSION)
            .body(Full::new(body))
            .map_err(|source| ClientError::Request { request: name.clone(), source })?;
        sender.send_request(request).await.map_err(broken)
    }
}

/// Events as they come.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    buffer: BytesMut,
}

impl EventStream {
    /// The next event; `None` when the control plane has ended the stream.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        let request = || "GET /v1/events".to_owned();
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                if line.len() == 1 {
                    continue;
                }
                let event = serde_json::from_slice(&line);
                return event.map(Some).map_err(|source| ClientError::Answer { request: request(), source });
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(source)) => return Err(ClientError::Broken { request: request(), source }),
                None => return Ok(None),
            }
        }
    }
}

/// Names (of repositories too), numbers and booleans need no escaping in a query.
fn path(path: &str, query: &[(&str, Option<String>)]) -> String {
    let given = query.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
    let query: Vec<String> = given.collect();
    if query.is_empty() { path.into() } else { format!("{path}?{}", query.join("&")) }
}

fn check_version(headers: &HeaderMap) -> Result<(), ClientError> {
    let theirs = headers.get(API_HEADER).and_then(|value| value.to_str().ok()).unwrap_or("none");
    if theirs == API_VERSION.to_string() {
        return Ok(());
    }
    Err(ClientError::VersionMismatch { ours: API_VERSION, theirs: theirs.into() })
}

async fn read<A: DeserializeOwned>(request: &str, response: Response<Incoming>) -> Result<A, ClientError> {
    if !response.status().is_success() {
        return Err(refusal(request, response).await);
    }
    let body = response.into_body().collect().await;
    let body = body.map_err(|source| ClientError::Broken { request: request.into(), source })?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|source| ClientError::Answer { request: request.into(), source })
}

async fn refusal(request: &str, response: Response<Incoming>) -> ClientError {
    match response.into_body().collect().await {
        Ok(body) => match serde_json::from_slice(&body.to_bytes()) {
            Ok(body) => ClientError::Refused(body),
            Err(source) => ClientError::Answer { request: request.into(), source },
        },
        Err(source) => ClientError::Broken { request: request.into(), source },
    }
}
