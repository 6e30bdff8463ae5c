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
    /// Requests and raw connections that wait for a table that can serve them, by backend; backends without any are left
    /// out. They are in flight on no instance. This process's own: a predecessor's are not among them.
    #[serde(default)]
    pub held: BTreeMap<String, u64>,
    /// When the counters began, in milliseconds since 1970: another number means that all of them began anew. (A fleet
    /// that left the table long ago and came back begins anew alone; then its `requests` are fewer than before.)
    #[serde(default)]
    pub started_ms: u64,
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

/// Counters of one fleet: of every request that it served, whether weight, a preview, a tester's header or mirroring
/// brought it there.
///
/// Each request is counted once in `requests`, however often it was tried, when the head of its answer has come, or
/// when it is given up. `failed` are those of them that went wrong, each once, and all others went well so far. An
/// answer that breaks off is found out later than it was counted, so between two looks there may be more new failures
/// than new requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetMetrics {
    /// Requests answered or given up.
    pub requests: u64,
    /// Answers by status class; index 0 is 1xx.
    pub status: [u64; 5],
    /// Requests without a whole answer from an instance: refused, broken before or after the head, nonsense, time-out.
    pub errors: u64,
    /// Requests with a 5xx answer, without an answer, or whose answer the instance broke off after its head (also by
    /// falling silent for the idle time-out in a body of declared length). Not what clients broke off.
    #[serde(default)]
    pub failed: u64,
    /// Requests whose client left before the head of the answer came: part of nothing else here.
    #[serde(default)]
    pub abandoned: u64,
    /// Those of `requests` that were copies (`Backend::mirror`); the others are of users.
    #[serde(default)]
    pub mirrored: u64,
    /// Copies that were not sent, because too many were under way or no instance was ready: part of nothing else here.
    #[serde(default)]
    pub mirror_dropped: u64,
    /// Latency from the request's head to the response's head, without the time that the request was held: upper bounds
    /// in microseconds and counts, not cumulative.
    pub latency: Vec<(u64, u64)>,
}
