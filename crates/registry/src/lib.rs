//! The OCI distribution specification 1.1: the server that `kiln registry` is, and the client that pushes and pulls.

pub mod client;
pub mod digest;
pub mod name;
pub mod server;
