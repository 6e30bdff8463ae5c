//! Route tables, short to write.

use std::net::SocketAddr;

use kiln_model::{InstanceId, Protocol, Span, UpgradedDrain};
use kiln_proxy::{Backend, Bind, Endpoint, Fleet, Instance, Listener, Mode, Route, RouteTable};

/// An instance by address.
pub(crate) fn instance(id: &str, addr: SocketAddr) -> Instance {
    Instance { id: InstanceId(id.into()), endpoint: Endpoint::Tcp { addr } }
}

/// A fleet of release `number`.
pub(crate) fn fleet(number: u64, weight: u8, instances: &[Instance]) -> Fleet {
    let id = format!("dev/web/{number}").parse().unwrap();
    Fleet { id, weight, instances: instances.to_vec(), draining: Vec::new() }
}

/// An HTTP backend.
pub(crate) fn backend(fleets: &[Fleet]) -> Backend {
    Backend {
        protocol: Protocol::Http,
        fleets: fleets.to_vec(),
        preview: None,
        request_timeout: Span::from_secs(20),
        idle_timeout: Span::from_secs(30),
        upgraded: UpgradedDrain::Wait,
        sticky: None,
        testers: Vec::new(),
        mirror: None,
        hold: Span::default(),
    }
}

/// The backend with one fleet.
pub(crate) fn one_fleet(instances: &[Instance]) -> Backend {
    backend(&[fleet(1, 100, instances)])
}

/// Release 1, which answers from `old`, and release 2 with this weight, which answers from `new`.
pub(crate) fn two_fleets(weight: u8, old: SocketAddr, new: SocketAddr) -> Backend {
    backend(&[fleet(1, 100 - weight, &[instance("old", old)]), fleet(2, weight, &[instance("new", new)])])
}

pub(crate) fn any_port() -> Bind {
    Bind::Tcp { addr: "127.0.0.1:0".parse().unwrap() }
}

pub(crate) fn route(host: Option<&str>, path: &str, backend: &str) -> Route {
    Route { host: host.map(Into::into), path: path.into(), backend: backend.into() }
}

pub(crate) fn http(bind: Bind, routes: Vec<Route>) -> Listener {
    Listener { bind, mode: Mode::Http { tls: Vec::new(), routes } }
}

/// One listener on a free port, all requests to one backend.
pub(crate) fn table(version: u64, backend: Backend) -> RouteTable {
    RouteTable {
        version,
        listeners: vec![http(any_port(), vec![route(None, "/", "dev/web/http")])],
        backends: [("dev/web/http".to_owned(), backend)].into(),
    }
}

/// The same with a raw TCP listener.
pub(crate) fn tcp_table(version: u64, mut backend: Backend) -> RouteTable {
    backend.protocol = Protocol::Tcp;
    let mut table = table(version, backend);
    table.listeners[0].mode = Mode::Tcp { tls: Vec::new(), backend: "dev/web/http".into() };
    table
}
