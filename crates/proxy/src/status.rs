//! What the data plane tells of itself.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use crate::bind::describe;
use crate::keeper::Keeper;
use crate::metrics::upper_bound;
use crate::{FleetMetrics, ListenerStatus, Status};

/// Everything as it is now.
pub(crate) fn status(keeper: &mut Keeper) -> Status {
    // Read first: what changes afterwards has a higher number, and is asked for again.
    let seq = *keeper.shared.sequence.borrow();
    keeper.registry.prune();
    let mut in_flight = keeper.registry.in_flight();
    if let Some(predecessor) = keeper.predecessor.take_if(|predecessor| !predecessor.is_gone()) {
        for (id, work) in predecessor.in_flight() {
            let sum = in_flight.entry(id).or_default();
            sum.requests += work.requests;
            sum.upgraded += work.upgraded;
        }
        keeper.predecessor = Some(predecessor);
    }
    let listeners = keeper.standing.iter().map(|standing| ListenerStatus {
        bind: standing.listener.bind.clone(),
        addr: standing.state.as_ref().ok().and_then(|open| open.bound.addr),
        error: standing.state.as_ref().err().cloned(),
    });
    let held = keeper.registry.queues().map(|(key, queue)| (key.clone(), queue.now()));
    let held = held.filter(|(_, count)| *count > 0);
    Status {
        seq,
        version: keeper.table().version,
        pid: std::process::id(),
        listeners: listeners.collect(),
        in_flight,
        ejected: keeper.registry.ejected(keeper.shared.now()),
        held: held.collect(),
        started_ms: keeper.registry.started_ms,
        fleets: keeper.registry.fleets(),
    }
}

/// The same for Prometheus (text format 0.0.4).
pub(crate) fn prometheus(keeper: &mut Keeper) -> String {
    let status = status(keeper);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut text, keeper, &status);
    text
}

fn write_all(text: &mut String, keeper: &Keeper, status: &Status) -> std::fmt::Result {
    family(text, "kiln_proxy_table_version", "gauge", "Version of the route table in force.")?;
    writeln!(text, "kiln_proxy_table_version {}", status.version)?;
    family(text, "kiln_proxy_connections", "gauge", "Client connections open now.")?;
    writeln!(text, "kiln_proxy_connections {}", keeper.shared.connections())?;
    family(text, "kiln_proxy_worker_connections", "gauge", "Client connections by worker.")?;
    for (index, worker) in keeper.shared.workers.iter().enumerate() {
        let count = worker.connections.load(Relaxed);
        writeln!(text, "kiln_proxy_worker_connections{{worker=\"{index}\"}} {count}")?;
    }
    family(text, "kiln_proxy_listener_up", "gauge", "1 when the listener accepts connections.")?;
    for listener in &status.listeners {
        let (name, up) = (escape(&describe(&listener.bind)), u8::from(listener.error.is_none()));
        writeln!(text, "kiln_proxy_listener_up{{listener=\"{name}\"}} {up}")?;
    }
    family(text, "kiln_proxy_in_flight", "gauge", "Requests under way, and upgraded connections.")?;
    for (id, work) in &status.in_flight {
        let (id, requests, upgraded) = (escape(id.as_str()), work.requests, work.upgraded);
        writeln!(text, "kiln_proxy_in_flight{{instance=\"{id}\",kind=\"request\"}} {requests}")?;
        writeln!(text, "kiln_proxy_in_flight{{instance=\"{id}\",kind=\"upgraded\"}} {upgraded}")?;
    }
    family(text, "kiln_proxy_ejected", "gauge", "1 for instances that are kept out after failures.")?;
    for id in &status.ejected {
        writeln!(text, "kiln_proxy_ejected{{instance=\"{}\"}} 1", escape(id.as_str()))?;
    }
    write_held(text, keeper)?;
    write_fleets(text, keeper)
}

fn write_held(text: &mut String, keeper: &Keeper) -> std::fmt::Result {
    family(text, "kiln_proxy_held", "gauge", "Requests that wait for a fleet that can take them.")?;
    for (key, queue) in keeper.registry.queues() {
        writeln!(text, "kiln_proxy_held{{backend=\"{}\"}} {}", escape(key), queue.now())?;
    }
    family(text, "kiln_proxy_held_total", "counter", "Requests that had to wait for such a fleet.")?;
    for (key, queue) in keeper.registry.queues() {
        writeln!(text, "kiln_proxy_held_total{{backend=\"{}\"}} {}", escape(key), queue.total())?;
    }
    Ok(())
}

/// A counter of a fleet: its name, what it counts, and where it stands.
type Counter = (&'static str, &'static str, fn(&FleetMetrics) -> u64);

const COUNTERS: [Counter; 5] = [
    ("kiln_proxy_errors_total", "Requests without a whole answer from an instance.", |sum| sum.errors),
    ("kiln_proxy_failed_total", "Requests with a 5xx answer, or without a whole one.", |sum| sum.failed),
    ("kiln_proxy_abandoned_total", "Requests whose client left before the answer.", |sum| sum.abandoned),
    ("kiln_proxy_mirrored_total", "Copies of other fleets' requests.", |sum| sum.mirrored),
    ("kiln_proxy_mirror_dropped_total", "Copies that were not sent.", |sum| sum.mirror_dropped),
];

fn write_fleets(text: &mut String, keeper: &Keeper) -> std::fmt::Result {
    let sums: Vec<_> = keeper.registry.all_stats().map(|stats| (stats, stats.sum())).collect();
    let labels = |id: &kiln_model::FleetId| {
        format!("environment=\"{}\",service=\"{}\",release=\"{}\"", id.environment, id.service, id.release)
    };
    family(text, "kiln_proxy_requests_total", "counter", "Requests, by status class of the answer.")?;
    for (stats, sum) in &sums {
        for (class, count) in sum.status.iter().enumerate() {
            let (labels, class) = (labels(&stats.id), class + 1);
            writeln!(text, "kiln_proxy_requests_total{{{labels},class=\"{class}xx\"}} {count}")?;
        }
    }
    for (name, help, count) in COUNTERS {
        family(text, name, "counter", help)?;
        for (stats, sum) in &sums {
            writeln!(text, "{name}{{{}}} {}", labels(&stats.id), count(sum))?;
        }
    }
    let help = "From the request's head, or the end of its being held, to the answer's head.";
    family(text, "kiln_proxy_latency_seconds", "histogram", help)?;
    for (stats, sum) in &sums {
        let labels = labels(&stats.id);
        let mut below = 0;
        for (index, (_, count)) in sum.latency.iter().enumerate() {
            below += count;
            // Whole powers of two only: a fourth of the series.
            if index % 4 == 3 {
                let le = seconds(upper_bound(index));
                writeln!(text, "kiln_proxy_latency_seconds_bucket{{{labels},le=\"{le}\"}} {below}")?;
            }
        }
        writeln!(text, "kiln_proxy_latency_seconds_bucket{{{labels},le=\"+Inf\"}} {below}")?;
        writeln!(text, "kiln_proxy_latency_seconds_sum{{{labels}}} {}", seconds(stats.micros()))?;
        writeln!(text, "kiln_proxy_latency_seconds_count{{{labels}}} {below}")?;
    }
    Ok(())
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
