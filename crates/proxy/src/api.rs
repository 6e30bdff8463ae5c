//! What the data plane answers on its control socket: HTTP/1.1 with JSON over a Unix stream socket.
//!
//! | request | answer |
//! |---|---|
//! | `PUT /v1/table` with a [`RouteTable`](crate::RouteTable) | 200 [`Ack`], or 409/422 [`Refused`] and the old table stands |
//! | `GET /v1/table` | the table in force |
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/status?after=SEQ` | the same, as soon as `seq` is above SEQ (long poll, at most 30 s) |
//! | `GET /metrics` | Prometheus text |
//! | `POST /v1/stop` | 200 [`Stopping`], then lame duck and exit |

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kiln_model::{FleetId, InstanceId};
use serde::{Deserialize, Serialize};

use crate::table::Bind;

/// The table with this version is in force: every request that begins from now on is routed by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Version in force.
    pub version: u64,
}

/// The table was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Version still in force.
    pub version: u64,
    /// Why, told to people.
    pub error: String,
}

/// What the data plane sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Grows whenever something below other than a counter changes (version, an instance becoming idle, ejection).
    pub seq: u64,
    /// Version of the table in force.
    pub version: u64,
    /// Process id.
    pub pid: u32,
    /// Addresses really listened on.
    pub listeners: Vec<ListenerStatus>,
    /// Work under way, by instance; instances without any are left out.
    pub in_flight: BTreeMap<InstanceId, InFlight>,
    /// Instances that passive ejection keeps out at present.
    pub ejected: Vec<InstanceId>,
    /// Counters since the proxy started, by fleet.
    pub fleets: BTreeMap<FleetId, FleetMetrics>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// As the table asked.
    pub bind: Bind,
    /// As it is; `None` for sockets inside an instance.
    pub addr: Option<SocketAddr>,
    /// Why it does not listen; happens only after a restart, when the address of a kept table is not free any more.
    /// It is tried again every second.
    #[serde(default)]
    pub error: Option<String>,
}

/// The answer to `POST /v1/stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// The process that is ending.
    pub pid: u32,
}

/// Work under way on one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Requests whose response has not wholly been sent, and raw TCP connections.
    pub requests: u64,
    /// Upgraded connections.
    pub upgraded: u64,
}

/// Counters of one fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetMetrics {
    /// Requests answered (or failed), preview and retries included once.
    pub requests: u64,
    /// Answers by status class; index 0 is 1xx.
    pub status: [u64; 5],
    /// Requests that ended without an answer from an instance (connection refused or broken, time-out).
    pub errors: u64,
    /// Latency from the request's head to the response's head: upper bounds in microseconds and counts, not cumulative.
    pub latency: Vec<(u64, u64)>,
}
