//! From a route table to what the workers use.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderName;
use rustls::ServerConfig;

use crate::live::{Destination, Live, LiveBackend, LiveFleet, LiveListener, LiveMode, LivePreview, round};
use crate::registry::{Part, Registry, Role};
use crate::router::Router;
use crate::table::{Backend, Fleet, Mode, Route, RouteTable};

/// A listener to compile: its slot, what it serves, its certificates.
pub(crate) struct Source<'a> {
    pub(crate) slot: usize,
    pub(crate) mode: &'a Mode,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// Compiles a table that was validated; the registry learns what every instance's part will be.
pub(crate) fn compile(
    registry: &mut Registry,
    table: &Arc<RouteTable>,
    generation: u64,
    sources: Vec<Source<'_>>,
) -> Live {
    let backends: HashMap<&str, Arc<LiveBackend>> = table
        .backends
        .iter()
        .map(|(key, backend)| (key.as_str(), Arc::new(compile_backend(registry, key, backend))))
        .collect();
    let listeners = sources.into_iter().filter_map(|source| {
        let mode = match source.mode {
            Mode::Http { routes, .. } => LiveMode::Http(compile_routes(table, &backends, routes)),
            // A listener that is going away may have lost its backend before its last connection.
            Mode::Tcp { backend, .. } => LiveMode::Tcp(Arc::clone(backends.get(backend.as_str())?)),
        };
        Some((source.slot, Arc::new(LiveListener { tls: source.tls, mode })))
    });
    Live { generation, table: Arc::clone(table), listeners: listeners.collect() }
}

fn compile_routes(
    table: &RouteTable,
    backends: &HashMap<&str, Arc<LiveBackend>>,
    routes: &[Route],
) -> Router<Destination> {
    let mut router = Router::new();
    let known = |route: &Route| backends.get(route.backend.as_str()).map(Arc::clone);
    for route in routes {
        let Some(backend) = known(route) else { continue };
        // A route that names the preview host is the person's own way to say what the preview means.
        let preview = table.backends.get(&route.backend).and_then(|backend| backend.preview.as_ref());
        let is_preview = preview.is_some_and(|preview| preview.host.is_some() && preview.host == route.host);
        let fleet = backend.preview.as_ref().and_then(|preview| preview.newest).filter(|_| is_preview);
        router.add(route.host.as_deref(), &route.path, Destination { backend, fleet });
    }
    for route in routes {
        let Some(backend) = known(route) else { continue };
        let preview = table.backends.get(&route.backend).and_then(|backend| backend.preview.as_ref());
        let newest = backend.preview.as_ref().and_then(|preview| preview.newest);
        if let (Some(host), Some(newest)) = (preview.and_then(|preview| preview.host.as_deref()), newest) {
            router.add(Some(host), &route.path, Destination { backend, fleet: Some(newest) });
        }
    }
    router
}

fn compile_backend(registry: &mut Registry, key: &str, backend: &Backend) -> LiveBackend {
    let fleets: Vec<LiveFleet> =
        backend.fleets.iter().map(|fleet| compile_fleet(registry, backend, fleet)).collect();
    let weights: Vec<u8> = backend.fleets.iter().map(|fleet| fleet.weight).collect();
    let preview = backend.preview.as_ref().and_then(|preview| {
        let newest = backend.fleets.iter().position(|fleet| fleet.id == preview.fleet);
        Some(LivePreview { header: HeaderName::try_from(preview.header.as_str()).ok()?, newest })
    });
    LiveBackend {
        protocol: backend.protocol,
        fleets,
        round: round(&weights),
        turn: registry.turn(key),
        preview,
        request_timeout: backend.request_timeout.duration(),
        idle_timeout: backend.idle_timeout.duration(),
    }
}

fn compile_fleet(registry: &mut Registry, backend: &Backend, fleet: &Fleet) -> LiveFleet {
    let part = if fleet.weight > 0 { Part::Weighted } else { Part::Preview };
    let role = |part| Role { part, upgraded: backend.upgraded };
    for instance in &fleet.draining {
        registry.target(instance, role(Part::Draining));
    }
    LiveFleet {
        weight: fleet.weight,
        ready: fleet.instances.iter().map(|instance| registry.target(instance, role(part))).collect(),
        stats: registry.stats(&fleet.id),
    }
}
