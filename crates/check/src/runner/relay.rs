//! The data plane of stand-ins: whoever connects to a stand-in's port, at the address its name stands for, is
//! connected with it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use kiln_provider::Endpoint;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::ProveError;
use crate::connect::{Connector, Direct};

/// Relays at work; they end when this is dropped.
#[derive(Default)]
pub(crate) struct Relays(JoinSet<()>);

/// Listens on the address of a bridge.
pub(crate) async fn on(
    relays: &mut Relays,
    address: Ipv4Addr,
    routes: &BTreeMap<u16, Endpoint>,
) -> Result<(), ProveError> {
    for (port, endpoint) in routes {
        let listener = TcpListener::bind((address, *port)).await;
        let listener =
            listener.map_err(ProveError::file("listen for stand-ins on", format!("{address}:{port}")))?;
        relays.0.spawn(relay(listener, endpoint.clone()));
    }
    Ok(())
}

/// Listens in the network of the instance itself. A port that it has taken meanwhile is its own.
pub(crate) async fn inside(relays: &mut Relays, supervisor: &Path, routes: &BTreeMap<u16, Endpoint>) {
    for (port, endpoint) in routes {
        if let Ok(listener) = kiln_local::shim::client::listen(supervisor, *port).await {
            relays.0.spawn(relay(listener, endpoint.clone()));
        }
    }
}

async fn relay(listener: TcpListener, endpoint: Endpoint) {
    let mut open = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let endpoint = endpoint.clone();
        while open.try_join_next().is_some() {}
        open.spawn(async move {
            // The caller sees a closed connection, as it would from a service that is down.
            if let Ok(mut far) = Direct.connect(&endpoint).await {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}
