//! A proxy, instances, clients.

pub(crate) mod client;
pub(crate) mod instance;
pub(crate) mod proxy;
pub(crate) mod tables;

pub(crate) use client::*;
pub(crate) use instance::*;
pub(crate) use proxy::*;
pub(crate) use tables::*;
