//! The data plane over real sockets: a proxy on threads of this process (or in a process of its own, where its death
//! matters), instances and clients made of hyper or of plain bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod support;

mod connections;
mod hold;
mod http1;
mod http2;
mod limits;
mod metrics;
mod mirror;
mod process;
mod retry;
mod routing;
mod shares;
mod smuggling;
mod sticky;
mod supervisor;
mod swap;
mod tcp;
mod testers;
mod tls;
mod websocket;
