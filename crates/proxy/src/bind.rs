//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::error::TableError;
use crate::fdpass;
use crate::holder;
use crate::table::Bind;

/// Connections that may wait to be accepted; the system lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// A listening socket of this process.
pub(crate) struct Bound {
    pub(crate) bind: Bind,
    /// Its number in this process; never used twice.
    pub(crate) slot: usize,
    /// The address, for sockets of this machine.
    pub(crate) addr: Option<SocketAddr>,
    pub(crate) socket: TcpListener,
}

impl Bound {
    /// Listens. `before` is the address that port 0 meant earlier, which is taken again when it is free.
    pub(crate) async fn open(
        bind: &Bind,
        slot: usize,
        before: Option<SocketAddr>,
    ) -> Result<Self, TableError> {
        match bind {
            Bind::Tcp { addr } => {
                let again = before.filter(|before| addr.port() == 0 && before.ip() == addr.ip());
                let again = again.and_then(|before| listen(before).ok());
                let socket = again.map_or_else(|| listen(*addr), Ok).map_err(|source| TableError::Bind {
                    addr: *addr,
                    holder: holder::told(*addr, &source),
                    source,
                })?;
                Ok(Self::adopt(bind.clone(), slot, socket))
            }
            Bind::Inside { socket, port } => {
                let failed = |source| TableError::Inside { socket: socket.clone(), port: *port, source };
                let descriptor = fdpass::ask_supervisor(socket, b'L', *port).await.map_err(failed)?;
                let listener = TcpListener::from(descriptor);
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::adopt(bind.clone(), slot, listener))
            }
        }
    }

    /// Takes a socket that listens already.
    pub(crate) fn adopt(bind: Bind, slot: usize, socket: TcpListener) -> Self {
        let addr = match bind {
            Bind::Tcp { .. } => socket.local_addr().ok(),
            Bind::Inside { .. } => None,
        };
        Self { bind, slot, addr, socket }
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(addr)?;
    socket.set_nonblocking(true)?;
    // The standard library's queue of 128 overflows in a burst; listening again sets its length.
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// A listener as people know it.
pub(crate) fn describe(bind: &Bind) -> String {
    match bind {
        Bind::Tcp { addr } => addr.to_string(),
        Bind::Inside { socket, port } => format!("port {port} inside {}", socket.display()),
    }
}
