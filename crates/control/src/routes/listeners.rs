//! Listeners: claims on sockets, merged where they can share one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kiln_model::{Expose, Protocol, Span};
use kiln_proxy::{Bind, Certificate, Listener, Mode, Route, RouteTable};

use super::{FleetInput, Service, backends, listen_address};

/// A service's wish to be reached through a socket.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) bind: Bind,
    pub(super) tls: Option<Certificate>,
    pub(super) route: Claimed,
    /// `environment/service`, for people.
    pub(super) owner: String,
}

/// What of the socket is claimed.
#[derive(Clone, Debug)]
pub(super) enum Claimed {
    /// All of it.
    Bytes { backend: String },
    /// Requests of one host and path.
    Requests(Route),
}

impl Claim {
    /// Whether a listener grants it.
    fn stands(&self, listener: &Listener) -> bool {
        let (tls, granted) = match (&listener.mode, &self.route) {
            (Mode::Tcp { tls, backend }, Claimed::Bytes { backend: claimed }) => (tls, backend == claimed),
            (Mode::Http { tls, routes }, Claimed::Requests(route)) => (tls, routes.contains(route)),
            (Mode::Tcp { .. }, Claimed::Requests(_)) | (Mode::Http { .. }, Claimed::Bytes { .. }) => {
                return false;
            }
        };
        let secured = self.tls.as_ref().map_or(tls.is_empty(), |certificate| tls.contains(certificate));
        listener.bind == self.bind && granted && secured
    }
}

/// A claim on what another service already holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The two do not speak the same.
    #[error("{second} wants {bind} for {wanted}, but {first} has it for {held}")]
    Speech {
        /// The socket.
        bind: String,
        /// Who has it.
        first: String,
        /// Who wants it.
        second: String,
        /// What it is used for.
        held: &'static str,
        /// What it is wanted for.
        wanted: &'static str,
    },
    /// The two want the same requests.
    #[error("{second} wants requests to {bind}, host {host}, path {path}, but {first} has them")]
    Route {
        /// The socket.
        bind: String,
        /// Who has them.
        first: String,
        /// Who wants them.
        second: String,
        /// Host, or "any".
        host: String,
        /// Path prefix.
        path: String,
    },
}

impl Service<'_> {
    /// The claims of the leader's `expose` blocks. Between two releases, where there is no leader, those that the `last`
    /// table granted stand on: requests that are to wait must get in, and those that are not are told 503, not refused. Bytes
    /// cannot be told anything.
    pub(super) fn exposed(&self, last: &RouteTable) -> Vec<Claim> {
        if let Some(leader) = self.leader() {
            return self.claims_of(leader).collect();
        }
        if self.fleets.iter().any(|fleet| fleet.leaving) {
            return Vec::new();
        }
        let waits = self.hold() > Span::default();
        let all = self.fleets.iter().rev().flat_map(|fleet| self.claims_of(fleet));
        let told = all.filter(|claim| waits || matches!(claim.route, Claimed::Requests(_)));
        told.filter(|claim| last.listeners.iter().any(|listener| claim.stands(listener))).collect()
    }

    fn claims_of(&self, fleet: &FleetInput<'_>) -> impl Iterator<Item = Claim> {
        let exposes = &fleet.stored.release.content.service.expose;
        exposes.iter().flat_map(|expose| self.claims(fleet, expose))
    }

    fn claims(&self, leader: &FleetInput<'_>, expose: &Expose) -> Vec<Claim> {
        let content = &leader.stored.release.content;
        let Some(port) = content.config.ports.get(&expose.port) else { return Vec::new() };
        let Ok(addr) = listen_address(expose, port.protocol, port.number) else { return Vec::new() };
        let backend = backends::key(self.environment, self.name, &expose.port);
        let certificate = expose
            .tls
            .as_ref()
            .map(|tls| Certificate { chain: PathBuf::from(&tls.certificate), key: PathBuf::from(&tls.key) });
        let claim = |route| Claim {
            bind: Bind::Tcp { addr },
            tls: certificate.clone(),
            route,
            owner: format!("{}/{}", self.environment, self.name),
        };
        if port.protocol == Protocol::Tcp {
            return vec![claim(Claimed::Bytes { backend })];
        }
        let own = expose.host.as_ref().map(|host| host.to_ascii_lowercase());
        let preview = content.service.traffic.preview_host.as_ref().map(|host| host.to_ascii_lowercase());
        let hosts =
            [own.clone()].into_iter().chain(preview.filter(|host| Some(host) != own.as_ref()).map(Some));
        let route = |host| Route { host, path: expose.path.clone(), backend: backend.clone() };
        hosts.map(|host| claim(Claimed::Requests(route(host)))).collect()
    }
}

