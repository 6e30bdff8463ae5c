//! What an instance is to be, written before it exists, and what became of it.
//!
//! `intent.json` is all that a supervisor needs: it starts without asking anybody. `status.json` is written by the
//! supervisor alone (and, once that one is dead, by the provider that cleans up behind it). Neither is synced to the
//! disk: after a power failure no process is left that they could describe; against the death of any process a
//! rename is enough.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use kiln_model::{Delivery, FleetId, InstanceId};
use serde::{Deserialize, Serialize};

/// An instance to be: everything that does not change during its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Its identity and host name.
    pub id: InstanceId,
    /// The fleet it is a part of.
    pub fleet: FleetId,
    /// The extracted root tree of its image, shared and never written.
    pub tree: PathBuf,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Secrets by name, and how it gets them; the values are handed over when it is started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Delivery>,
    /// `user[:group]`, names or numbers, looked up in the image; `None` is root.
    pub user: Option<String>,
    /// Absolute working folder.
    pub workdir: String,
    /// How it is reached and what it reaches.
    pub network: Network,
    /// Other services by name, reached at `peers_at`.
    pub peers: Vec<String>,
    /// Address that peers' names stand for.
    pub peers_at: Ipv4Addr,
    /// Limits; bytes, processors, processes.
    pub limits: IntentLimits,
    /// Writable places.
    pub volumes: Vec<Volume>,
    /// How it is asked to stop.
    pub stop: StopRule,
    /// What is kept of its output.
    pub log: LogRule,
    /// Name of the control group, relative to each hierarchy's root (or the delegated folder).
    pub cgroup: String,
    /// Whether it runs in a user namespace of an ordinary user.
    pub rootless: bool,
    /// When it was intended, milliseconds since the Unix epoch.
    pub created_ms: i64,
}

/// How an instance is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Network {
    /// Its own address on the bridge of this home.
    Bridge {
        /// The bridge's interface name on the host.
        bridge: String,
        /// The host's end of the cable.
        host_end: String,
        /// The instance's address.
        address: Ipv4Addr,
        /// Length of the subnet's prefix in bits.
        prefix: u8,
        /// The bridge's address: default route and seat of the data plane.
        gateway: Ipv4Addr,
    },
    /// Loopback only; connections come through the supervisor's socket.
    Loopback,
}

/// Limits of one instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IntentLimits {
    /// Memory and swap together, bytes.
    pub memory: Option<u64>,
    /// Processors.
    pub cpu: Option<f64>,
    /// Processes and threads.
    pub pids: u32,
}

/// One writable place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Absolute path in the instance.
    pub path: String,
    /// What is there.
    pub source: VolumeSource,
    /// Whether the instance may only read.
    pub read_only: bool,
}

/// What a writable place is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum VolumeSource {
    /// A folder that Kiln keeps; a new, empty one is given to the image's user.
    Kept {
        /// On the host.
        folder: PathBuf,
    },
    /// A folder of the host as it is.
    Host {
        /// On the host.
        folder: PathBuf,
    },
    /// Memory that dies with the instance.
    Memory {
        /// Upper limit in bytes; `None` is half of the machine's memory.
        size: Option<u64>,
    },
}

/// How an instance is asked to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRule {
    /// Signal name with `SIG`.
    pub signal: String,
    /// Milliseconds from the signal to SIGKILL.
    pub grace_ms: u64,
}

/// What is kept of an instance's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRule {
    /// Bytes of one log file.
    pub max_bytes: u64,
    /// Number of log files.
    pub files: u32,
}

impl Default for LogRule {
    /// 10 MiB times 3: enough for a day of a talkative service, little enough for a small disk.
    fn default() -> Self {
        Self { max_bytes: 10 << 20, files: 3 }
    }
}

/// What became of an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Where it stands.
    pub phase: ShimPhase,
    /// The supervisor's process id.
    pub shim_pid: u32,
    /// The first process's id on the host.
    pub pid: Option<u32>,
    /// When that process began, in the kernel's ticks since boot: process ids are used again, this is not.
    pub pid_start: Option<u64>,
    /// The kernel's boot id: another one means that everything below is long gone.
    pub boot: String,
    /// When the program was executed, milliseconds since the Unix epoch.
    pub started_ms: Option<i64>,
    /// What is weaker here than it was asked for, told to people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// Where a supervised instance stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShimPhase {
    /// The sandbox is being made.
    #[default]
    Creating,
    /// The program was executed.
    Running,
    /// It was told to stop.
    Stopping,
    /// All its processes are gone, or it never ran.
    Exited,
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// One sentence without the time it took: "exited with status 1".
    pub what: String,
    /// Exit status; 128 + signal; `None` when the program never ran.
    pub status: Option<i32>,
    /// The kernel killed it for its memory limit.
    #[serde(default)]
    pub out_of_memory: bool,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: i64,
}
