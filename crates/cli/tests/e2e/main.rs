//! The real binary against real processes, sockets and kernels, as a person would use it.

mod crashes;
mod deploys;
mod examples;
mod hands;
mod images;
mod mistakes;
mod reproducible;
mod support;
