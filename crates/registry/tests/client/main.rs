//! The client against a hostile server, and against real registries and their tools.

mod credentials;
mod downloads;
mod kit;
mod uploads;
mod wire;
