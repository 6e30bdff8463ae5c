//! The real binary against real processes, sockets and kernels, as a person would use it.

mod bad_releases;
mod bad_sources;
mod checks;
mod checks_foreign;
mod copies;
mod crashes;
mod deploys;
mod events;
mod examples;
mod hands;
mod images;
mod killed;
mod mistakes;
mod promotion;
mod registries;
mod registry;
mod reproducible;
mod secrets;
mod strategies;
mod support;
