//! The sandbox of one instance: what its processes see, may do and run as.

pub(crate) mod caps;
pub(crate) mod complaints;
pub(crate) mod decoy;
pub(crate) mod executor;
pub(crate) mod explain;
pub(crate) mod rootfs;
pub(crate) mod seccomp;
pub(crate) mod secrets;
pub(crate) mod spec;
pub(crate) mod tree;
pub(crate) mod user;
pub(crate) mod userns;
pub(crate) mod volumes;