/// Puts claims on the same socket together; of two that exclude each other the first one stays.
pub(super) fn merge(claims: Vec<Claim>) -> (Vec<Listener>, Vec<Conflict>) {
    let mut sockets: BTreeMap<Bind, Socket> = BTreeMap::new();
    let mut conflicts = Vec::new();
    for claim in claims {
        match sockets.entry(claim.bind.clone()) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Socket::new(claim));
            }
            std::collections::btree_map::Entry::Occupied(mut held) => {
                conflicts.extend(held.get_mut().add(claim));
            }
        }
    }
    let listeners = sockets.into_iter().map(|(bind, socket)| Listener { bind, mode: socket.mode() });
    (listeners.collect(), conflicts)
}

/// One socket with the claims that were granted.
struct Socket {
    claims: Vec<Claim>,
}

impl Socket {
    fn new(claim: Claim) -> Self {
        Self { claims: vec![claim] }
    }

    fn add(&mut self, claim: Claim) -> Option<Conflict> {
        let first = &self.claims[0];
        let (held, wanted) = (speech(first), speech(&claim));
        if held != wanted || matches!(claim.route, Claimed::Bytes { .. }) {
            let same = matches!((&first.route, &claim.route), (Claimed::Bytes { backend: a }, Claimed::Bytes { backend: b }) if a == b);
            return (!same).then(|| Conflict::Speech {
                bind: told(&claim.bind),
                first: first.owner.clone(),
                second: claim.owner.clone(),
                held,
                wanted,
            });
        }
        let Claimed::Requests(wanted) = &claim.route else { return None };
        for granted in &self.claims {
            let Claimed::Requests(route) = &granted.route else { continue };
            if route.host != wanted.host || route.path != wanted.path {
                continue;
            }
            return (route.backend != wanted.backend).then(|| Conflict::Route {
                bind: told(&claim.bind),
                first: granted.owner.clone(),
                second: claim.owner.clone(),
                host: wanted.host.clone().unwrap_or_else(|| "any".into()),
                path: wanted.path.clone(),
            });
        }
        self.claims.push(claim);
        None
    }

    fn mode(self) -> Mode {
        let mut tls: Vec<Certificate> = Vec::new();
        let mut routes = Vec::new();
        let mut bytes = None;
        for claim in self.claims {
            tls.extend(claim.tls.filter(|certificate| !tls.contains(certificate)));
            match claim.route {
                Claimed::Bytes { backend } => bytes = Some(backend),
                Claimed::Requests(route) => routes.push(route),
            }
        }
        match bytes {
            Some(backend) => Mode::Tcp { tls, backend },
            None => Mode::Http { tls, routes },
        }
    }
}

fn speech(claim: &Claim) -> &'static str {
    match (&claim.route, &claim.tls) {
        (Claimed::Bytes { .. }, None) => "TCP",
        (Claimed::Bytes { .. }, Some(_)) => "TCP with TLS",
        (Claimed::Requests(_), None) => "HTTP",
        (Claimed::Requests(_), Some(_)) => "HTTPS",
    }
}

fn told(bind: &Bind) -> String {
    match bind {
        Bind::Tcp { addr } => addr.to_string(),
        Bind::Inside { port, .. } => format!("port {port} for the services it calls"),
    }
}
