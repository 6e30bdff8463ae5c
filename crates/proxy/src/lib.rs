//! The data plane: listeners, routes, weights between fleets, and what happens to every request on its way.
//!
//! One process ([`run`]), several threads. A traffic thread (`worker`) has an event loop and upstream connections of
//! its own and locks nothing on a request's way. The control thread (`keeper`) takes route tables over a Unix socket
//! (`control`), keeps the last one on disk (`disk`), and replaces the compiled table (`live`) as a whole. The
//! control plane uses [`ProxyClient`]. The crate knows tables, not releases: it decides nothing, and it serves on
//! when nobody tells it anything.
//!
//! A request: `conn` accepts → `serve` reads its head → `exchange` chooses an instance, counts the request on it,
//! sends it, and tries another instance when that is safe → `body` streams the answer, and what was counted ends
//! with its last byte. `turns` says which fleet's turn it is, `sticky` which fleet a client belongs to, `mirror` sends
//! copies, `hold` keeps requests that no fleet can take at present.

mod answer;
mod api;
mod bind;
mod body;
mod client;
mod compile;
mod config;
mod conn;
mod continued;
mod control;
mod disk;
mod error;
mod exchange;
mod executor;
mod fdpass;
mod frames;
mod headers;
mod hold;
mod holder;
mod io;
mod keeper;
mod live;
mod metrics;
mod mirror;
mod pool;
mod predecessor;
mod registry;
mod relay;
mod router;
mod run;
mod serve;
mod shared;
mod status;
mod sticky;
mod table;
mod target;
mod tcp;
mod ticker;
mod tls;
mod turns;
mod unixpath;
mod upgrade;
mod upstream;
mod validate;
mod worker;

pub use api::*;
pub use client::{ClientError, ProxyClient};
pub use config::{Limits, ProxyConfig};
pub use error::{ProxyError, TableError};
pub use metrics::latency_bounds;
pub use run::run;
pub use table::*;
