//! `expose` blocks, and whether all of them can stand side by side.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kiln_model::{Expose, Name, Port, Protocol, Tls};

use super::image::ImageDraft;
use super::service::ServiceDraft;
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::source::Place;
use crate::suggest::did_you_mean;

pub(crate) struct ExposeDraft {
    pub(crate) expose: Expose,
    pub(crate) place: Place,
}

pub(super) fn build(
    world: &World<'_>,
    block: &Section<'_>,
    image: Option<&ImageDraft>,
) -> Option<ExposeDraft> {
    let port = block.name()?;
    if let Some(image) = image {
        match image.recipe.config.ports.get(&port) {
            Some(known) => check_protocol(world, block, known),
            None => unknown_port(world, block, image, &port),
        }
    }
    let expose = Expose {
        port,
        listen: block.whole("listen"),
        address: block.text("address"),
        host: block.text("host").map(|host| host.to_ascii_lowercase()),
        path: block.text("path").unwrap_or_else(|| "/".into()),
        tls: block.one("tls").and_then(|tls| files(world, tls)),
    };
    Some(ExposeDraft { expose, place: block.place })
}

fn unknown_port(world: &World<'_>, block: &Section<'_>, image: &ImageDraft, port: &Name) {
    let ports = &image.recipe.config.ports;
    let help = did_you_mean(port.as_str(), ports.keys().map(Name::as_str));
    let add = format!("add to the image: port \"{port}\" {{ number = 8080 }}");
    let message = format!("the image `{}` has no port called `{port}`", image.recipe.name);
    world.report.add(
        Problem::error(block.label_place(), message).also(image.place, "the image").help(help.unwrap_or(add)),
    );
}

fn check_protocol(world: &World<'_>, block: &Section<'_>, port: &Port) {
    if port.protocol != Protocol::Tcp {
        return;
    }
    for name in ["host", "path"] {
        if block.has(name) {
            let problem = Problem::error(block.at(name), format!("a TCP port has no `{name}`"));
            world.report.add(
                problem
                    .note("only HTTP requests say which host and path they want")
                    .help(format!("take `{name}` out, or declare the port with protocol = \"http\"")),
            );
        }
    }
}

/// The certificate's files must be there.
fn files(world: &World<'_>, tls: &Section<'_>) -> Option<Tls> {
    for name in ["certificate", "key"] {
        let Some(path) = tls.text(name) else { continue };
        if !world.files.is_local_file(&path) {
            let problem = Problem::error(tls.at(name), format!("there is no file {path:?}"));
            world.report.add(problem.help("paths are relative to the folder of the spec"));
        }
    }
    Some(Tls { certificate: tls.text("certificate")?, key: tls.text("key")? })
}

/// Exposes of one spec: each is compared with each.
const MOST: usize = 5000;

/// What the proxy is asked to do at one address and port.
struct Listener<'l> {
    address: IpAddr,
    port: u16,
    raw: bool,
    service: &'l Name,
    draft: &'l ExposeDraft,
}

/// Reports exposes that want the same thing.
pub(super) fn check_all(
    world: &World<'_>,
    images: &BTreeMap<Name, ImageDraft>,
    services: &BTreeMap<Name, ServiceDraft>,
) {
    let mut seen: Vec<Listener<'_>> = Vec::new();
    for (service, draft) in services {
        let ports = images.get(&draft.service.image).map(|image| &image.recipe.config.ports);
        for expose in &draft.exposes {
            let port = ports.and_then(|ports| ports.get(&expose.expose.port));
            if seen.len() >= MOST {
                let message = format!("more than {MOST} ports are exposed");
                world.report.add(Problem::error(expose.place, message).help("split the spec up"));
                return;
            }
            let listener = listener(service, expose, port);
            if let Some((other, conflict)) =
                seen.iter().find_map(|other| Some((other, conflict(other, &listener)?)))
            {
                report(world, &listener, other, conflict);
            }
            seen.push(listener);
        }
    }
}

fn listener<'l>(service: &'l Name, draft: &'l ExposeDraft, port: Option<&Port>) -> Listener<'l> {
    let raw = port.is_some_and(|port| port.protocol == Protocol::Tcp);
    let default = match (raw, &draft.expose.tls) {
        (true, _) => port.map_or(0, |port| port.number),
        (false, Some(_)) => 8443,
        (false, None) => 8080,
    };
    let address = draft.expose.address.as_deref().unwrap_or("127.0.0.1");
    Listener {
        address: address.parse().unwrap_or(IpAddr::from([127, 0, 0, 1])),
        port: draft.expose.listen.unwrap_or(default),
        raw,
        service,
        draft,
    }
}

/// Why two listeners cannot both be.
fn conflict(a: &Listener<'_>, b: &Listener<'_>) -> Option<&'static str> {
    let any = a.address.is_unspecified() || b.address.is_unspecified();
    if a.port != b.port || !(any || a.address == b.address) {
        return None;
    }
    let (first, second) = (&a.draft.expose, &b.draft.expose);
    if a.raw || b.raw {
        return Some("a TCP port needs a listening port of its own");
    }
    if a.address != b.address {
        return Some("one of them listens on every address");
    }
    if first.tls.is_some() != second.tls.is_some() {
        return Some("one port serves either HTTPS or HTTP");
    }
    let slash = |path: &str| path.trim_end_matches('/').to_owned();
    let same = first.host == second.host && slash(&first.path) == slash(&second.path);
    same.then_some("both want the same host and path")
}

fn report(world: &World<'_>, new: &Listener<'_>, old: &Listener<'_>, why: &str) {
    let name = |l: &Listener<'_>| format!("{}.{}", l.service, l.draft.expose.port);
    let message = format!("`{}` and `{}` cannot both be exposed on port {}", name(old), name(new), new.port);
    world.report.add(
        Problem::error(new.draft.place, message)
            .also(old.draft.place, "the other one")
            .note(why)
            .help("give one of them another `listen`, `host` or `path`"),
    );
}
