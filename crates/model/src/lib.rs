//! The words of Kiln as types: everything that several rooms talk about, as plain data.
//!
//! This crate does no IO, reads no clock and takes no random numbers. Types that cross a process or disk border
//! derive `serde`; those a person meets derive a JSON schema too.

mod check;
mod digest;
mod name;
mod policy;
mod quantity;
mod recipe;
mod release;
mod requirement;
mod rollout;
mod secret;
mod service;

pub use check::{
    Check, CheckProbe, CommandCheck, ConfigCheck, FileCheck, FileKind, GroupCheck, HttpCheck, ListeningCheck,
    LoadCheck, LogCheck, MemoryCheck, PackageCheck, ProcessCheck, ReadOnlyRootCheck, Setup, StandIn,
    StartCheck, StopCheck, TcpCheck, TextExpect, Transport, UserCheck,
};
pub use digest::{Digest, DigestError};
pub use name::{FleetId, InstanceId, Name, NameError, ReleaseNumber};
pub use policy::{
    Action, AllowedSecret, Exception, Level, LicensePolicy, Policy, SecretAction, VulnerabilityPolicy,
};
pub use quantity::{Bytes, QuantityError, Span};
pub use recipe::{
    Base, Command, CopyStep, DebianBase, Health, ImageConfig, OciBase, Port, Probe, Protocol, Recipe,
    RunStep, Scripts, Step, Stop, VolumeDecl,
};
pub use release::{Release, ReleaseContent};
pub use requirement::{Requirement, RequirementError};
pub use rollout::{
    Against, Amount, AnalysisSpec, Approval, CanaryTraffic, Checkpoint, HeaderMatch, Metric, MetricSource,
    RolloutSpec, Sticky, Strategy, SyntheticProbe,
};
pub use secret::{Delivery, Secret, SecretRef, SecretRefError, is_env_name};
pub use service::{
    Environment, Expose, Freeze, Limits, Project, Service, Tls, TrafficSpec, TrustedKey, UpgradedDrain,
    VolumeMount,
};
