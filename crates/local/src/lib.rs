//! The embedded provider: sandboxed instances, shim, networks.
//!
//! [`LocalProvider`] runs fleets as processes of this machine, each under a supervisor of its own ([`shim`]) in a sandbox
//! of the kernel's own means. A program that uses it begins its `main` with [`shim::dispatch`], before any thread exists.

mod cgroup;
mod config;
mod error;
pub mod exec;
mod files;
mod intent;
mod layout;
pub mod logs;
mod net;
mod probe;
mod provider;
mod sandbox;
pub mod shim;

pub use config::{LocalConfig, Rootfs};
pub use error::LocalError;
pub use intent::{
    Exit, Intent, IntentLimits, LogRule, Network, ShimPhase, Status, StopRule, Volume, VolumeSource,
};
pub use layout::InstanceDir;
pub use provider::LocalProvider;
