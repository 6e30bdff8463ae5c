//! What the control plane is asked and answers: HTTP/1.1 with JSON over the Unix socket `run/serve.sock`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/version` | [`VersionAnswer`] |
//! | `POST /v1/deploy` with [`DeployRequest`] | [`DeployAnswer`] |
//! | `POST /v1/plan` with [`PlanRequest`] | [`PlanAnswer`] |
//! | `POST /v1/rollback` with [`RollbackRequest`] | [`RollbackAnswer`] |
//! | `POST /v1/abort` with [`AbortRequest`] | [`AbortAnswer`] |
//! | `POST /v1/pause` with [`HandRequest`] | [`HandAnswer`] |
//! | `POST /v1/resume` with [`HandRequest`] | [`HandAnswer`] |
//! | `POST /v1/promote` with [`PromoteRequest`] | [`HandAnswer`] |
//! | `POST /v1/retry` with [`RetryRequest`] | [`HandAnswer`] |
//! | `POST /v1/down` with [`DownRequest`] | [`DownAnswer`] |
//! | `POST /v1/lift` with [`LiftRequest`] | [`LiftAnswer`] |
//! | `GET /v1/status` | [`StatusAnswer`] |
//! | `GET /v1/history?environment=E&service=S&limit=N` | [`HistoryAnswer`], newest first |
//! | `GET /v1/events?after=N&follow=true&environment=E&service=S` | one [`Event`](crate::Event) per line |
//! | `GET /v1/instances` | [`InstancesAnswer`] |
//! | `GET /v1/instances/{id}` | [`InstanceStatus`] |
//! | `POST /v1/instances/{id}/stop` with [`InstanceRequest`] | [`InstanceStatus`] |
//! | `POST /v1/instances/{id}/taint` with [`InstanceRequest`] | [`InstanceStatus`] |
//! | `POST /v1/instances/{id}/exec` with [`ExecBody`] | [`kiln_provider::ExecResult`] |
//! | `POST /v1/prove` with [`ProveRequest`] | [`ProveAnswer`] |
//! | `POST /v1/compare` with [`CompareRequest`] | [`CompareAnswer`] |
//! | `GET /v1/references` | [`ReferencesAnswer`] |
//! | `GET /v1/registry` | [`RegistryAnswer`] |
//! | `GET /v1/registry/tags?repository=R` | [`TagsAnswer`] |
//! | `POST /v1/registry/collect` with [`CollectRequest`] | [`CollectAnswer`] |
//! | `POST /v1/registry/link` with [`LinkRequest`] | [`LinkAnswer`] |
//! | `POST /v1/shutdown` with [`ShutdownRequest`] | [`VersionAnswer`], then the control plane ends |
//!
//! Anything that fails answers a status of 400 or above with an [`ErrorBody`].

mod acts;
mod basics;
mod hand;
mod instances;
mod proof;
mod registry;
mod sights;

pub use acts::*;
pub use basics::*;
pub use hand::*;
pub use instances::*;
pub use proof::*;
pub use registry::*;
pub use sights::*;
