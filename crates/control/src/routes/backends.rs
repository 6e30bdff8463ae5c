//! Backends: each port of each service with its fleets.

use std::collections::{BTreeMap, BTreeSet};

use kiln_model::{CanaryTraffic, FleetId, HeaderMatch, InstanceId, Name, Port};
use kiln_provider::InstanceObservation;
use kiln_proxy::{Backend, Endpoint, Fleet, Instance, Mirror, Preview, Tester};

use super::selection::{self, Selection};
use super::{FleetInput, Service};

/// The key of a backend.
pub(super) fn key(environment: &Name, service: &Name, port: &Name) -> String {
    format!("{environment}/{service}/{port}")
}

impl Service<'_> {
    /// One backend for each port that any of the fleets has.
    pub(super) fn backends(&self, served: &BTreeSet<&InstanceId>) -> Vec<(String, Backend)> {
        let Some(leader) = self.leader_or_newest() else { return Vec::new() };
        let traffic = &leader.stored.release.content.service.traffic;
        let selections: Vec<(&FleetInput<'_>, Selection<'_>)> =
            self.fleets.iter().map(|fleet| (fleet, selection::select(fleet, served))).collect();
        let canary = self.canary();
        let backend = |port: &Name, declared: &Port| Backend {
            protocol: declared.protocol,
            fleets: selections.iter().map(|(fleet, selection)| listed(fleet, selection, port)).collect(),
            preview: self.preview(),
            request_timeout: traffic.request_timeout,
            idle_timeout: traffic.idle_timeout,
            upgraded: traffic.upgraded,
            sticky: canary.as_ref().and_then(|it| it.1.sticky.clone()),
            testers: canary.as_ref().map(|(fleet, it)| testers(fleet, &it.testers)).unwrap_or_default(),
            mirror: canary.as_ref().and_then(|(fleet, it)| mirror(fleet, it.mirror)),
            hold: self.hold(),
        };
        let ports = self.ports();
        ports
            .iter()
            .map(|(port, declared)| (key(self.environment, self.name, port), backend(port, declared)))
            .collect()
    }

    /// Ports by name; where fleets disagree the leader's declaration counts, then the newest.
    fn ports(&self) -> BTreeMap<&Name, &Port> {
        let mut ports = BTreeMap::new();
        for fleet in self.fleets.iter().chain(self.leader()) {
            ports.extend(&fleet.stored.release.content.config.ports);
        }
        ports
    }

    /// The newest fleet and how requests find it beside its weight, while an older one serves too.
    fn canary(&self) -> Option<(&FleetId, &CanaryTraffic)> {
        let newest = self.fleets.iter().rev().find(|fleet| fleet.desired.size > 0)?;
        let older = |it: &FleetInput<'_>| {
            it.desired.weight > 0 && it.desired.fleet.release < newest.desired.fleet.release
        };
        let rules = &newest.stored.release.content.service.rollout.canary_traffic;
        self.fleets.iter().any(older).then_some((&newest.desired.fleet, rules))
    }

    /// The newest fleet, while it has instances but no traffic and is newer than what serves.
    pub(super) fn preview(&self) -> Option<Preview> {
        let newest = self.fleets.iter().rev().find(|fleet| fleet.desired.size > 0)?;
        let serving = self.leader().map(|leader| leader.desired.fleet.release);
        let next = newest.desired.weight == 0
            && serving.is_none_or(|serving| newest.desired.fleet.release > serving);
        let traffic = &newest.stored.release.content.service.traffic;
        next.then(|| Preview {
            header: traffic.preview_header.clone(),
            host: traffic.preview_host.clone(),
            fleet: newest.desired.fleet.clone(),
        })
    }
}

fn testers(fleet: &FleetId, matches: &[HeaderMatch]) -> Vec<Tester> {
    let tester = |it: &HeaderMatch| Tester {
        header: it.header.clone(),
        value: it.value.clone(),
        fleet: fleet.clone(),
    };
    matches.iter().map(tester).collect()
}

fn mirror(fleet: &FleetId, percent: u8) -> Option<Mirror> {
    (percent > 0).then(|| Mirror { fleet: fleet.clone(), percent })
}

fn listed(fleet: &FleetInput<'_>, selection: &Selection<'_>, port: &Name) -> Fleet {
    Fleet {
        id: fleet.desired.fleet.clone(),
        weight: fleet.desired.weight,
        instances: reachable(&selection.serving, port),
        draining: reachable(&selection.draining, port),
    }
}

fn reachable(instances: &[&InstanceObservation], port: &Name) -> Vec<Instance> {
    let reach = |instance: &&InstanceObservation| {
        let endpoint = endpoint(instance.endpoints.get(port)?);
        Some(Instance { id: instance.id.clone(), endpoint })
    };
    instances.iter().filter_map(reach).collect()
}

fn endpoint(endpoint: &kiln_provider::Endpoint) -> Endpoint {
    match endpoint {
        kiln_provider::Endpoint::Tcp { addr } => Endpoint::Tcp { addr: *addr },
        kiln_provider::Endpoint::Dial { socket, port } => {
            Endpoint::Dial { socket: socket.clone(), port: *port }
        }
    }
}
