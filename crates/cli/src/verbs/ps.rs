//! `kiln ps`: the instances.

use std::collections::BTreeSet;
use std::process::ExitCode;

use kiln_control::api::{InstanceStatus, InstancesAnswer};
use kiln_model::Name;

use crate::context::{Context, name, now_ms};
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::ui::{age, columns};

/// Arguments of `kiln ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only instances of this service
    #[arg(value_parser = name)]
    service: Option<Name>,
    /// Also instances that are gone
    #[arg(short, long)]
    all: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let mut answer: InstancesAnswer = control.call(|client| async move { client.instances().await })?;
    answer.instances.retain(|instance| {
        let wanted = args.service.as_ref().is_none_or(|service| *service == instance.fleet.service);
        wanted && (args.all || instance.observed.phase != kiln_provider::Phase::Exited)
    });
    if let Some(service) = args.service.as_ref().filter(|_| answer.instances.is_empty()) {
        known(&control, service)?;
    }
    context.ui.result(&answer, || table(&answer.instances));
    Ok(ExitCode::SUCCESS)
}

/// A service without instances is one thing, a name that nobody knows another.
fn known(control: &Control, service: &Name) -> Result<()> {
    let services = control.call(|client| async move { client.status().await })?.services;
    if services.iter().any(|one| one.service == *service) {
        return Ok(());
    }
    let names: BTreeSet<&str> = services.iter().map(|one| one.service.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    Err(Failure::new(Kind::NotFound, format!("there is no service {service}"))
        .hint(format!("there is: {}", names.join(", "))))
}

fn table(instances: &[InstanceStatus]) -> String {
    let heading = ["INSTANCE", "FLEET", "PHASE", "AGE", "TRAFFIC", "IN FLIGHT", "PID", "NOTE"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(instances.iter().map(row));
    columns(&rows)
}

fn row(instance: &InstanceStatus) -> Vec<String> {
    let seen = &instance.observed;
    let note = match (&seen.failure, seen.tainted) {
        (_, true) => "tainted".to_owned(),
        (Some(failure), false) => failure.what.clone(),
        (None, false) => String::new(),
    };
    vec![
        seen.id.to_string(),
        instance.fleet.to_string(),
        serde_json::to_value(seen.phase).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
        age(seen.started_ms, now_ms()),
        if instance.serving { "yes" } else { "no" }.to_owned(),
        (instance.in_flight.requests + instance.in_flight.upgraded).to_string(),
        seen.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
        note,
    ]
}
