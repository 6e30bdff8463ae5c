//! Taking everything down, in order, and the processes that are not needed any more.

use std::collections::BTreeSet;

use kiln_control::What;
use kiln_control::api::{DownAnswer, DownRequest, EventsQuery, ShutdownRequest};
use kiln_model::Name;

use crate::context::Context;
use crate::control::Control;
use crate::error::Result;

/// Drains and stops services and waits until they are gone. When nothing is left on this machine, the data plane and
/// the control plane end too, unless a registry runs with it.
pub(crate) fn down(
    context: &Context,
    control: &Control,
    environment: Option<Name>,
    project: Option<Name>,
    service: Option<Name>,
) -> Result<DownAnswer> {
    let request =
        DownRequest { environment, project, service, author: crate::context::author(), reason: None };
    let answer: DownAnswer = control.call(|client| async move { client.down(&request).await })?;
    let mut left: BTreeSet<(Name, Name)> = answer.services.iter().cloned().collect();
    if !left.is_empty() {
        let query = EventsQuery { after: answer.after, follow: true, environment: None, service: None };
        control.follow(&query, |event| {
            let service = (event.environment.clone(), event.service.clone());
            match event.what {
                What::Gone if left.remove(&service) => {
                    context.ui.done(service.1.as_str(), &format!("{} is down", service.1));
                }
                What::Retired { .. } | What::Down { .. } if left.contains(&service) => {
                    context.ui.working(service.1.as_str(), &format!("{}: drains", service.1));
                }
                _ => {}
            }
            left.is_empty()
        })?;
    }
    let status = control.call(|client| async move { client.status().await })?;
    // A registry was asked for, and others use it.
    let idle = status.registry.is_none();
    if idle && status.services.iter().all(|service| service.current.is_none() && service.fleets.is_empty()) {
        control.call(|client| async move { client.shutdown(&ShutdownRequest { stop_proxy: true }).await })?;
    }
    Ok(answer)
}
