//! The control plane: state, reconcile loops, API.
//!
//! What a person asks for becomes a durable intent in one transaction (`ops`); the reconcile loop (`reconcile`)
//! looks at the world, lets the pure rollout engine decide, writes the decision down, and then performs it with
//! idempotent "ensure"s on a [`Provider`](kiln_provider::Provider) and on the data plane ([`Traffic`]). Whatever dies
//! at whatever instruction, the next look goes on from what was written down.

pub mod api;
mod budget;
pub mod client;
mod clock;
mod diff;
mod digest;
mod drain;
mod error;
mod event;
mod home;
mod http;
mod measure;
mod ops;
mod proof;
mod reconcile;
mod record;
pub mod registry;
pub mod routes;
mod serve;
mod socket;
pub mod state;
mod supervisor;
#[cfg(test)]
mod testing;
mod traffic;
mod view;

pub use clock::{Clock, SystemClock};
pub use diff::{Difference, differences};
pub use digest::{config_digest, content_digest};
pub use event::{Counts, Event, KILN, Progress, Purpose, RolloutId, What};
pub use http::{Api, serve_registry};
pub use ops::ControlError;
pub use proof::{Known, NoProofs, ProofError, Proofs, Question, Soaked, StoreProofs};
pub use reconcile::{Control, Settings};
pub use record::{Recorder, witness, witness_path};
pub use registry::{RegistryHome, RegistryService, RegistrySettings};
pub use serve::{ServeConfig, ServeError, serve};
pub use traffic::{Traffic, TrafficError};
