//! Whether a table makes sense in itself.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};
use kiln_model::{FleetId, Protocol, Sticky};

use crate::bind::describe;
use crate::error::TableError;
use crate::table::{Backend, Bind, Listener, Mode, Route, RouteTable};

/// Checks all that can be known without touching the system.
pub(crate) fn validate(table: &RouteTable) -> Result<(), TableError> {
    let mut seen = BTreeSet::new();
    for listener in &table.listeners {
        // Port 0 is a new port each time.
        let any = matches!(listener.bind, Bind::Tcp { addr } if addr.port() == 0);
        if !seen.insert(&listener.bind) && !any {
            return Err(TableError::Duplicate { listener: describe(&listener.bind) });
        }
        check_listener(table, listener)?;
    }
    for (key, backend) in &table.backends {
        let sum = backend.fleets.iter().map(|fleet| u32::from(fleet.weight)).sum();
        if sum != 0 && sum != 100 {
            return Err(TableError::Weights { backend: key.clone(), sum });
        }
        check_backend(backend).map_err(|what| TableError::Backend { backend: key.clone(), what })?;
    }
    Ok(())
}

fn check_listener(table: &RouteTable, listener: &Listener) -> Result<(), TableError> {
    let name = || describe(&listener.bind);
    let find = |key: &String| {
        let unknown = || TableError::UnknownBackend { listener: name(), backend: key.clone() };
        table.backends.get(key).ok_or_else(unknown)
    };
    match &listener.mode {
        Mode::Tcp { backend, .. } => find(backend).map(drop),
        Mode::Http { routes, .. } => routes.iter().try_for_each(|route| {
            let backend = find(&route.backend)?;
            if backend.protocol == Protocol::Tcp {
                return Err(TableError::Mode { listener: name(), backend: route.backend.clone() });
            }
            check_route(route).map_err(|what| TableError::Route { listener: name(), what })
        }),
    }
}

/// How requests find a fleet beside its weight. Every fleet that is named must be there: a table that is acknowledged
/// does what it says.
fn check_backend(backend: &Backend) -> Result<(), String> {
    let fleet = |what: &str, id: &FleetId| {
        let known = backend.fleets.iter().any(|fleet| fleet.id == *id);
        known.then_some(()).ok_or_else(|| {
            format!("{what} names fleet {id}, which the backend does not have: list it, also at weight 0")
        })
    };
    // Names of cookies (RFC 6265 §4.1.1) and of fields are made of the same characters.
    let name = |what: &str, name: &str| match HeaderName::try_from(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{what} {name:?} is not a name: use letters, digits and -")),
    };
    if let Some(preview) = &backend.preview {
        name("the preview header", &preview.header)?;
        fleet("the preview", &preview.fleet)?;
    }
    for tester in &backend.testers {
        name("the testers' header", &tester.header)?;
        fleet("a tester", &tester.fleet)?;
        if let Some(value) = tester.value.as_ref().filter(|value| HeaderValue::from_str(value).is_err()) {
            return Err(format!("the testers' value {value:?} cannot stand in a header"));
        }
    }
    if let Some(mirror) = &backend.mirror {
        fleet("the mirror", &mirror.fleet)?;
        if mirror.percent > 100 {
            return Err(format!("the mirror takes {} percent: at most 100 can be", mirror.percent));
        }
    }
    match &backend.sticky {
        Some(Sticky::Cookie { name: cookie, .. }) => name("the sticky cookie", cookie),
        Some(Sticky::Header { name: header }) => name("the sticky header", header),
        None => Ok(()),
    }
}

fn check_route(route: &Route) -> Result<(), String> {
    if !route.path.starts_with('/') {
        return Err(format!("the path {:?} must begin with /", route.path));
    }
    let Some(host) = &route.host else { return Ok(()) };
    let suffix = host.strip_prefix("*.").unwrap_or(host);
    if suffix.is_empty() || suffix.contains(['*', '/', ' ']) {
        return Err(format!("the host {host:?} must be a name, or *. and a name"));
    }
    Ok(())
}
