//! `health` blocks.

use std::collections::BTreeMap;

use kiln_model::{Health, Name, Port, Probe, Protocol, Span};

use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::suggest::did_you_mean;

pub(super) fn build(
    world: &World<'_>,
    section: &Section<'_>,
    ports: &BTreeMap<Name, Port>,
    ports_sound: bool,
) -> Option<Health> {
    let kind = section.exactly_one(world, &["http", "tcp", "command"], "a `health` block")?;
    let probe = match kind {
        "http" => Probe::Http { path: section.text("http")?, port: section.named("port") },
        "tcp" => Probe::Tcp { port: section.value("tcp")?.as_text().and_then(|name| Name::new(name).ok()) },
        _ => Probe::Command { command: section.command("command")? },
    };
    if kind != "http" && section.has("port") {
        let problem =
            Problem::error(section.at("port"), format!("`port` belongs to `http`, not to `{kind}`"));
        world.report.add(problem.help(if kind == "tcp" {
            "name the port itself: tcp = \"name\""
        } else {
            "take `port` out"
        }));
    }
    if ports_sound {
        check_ports(world, section, kind, ports);
    }
    check_times(world, section);
    Some(Health {
        probe,
        interval: section.span("interval").unwrap_or(Span::from_secs(1)),
        timeout: section.span("timeout").unwrap_or(Span::from_secs(1)),
        rise: section.whole("rise").unwrap_or(1),
        fall: section.whole("fall").unwrap_or(3),
        grace: section.span("grace").unwrap_or(Span::from_secs(30)),
    })
}

fn check_ports(world: &World<'_>, section: &Section<'_>, kind: &str, ports: &BTreeMap<Name, Port>) {
    if kind == "command" {
        return;
    }
    if ports.is_empty() {
        let problem =
            Problem::error(section.at(kind), format!("`{kind}` health needs a port, and the image has none"));
        world.report.add(problem.help("add a block to the image: port \"http\" { number = 8080 }"));
        return;
    }
    let attribute = if kind == "http" { "port" } else { "tcp" };
    let Some(name) = section.text(attribute) else { return };
    match ports.iter().find(|(port, _)| port.as_str() == name) {
        None => {
            let help = did_you_mean(&name, ports.keys().map(Name::as_str));
            let problem =
                Problem::error(section.at(attribute), format!("the image has no port called `{name}`"));
            world.report.add(problem.maybe_help(help));
        }
        Some((_, port)) if kind == "http" && port.protocol == Protocol::Tcp => {
            let problem =
                Problem::error(section.at(attribute), format!("the port `{name}` does not speak HTTP"));
            world.report.add(problem.help(format!("write tcp = \"{name}\" instead of `http`")));
        }
        Some(_) => {}
    }
}

fn check_times(world: &World<'_>, section: &Section<'_>) {
    for name in ["interval", "timeout"] {
        if section.span(name).is_some_and(|span| span.millis() == 0) {
            let problem = Problem::error(section.at(name), format!("`{name}` must be longer than nothing"));
            world.report.add(problem.help(format!("write it like {name} = \"1s\"")));
        }
    }
}
