//! A registry: the server side of the OCI distribution specification 1.1 on Kiln's content store.
//!
//! Bytes are in the store, which bakes and runs may share; who has what under which name is in a database of the
//! registry's own:
//!
//! ```text
//! <store>/blobs/sha256/…, blobs/sha512/…   blobs and manifests
//! <store>/uploads/…                        uploads under way
//! <data>/registry.db                       repositories, tags, links, referrers, leases
//! <data>/token.key                         what tokens are signed with
//! <data>/registry.lock                     held by the process that has the registry open
//! ```
//!
//! A blob or manifest is on the disk under its name before the database says that a repository has it, and the
//! database says that it does not before its file goes. A server that dies in between leaves files that nothing
//! names, which the next collection frees.
//!
//! Tags do not move unless a rule lets them; collections run while everything else goes on: see [`Registry::collect`].

mod acts;
mod auth;
mod cache;
mod config;
mod db;
mod document;
mod error;
mod gc;
mod hold;
mod http;
mod listen;
mod metrics;
mod mirror;
mod registry;
mod storage;
mod upload;

pub use acts::{Act, Deed, Told};
pub use auth::{Access, Action, Grant};
pub use config::{Clock, Quota, RegistryConfig, RepositoryRule, Retention, Rules, TlsFiles, system_clock};
pub use db::{Kept, ListedTag, Removed, RepositorySummary};
pub use error::{DbError, RegistryError};
pub use gc::{CollectOptions, Freed, GcReport, KeptFiles, Protect, ProtectError};
pub use mirror::{Mirror, Upstream, UpstreamBlob, UpstreamError, UpstreamManifest};
pub use registry::Registry;
