//! Where things are below `$KILN_HOME`.
//!
//! ```text
//! instances/<id>/intent.json   what it is to be, before it exists
//!                status.json   what became of it
//!                lock          flock held by its supervisor for life
//!                shim.sock     its supervisor
//!                ready         present while it is ready
//!                retire.json   why it leaves
//!                taint         present: a person executed something in it
//!                skeleton/     mount points and /etc files laid over the image's tree
//!                root/         where its root file system is put together, seen only by itself
//!                secrets/      where its secrets are kept in memory, seen only by its supervisor
//!                run/<id>/     state of the container library
//!                config.json   OCI runtime configuration
//!                log/current, log/1, log/2 …
//! fleets/<environment>.<service>.<release>.json
//! network.json                 the subnet that this home chose
//! volumes/<project>/<service>/<volume>/
//! ```

use std::path::{Path, PathBuf};

use kiln_model::{FleetId, InstanceId};

/// Paths of one home.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    home: PathBuf,
}

impl Layout {
    pub(crate) fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into() }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn instances(&self) -> PathBuf {
        self.home.join("instances")
    }

    pub(crate) fn fleets(&self) -> PathBuf {
        self.home.join("fleets")
    }

    pub(crate) fn fleet(&self, id: &FleetId) -> PathBuf {
        self.fleets().join(format!("{}.{}.{}.json", id.environment, id.service, id.release))
    }

    pub(crate) fn network(&self) -> PathBuf {
        self.home.join("network.json")
    }

    pub(crate) fn volume(&self, project: &str, service: &str, volume: &str) -> PathBuf {
        self.home.join("volumes").join(project).join(service).join(volume)
    }

    pub(crate) fn instance(&self, id: &InstanceId) -> InstanceDir {
        InstanceDir::new(self.instances().join(id.as_str()))
    }
}

/// Paths of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceDir {
    path: PathBuf,
}

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub fn $name(&self) -> PathBuf {
            self.path.join($file)
        })*
    };
}

impl InstanceDir {
    /// The folder of an instance.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    paths! {
        /// What it is to be.
        intent = "intent.json";
        /// What became of it.
        status = "status.json";
        /// Held by its supervisor.
        lock = "lock";
        /// Its supervisor's socket.
        socket = "shim.sock";
        /// Present once a person executed something in it.
        taint = "taint";
        /// Folder of its output.
        log = "log";
        /// Mount points laid over the image's tree.
        skeleton = "skeleton";
        /// Where its root is put together.
        root = "root";
        /// Where its control groups are shown to it from.
        limits = "limits";
        /// Where its secrets are kept in memory, seen only by its supervisor.
        secrets = "secrets";
        /// State of the container library.
        run = "run";
        /// Present while it is ready; holds since when.
        ready = "ready";
        /// Why it leaves.
        retire = "retire.json";
        /// OCI runtime configuration.
        config = "config.json";
        /// What the container library complained about while the sandbox was made.
        complaints = "create.log";
    }
}
