//! `kiln status`: services, releases, rollouts and traffic.

use std::fmt::Write as _;
use std::process::ExitCode;

use kiln_control::api::{FleetStatus, ServiceStatus, StatusAnswer};
use owo_colors::OwoColorize;

use crate::context::{Context, now_ms};
use crate::control::Control;
use crate::error::Result;
use crate::progress::failure_text;
use crate::ui::{age, columns};
use crate::words;

/// Arguments of `kiln status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let answer = control.call(|client| async move { client.status().await })?;
    context.ui.result(&answer, || text(&answer));
    Ok(ExitCode::SUCCESS)
}

fn text(status: &StatusAnswer) -> String {
    let mut out = String::new();
    if status.services.is_empty() {
        out.push_str("nothing is deployed here; `kiln up` in a project folder starts it\n");
    }
    for service in &status.services {
        describe(&mut out, service);
    }
    for problem in &status.problems {
        let _ = writeln!(
            out,
            "{} {}: {} ({}× in {})",
            "problem:".red().bold(),
            problem.what,
            problem.why,
            problem.times,
            age(problem.since_ms, now_ms())
        );
    }
    if let Some(registry) = &status.registry {
        let _ = writeln!(out, "registry {}", registry.url);
    }
    let proxy = match status.proxy.pid {
        Some(pid) => format!("pid {pid}, routes {}", status.proxy.version),
        None => "does not answer".to_owned(),
    };
    let _ = writeln!(out, "kiln {} serve pid {} · proxy {proxy}", status.serve.version, status.serve.pid);
    out
}

fn describe(out: &mut String, service: &ServiceStatus) {
    let current = service.current.map_or_else(|| "no release".into(), |release| format!("release {release}"));
    let _ = writeln!(
        out,
        "{} · {} · {current} · {}/{} ready{}",
        service.service.as_str().bold(),
        service.environment,
        service.ready,
        service.replicas,
        if service.urls.is_empty() { String::new() } else { format!(" · {}", service.urls.join(" ")) },
    );
    if let Some(rollout) = &service.rollout {
        let lines = words::under_way(&service.environment, &service.service, rollout, now_ms());
        for (index, line) in lines.iter().enumerate() {
            let _ = writeln!(out, "  {}{line}", if index == 0 { "" } else { "  " });
        }
    }
    let heading = ["FLEET", "IMAGE", "SIZE", "READY", "WEIGHT", "REQUESTS", "ERRORS"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(service.fleets.iter().map(fleet));
    for line in columns(&rows).lines().take(if service.fleets.is_empty() { 0 } else { usize::MAX }) {
        let _ = writeln!(out, "  {line}");
    }
    for fleet in &service.fleets {
        if let Some(failure) = fleet.last_failure.as_ref().filter(|_| fleet.failed_starts > 0) {
            out.push_str(&failure_text(&fleet.id.to_string(), failure));
        }
    }
    for quarantine in &service.quarantined {
        let _ = writeln!(out, "  quarantined: release {}: {}", quarantine.release, quarantine.reason);
    }
}

fn fleet(fleet: &FleetStatus) -> Vec<String> {
    let (requests, errors) = fleet.metrics.as_ref().map_or((0, 0), |m| (m.requests, m.errors + m.status[4]));
    vec![
        fleet.id.to_string(),
        fleet.image.short(),
        fleet.size.to_string(),
        fleet.counts.ready.to_string(),
        format!("{}%", fleet.acknowledged),
        requests.to_string(),
        errors.to_string(),
    ]
}
