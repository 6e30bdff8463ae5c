//! Why the data plane cannot start, or cannot take a table.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the data plane could not run.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The folder cannot be made or written.
    #[error("cannot use the data plane's folder {}: check that it exists on a writable disk", path.display())]
    Dir {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process serves this folder.
    #[error(
        "a data plane already serves {} (process {pid}): stop it, or start this one with --take-over",
        path.display()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Its process id, or `unknown`.
        pid: String,
    },
    /// The control socket cannot be made.
    #[error("cannot listen on the control socket {}", path.display())]
    Control {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The running process did not hand over.
    #[error(
        "cannot take over from the data plane behind {}: is it running? start without --take-over if not",
        path.display()
    )]
    TakeOver {
        /// Its control socket.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A thread or an event loop could not be made.
    #[error("cannot start the data plane's threads")]
    Runtime(#[source] io::Error),
}

/// Why a route table was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Older than, or different from, the one in force.
    #[error("route table {offered} is not newer than {current}, which is in force: send a higher version")]
    Stale {
        /// Version that was sent.
        offered: u64,
        /// Version in force.
        current: u64,
    },
    /// A route names a backend that is not there.
    #[error("listener {listener} routes to backend {backend:?}, which the table does not have")]
    UnknownBackend {
        /// The listener.
        listener: String,
        /// The missing key.
        backend: String,
    },
    /// Two listeners want the same address.
    #[error("two listeners want {listener}: merge their routes")]
    Duplicate {
        /// The listener.
        listener: String,
    },
    /// Weights that are neither all 0 nor sum to 100.
    #[error("the weights of backend {backend:?} sum to {sum}: they must sum to 100, or all be 0")]
    Weights {
        /// The backend.
        backend: String,
        /// What they sum to.
        sum: u32,
    },
    /// An HTTP listener routes to a backend of bytes.
    #[error("listener {listener} speaks HTTP, but backend {backend:?} takes raw TCP: use a TCP listener")]
    Mode {
        /// The listener.
        listener: String,
        /// The backend.
        backend: String,
    },
    /// A preview, tester, mirror or sticky rule that cannot work.
    #[error("backend {backend:?}: {what}")]
    Backend {
        /// The backend.
        backend: String,
        /// What is wrong and how it would be right.
        what: String,
    },
    /// A route that cannot work.
    #[error("listener {listener}: {what}")]
    Route {
        /// The listener.
        listener: String,
        /// What is wrong and how it would be right.
        what: String,
    },
    /// Nobody can listen there.
    #[error("cannot listen on {addr}{holder}: free the address or choose another")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// ", which process 12 (nginx) holds", or nothing.
        holder: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An instance's supervisor did not hand over a listener.
    #[error("cannot listen on port {port} inside the instance behind {}", socket.display())]
    Inside {
        /// The supervisor's socket.
        socket: PathBuf,
        /// The port.
        port: u16,
        /// What the system or the supervisor said.
        #[source]
        source: io::Error,
    },
    /// A certificate cannot be used.
    #[error("cannot use certificate {} with key {}: {what}", chain.display(), key.display())]
    Certificate {
        /// The chain's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The table could not be kept.
    #[error("cannot keep the route table in {}: free space or make the folder writable", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
