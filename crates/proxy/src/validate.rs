//! Whether a table makes sense in itself.

use std::collections::BTreeSet;

use kiln_model::Protocol;

use crate::bind::describe;
use crate::error::TableError;
use crate::table::{Bind, Listener, Mode, Route, RouteTable};

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
            let header = backend.preview.as_ref().map(|preview| &preview.header);
            if let Some(header) = header.filter(|header| http::HeaderName::try_from(header.as_str()).is_err())
            {
                let what = format!("the preview header {header:?} is not a field name");
                return Err(TableError::Route { listener: name(), what });
            }
            check_route(route).map_err(|what| TableError::Route { listener: name(), what })
        }),
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
