//! The route table: all that the data plane knows, replaced as a whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use kiln_model::{FleetId, InstanceId, Protocol, Span, Sticky, UpgradedDrain};
use serde::{Deserialize, Serialize};

/// A whole configuration of the data plane. A table with a version not above the current one is refused
/// (equal version and equal content is acknowledged again).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Grows with every change.
    pub version: u64,
    /// Sockets to listen on.
    pub listeners: Vec<Listener>,
    /// Backends by `environment/service/port`.
    pub backends: BTreeMap<String, Backend>,
}

/// One listening socket and what it serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// Where to listen.
    pub bind: Bind,
    /// What is spoken.
    pub mode: Mode,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Bind {
    /// An address of this machine; port 0 lets the system choose (the status tells which).
    Tcp {
        /// Address and port.
        addr: SocketAddr,
    },
    /// A socket inside an instance's private network, handed over by its supervisor on connection to `socket`: the
    /// proxy writes `L` and the port as two bytes, big endian; the supervisor answers one byte 0 with a listening
    /// TCP socket on 127.0.0.1:port of that network attached as `SCM_RIGHTS`, or 1.
    Inside {
        /// The supervisor's socket.
        socket: PathBuf,
        /// The port inside the instance.
        port: u16,
    },
}

/// What a listener speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Mode {
    /// HTTP/1.1 and HTTP/2 (with prior knowledge, or by ALPN under TLS).
    Http {
        /// Certificates; empty is plain text. Chosen by SNI, the first is the default.
        tls: Vec<Certificate>,
        /// Routes; the most specific host, then the longest path prefix, wins.
        routes: Vec<Route>,
    },
    /// Bytes to one backend.
    Tcp {
        /// Certificates, when TLS ends here.
        tls: Vec<Certificate>,
        /// Key into [`RouteTable::backends`].
        backend: String,
    },
}

/// A certificate by path; the files are read when a table is applied, and a table whose files cannot be read or do not fit is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// PEM chain, leaf first.
    pub chain: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// One HTTP route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Exact host, `*.suffix`, or `None` for any. Compared without port and case.
    pub host: Option<String>,
    /// Prefix on segment borders: `/api` serves `/api` and `/api/x`, not `/apix`.
    pub path: String,
    /// Key into [`RouteTable::backends`].
    pub backend: String,
}

/// One port of one service: its fleets and how requests to them are treated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// What the instances speak.
    pub protocol: Protocol,
    /// Fleets with their weights.
    pub fleets: Vec<Fleet>,
    /// Preview of a fleet at weight 0.
    pub preview: Option<Preview>,
    /// Time to the response's head; zero is no limit.
    pub request_timeout: Span,
    /// Silence in both directions on a connection; zero is no limit.
    pub idle_timeout: Span,
    /// What happens to upgraded connections whose instance drains.
    pub upgraded: UpgradedDrain,
    /// Keeps HTTP clients with the fleet that they were given. Each client has a point in [0, 2^32), the fleets have
    /// contiguous ranges of it as wide as their weights, the highest release number first: who is with the newest
    /// fleet stays with it while its weight grows. See `docs/traffic.md` for the hash.
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// HTTP requests that go to a fleet whatever the weights; the first that fits counts. When its fleet has no ready
    /// instance, the request goes where it would have gone otherwise. The preview is above it, `sticky` below.
    #[serde(default)]
    pub testers: Vec<Tester>,
    /// A fleet that gets copies of other fleets' safe HTTP requests.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// While no fleet with weight has a ready instance, requests and raw connections wait so long at most for a table
    /// that can serve them; then, and beyond 1,024 waiting at once, they are refused (503). Zero refuses at once. The
    /// table in force counts, also for those that wait already. Requests that ask for the preview never wait.
    #[serde(default)]
    pub hold: Span,
}

/// Requests with a header go to a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tester {
    /// Name of the header.
    pub header: String,
    /// Exact value of one of the header's lines; `None` is any.
    #[serde(default)]
    pub value: Option<String>,
    /// Where they go: a fleet of the same backend, or the table is refused.
    pub fleet: FleetId,
}

/// Copies of GET, HEAD and OPTIONS requests without a body that other fleets serve. The answers are thrown away;
/// copies carry `kiln-mirror: 1`, and what carries it already is not copied again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// Which fleet gets the copies: one of the same backend, or the table is refused.
    pub fleet: FleetId,
    /// Share of those requests in percent, 0 to 100; exact over every 100 of them.
    pub percent: u8,
}

/// One fleet of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// Which.
    pub id: FleetId,
    /// Share of the requests; shares of a backend sum to 100, or all are 0 (see [`Backend::hold`]).
    pub weight: u8,
    /// Ready instances, which take requests.
    pub instances: Vec<Instance>,
    /// Instances that take no new request but are still watched until their last one has finished.
    pub draining: Vec<Instance>,
}

/// One instance of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Which.
    pub id: InstanceId,
    /// How to reach it.
    pub endpoint: Endpoint,
}

/// How to reach an instance. The same shapes as the provider's endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Endpoint {
    /// By address.
    Tcp {
        /// Address and port.
        addr: SocketAddr,
    },
    /// By a connected descriptor from the supervisor: connect to `socket`, write `C` and the port as two bytes, big
    /// endian; the answer is one byte 0 with the stream attached as `SCM_RIGHTS`, or 1 for "refused".
    Dial {
        /// The supervisor's socket.
        socket: PathBuf,
        /// The port inside the instance.
        port: u16,
    },
}

/// How requests reach a fleet at weight 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// Request header whose value is `next` or the release number.
    pub header: String,
    /// Host that always means the newest fleet.
    pub host: Option<String>,
    /// The newest fleet, which `next` means: one of the same backend, or the table is refused.
    pub fleet: FleetId,
}
