//! The data that crosses the provider border.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use kiln_model::{FleetId, InstanceId, Name, Release, Span};
use serde::{Deserialize, Serialize};

/// What a fleet is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetSpec {
    /// The release; it carries the image digest and the whole configuration.
    pub release: Release,
    /// Names that instances may call (`http://NAME:PORT/`): each port of each service the release depends on.
    pub peers: Vec<Peer>,
}

/// One port of another service, reachable from instances through the data plane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// The service's name, and the host name instances use.
    pub service: Name,
    /// The port's number as instances see it.
    pub port: u16,
}

/// All that a provider runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Every fleet that was ensured and not removed.
    pub fleets: BTreeMap<FleetId, FleetObservation>,
}

/// One fleet as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetObservation {
    /// The size last asked for.
    pub size: u32,
    /// Every instance that exists, also leaving and dead ones that are not yet forgotten.
    pub instances: Vec<InstanceObservation>,
    /// Starts that ended without the instance ever being ready, in a row.
    pub failed_starts: u32,
    /// Why the last instance that failed did so.
    pub last_failure: Option<Failure>,
}

/// One instance as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceObservation {
    /// Its identity.
    pub id: InstanceId,
    /// Where it stands in its life.
    pub phase: Phase,
    /// Its failure domain (zone, host), where the provider has more than one.
    #[serde(default)]
    pub zone: Option<String>,
    /// When it was started, milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// Since when it has been ready without a break.
    pub ready_since_ms: Option<i64>,
    /// Where the data plane reaches each named port; empty before the network exists.
    pub endpoints: BTreeMap<Name, Endpoint>,
    /// Socket of its supervisor, for instances whose network cannot be reached from outside (rootless): listeners
    /// for the services it calls are asked for there, as [`Endpoint::Dial`] says. `None` where peers are reached
    /// through an address of the machine. Known as soon as the network exists, also for instances without a port.
    #[serde(default)]
    pub supervisor: Option<PathBuf>,
    /// Host process id of its first process, where there is one.
    pub pid: Option<u32>,
    /// Why it is leaving, for [`Phase::Draining`] and [`Phase::Stopping`].
    pub retiring: Option<RetireReason>,
    /// A person executed something in it: it no longer equals its release and will be replaced.
    pub tainted: bool,
    /// What the last failed probe or the exit said.
    pub failure: Option<Failure>,
}

/// Where an instance stands in its life. It only ever moves down this list, except between `Ready` and `Unready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Intended; not started yet (also while back-off lasts).
    Pending,
    /// Runs; has not been healthy yet.
    Starting,
    /// Runs and is healthy.
    Ready,
    /// Was healthy, now fails its probes.
    Unready,
    /// Takes no new requests; waits for [`crate::Provider::drained`].
    Draining,
    /// Was told to stop.
    Stopping,
    /// Its processes are gone.
    Exited,
}

/// Where the data plane reaches one port of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Endpoint {
    /// By address.
    Tcp {
        /// Address and port.
        addr: SocketAddr,
    },
    /// Through a Unix stream socket of the instance's supervisor, for instances whose network cannot be reached
    /// from outside (rootless). The caller writes `C` and the port as two bytes, big endian; the supervisor answers
    /// one byte: 0 with a connected TCP stream attached as an `SCM_RIGHTS` descriptor, or 1 for "refused". With `L`
    /// instead of `C` it answers with a listening socket on 127.0.0.1:port of the instance's network.
    Dial {
        /// The socket's path.
        socket: PathBuf,
        /// The port inside the instance.
        port: u16,
    },
}

/// Why an instance failed, told to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// One sentence: "exited with status 1 after 0.2s", "GET /healthz answered 503".
    pub what: String,
    /// The last lines the instance printed.
    pub log_tail: Vec<String>,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// Why an instance is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetireReason {
    /// The fleet shrinks.
    Surplus,
    /// It fails its health probe.
    Unhealthy,
    /// A person executed something in it.
    Tainted,
    /// A person asked for it.
    Requested,
}

/// A command to execute in an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Time limit; the command is killed afterwards.
    pub timeout: Span,
    /// As whom: `user[:group]`, names or numbers of the image; `None` is the image's user.
    #[serde(default)]
    pub user: Option<String>,
}

/// What an executed command left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecResult {
    /// Exit status; 128 + signal when a signal ended it.
    pub status: i32,
    /// Standard output, at most the last 1 MiB, invalid UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

/// What a provider could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The provider has no such ability.
    #[error("this provider cannot {what}")]
    Unsupported {
        /// The ability, as a verb phrase.
        what: &'static str,
    },
    /// No such instance.
    #[error("there is no instance {0}")]
    NoInstance(InstanceId),
    /// The fleet is known with another release.
    #[error("fleet {0} exists with another release; a fleet never changes its release")]
    ReleaseChanged(FleetId),
    /// The machine or the platform refused.
    #[error("cannot {act} {object}")]
    Failed {
        /// Verb phrase, such as "start".
        act: &'static str,
        /// What it was done to.
        object: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
