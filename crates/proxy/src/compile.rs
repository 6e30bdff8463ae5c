//! From a route table to what the workers use.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use kiln_model::FleetId;
use rustls::ServerConfig;

use crate::live::{
    Destination, Live, LiveBackend, LiveFleet, LiveListener, LiveMirror, LiveMode, LivePreview, LiveTester,
};
use crate::registry::{Part, Registry, Role};
use crate::router::Router;
use crate::sticky::LiveSticky;
use crate::table::{Backend, Fleet, Mode, Route, RouteTable, Tester};
use crate::turns::round;

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
    let find = |id: &FleetId| backend.fleets.iter().position(|fleet| fleet.id == *id);
    let preview = backend.preview.as_ref().and_then(|preview| {
        let header = HeaderName::try_from(preview.header.as_str()).ok()?;
        Some(LivePreview { header, newest: find(&preview.fleet) })
    });
    let tester = |tester: &Tester| {
        let header = HeaderName::try_from(tester.header.as_str()).ok()?;
        let value = tester.value.as_deref().map(HeaderValue::from_str).transpose().ok()?;
        Some(LiveTester { header, value, fleet: find(&tester.fleet)? })
    };
    let mirror = backend.mirror.as_ref().filter(|mirror| mirror.percent > 0);
    LiveBackend {
        protocol: backend.protocol,
        fleets,
        round: compile_round(&backend.fleets),
        turns: registry.turns(key),
        preview,
        testers: backend.testers.iter().filter_map(tester).collect(),
        sticky: backend.sticky.as_ref().and_then(|sticky| LiveSticky::new(sticky, &backend.fleets)),
        mirror: mirror.and_then(|it| Some(LiveMirror { fleet: find(&it.fleet)?, percent: it.percent })),
        request_timeout: backend.request_timeout.duration(),
        idle_timeout: backend.idle_timeout.duration(),
        hold: backend.hold.duration(),
        queue: registry.queue(key),
    }
}

/// The turns of the fleets. Only weights and releases count, so that a table that lists the same in another order goes
/// on where the last one was.
fn compile_round(fleets: &[Fleet]) -> Box<[u8]> {
    let mut order: Vec<usize> = (0..fleets.len()).collect();
    order.sort_by_key(|fleet| fleets[*fleet].id.release);
    let weights: Vec<u8> = order.iter().map(|fleet| fleets[*fleet].weight).collect();
    let turns = round(&weights).into_iter();
    turns.map(|turn| u8::try_from(order[usize::from(turn)]).unwrap_or(0)).collect()
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
