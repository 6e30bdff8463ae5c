//! What goss's resources are like, found from outside.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use http::Uri;
use kiln_model::{Protocol, Span, Transport};
use kiln_provider::{ExecRequest, Provider};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};

use super::Resource;
use super::matcher::Actual;
use crate::finding::{Finding, chain};
use crate::foreign::{Document, ForeignError};
use crate::image::accounts::Accounts;
use crate::image::files::{View, What};
use crate::image::packages;
use crate::inside::connector::Network;
use crate::live::http::{Answer, Asked, ask_over};
use crate::runner::{Running, Scene};

/// Redirects that are followed, as many as Go's client follows.
const REDIRECTS: usize = 10;

/// Attributes that could be found, or why one could not.
pub(super) type Facts = BTreeMap<&'static str, Result<Actual, String>>;

/// Refuses settings that are not known here.
pub(super) fn check(document: &Document, resource: &Resource) -> Result<(), ForeignError> {
    let place = format!("{}.{}", resource.kind, resource.id);
    match resource.kind {
        "http" => match url(resource) {
            Some(_) => Ok(()),
            None => Err(document.unsupported(&place, "write an http:// address with a number or localhost")),
        },
        "addr" => match address(resource) {
            Some(_) => Ok(()),
            None => Err(document.unsupported(&place, "write tcp://ADDRESS:PORT with a number or localhost")),
        },
        "port" => match port(&resource.id) {
            Some(_) => Ok(()),
            None => Err(document.form(&place, "must be such as tcp:80 or udp6:53")),
        },
        "file" if resource.wanted.iter().any(|(name, _)| *name == "md5") => {
            Err(document.unsupported(&format!("{place}.md5"), "MD5 proves nothing: write sha256"))
        }
        _ => Ok(()),
    }
}

fn setting<'r>(resource: &'r Resource, name: &str) -> Option<&'r str> {
    resource.settings.get(name)?.as_str()
}

/// Milliseconds, as goss has them.
fn limit(resource: &Resource, otherwise: Span) -> Duration {
    let given = resource.settings.get("timeout").and_then(Value::as_u64);
    given.map_or_else(|| otherwise.duration(), Duration::from_millis)
}

fn plain(value: impl Into<Value>) -> Result<Actual, String> {
    Ok(Actual::Plain(value.into()))
}

/// Asks for everything of a resource.
pub(super) async fn of(scene: &Scene<'_>, resource: &Resource, timeout: Span) -> Facts {
    let view = &scene.view;
    let facts = match (resource.kind, scene.running) {
        ("file", _) => file(resource, view),
        ("package", _) => package(resource, view),
        ("user", _) => user(resource, view),
        ("group", _) => group(resource, view),
        ("matching", _) => {
            let content = resource.settings.get("content").cloned().unwrap_or_default();
            Ok(Facts::from([("matches", plain(content))]))
        }
        ("port", Some(running)) => Ok(ports(resource, running)),
        ("process", Some(running)) => Ok(process(resource, running)),
        ("mount", Some(running)) => Ok(mount(resource, running)),
        ("command", Some(running)) => command(resource, running, timeout).await,
        ("http", Some(running)) => web(resource, &running.started.network, limit(resource, timeout)).await,
        ("addr", Some(running)) => {
            Ok(reachable(resource, &running.started.network, limit(resource, timeout)).await)
        }
        _ => Err("there is no instance to ask".into()),
    };
    match facts {
        Ok(facts) => facts,
        Err(why) => resource.wanted.iter().map(|(name, _)| (*name, Err(why.clone()))).collect(),
    }
}

fn file(resource: &Resource, view: &View<'_>) -> Result<Facts, String> {
    let told = |error: std::io::Error| chain(&error);
    let Some(link) = view.look(&resource.id, false).map_err(told)? else {
        return Ok(Facts::from([("exists", plain(false))]));
    };
    let followed = view.look(&resource.id, true).map_err(told)?;
    let facts = followed.as_ref().unwrap_or(&link);
    let accounts = Accounts::read(view).map_err(told)?;
    let kind = match link.what {
        What::File => "file",
        What::Folder => "directory",
        What::Symlink => "symlink",
        What::Other => "other",
    };
    let mut all = Facts::from([
        ("exists", plain(true)),
        ("mode", plain(format!("{:04o}", link.mode))),
        ("owner", plain(accounts.user_name(link.uid))),
        ("uid", plain(link.uid)),
        ("group", plain(accounts.group_name(link.gid))),
        ("gid", plain(link.gid)),
        ("size", plain(facts.size)),
        ("filetype", plain(kind)),
    ]);
    if let Some(target) = &link.link {
        all.insert("linked-to", plain(target.clone()));
    }
    if resource.wanted.iter().any(|(name, _)| matches!(*name, "contents" | "sha256" | "sha512")) {
        let content = view.read(facts).map_err(told);
        let with = |act: &dyn Fn(&[u8]) -> Actual| content.as_ref().map(|it| act(it)).map_err(Clone::clone);
        all.insert("contents", with(&|it| Actual::Text(String::from_utf8_lossy(it).into_owned())));
        all.insert("sha256", with(&|it| Actual::Plain(hex::encode(Sha256::digest(it)).into())));
        all.insert("sha512", with(&|it| Actual::Plain(hex::encode(Sha512::digest(it)).into())));
    }
    Ok(all)
}

fn package(resource: &Resource, view: &View<'_>) -> Result<Facts, String> {
    let all = packages::installed(view).map_err(|error| chain(&error))?;
    let all = all.ok_or("the image has no database of dpkg")?;
    let versions = all.get(&resource.id).cloned();
    let installed = plain(versions.is_some());
    Ok(Facts::from([("installed", installed), ("versions", plain(versions.unwrap_or_default()))]))
}

fn user(resource: &Resource, view: &View<'_>) -> Result<Facts, String> {
    let accounts = Accounts::read(view).map_err(|error| chain(&error))?;
    let Some(user) = accounts.user(&resource.id) else { return Ok(Facts::from([("exists", plain(false))])) };
    Ok(Facts::from([
        ("exists", plain(true)),
        ("uid", plain(user.uid)),
        ("gid", plain(user.gid)),
        ("home", plain(user.home.clone())),
        ("shell", plain(user.shell.clone())),
        ("groups", plain(user.groups.clone())),
    ]))
}

fn group(resource: &Resource, view: &View<'_>) -> Result<Facts, String> {
    let accounts = Accounts::read(view).map_err(|error| chain(&error))?;
    let Some(gid) = accounts.group(&resource.id) else { return Ok(Facts::from([("exists", plain(false))])) };
    Ok(Facts::from([("exists", plain(true)), ("gid", plain(gid))]))
}

/// `tcp:80`, `udp6:53` or `80`: the transport, whether it is IPv6, and the number.
fn port(id: &str) -> Option<(Transport, bool, u16)> {
    let (protocol, number) = id.split_once(':').unwrap_or(("tcp", id));
    let number = number.parse().ok()?;
    match protocol {
        "tcp" => Some((Transport::Tcp, false, number)),
        "tcp6" => Some((Transport::Tcp, true, number)),
        "udp" => Some((Transport::Udp, false, number)),
        "udp6" => Some((Transport::Udp, true, number)),
        _ => None,
    }
}

fn ports(resource: &Resource, running: Running<'_>) -> Facts {
    let Some((transport, six, number)) = port(&resource.id) else { return Facts::new() };
    let all = running.started.inside.listening();
    let fits = all
        .iter()
        .filter(|one| one.transport == transport && one.port == number && one.address.is_ipv6() == six);
    let addresses: Vec<String> = fits.map(|one| one.address.to_string()).collect();
    Facts::from([("listening", plain(!addresses.is_empty())), ("ip", plain(addresses))])
}

fn process(resource: &Resource, running: Running<'_>) -> Facts {
    let all = running.started.inside.processes();
    Facts::from([("running", plain(all.iter().any(|process| process.name == resource.id)))])
}

fn mount(resource: &Resource, running: Running<'_>) -> Facts {
    let mounts = running.started.inside.mounts();
    // Of several in one place, the last one is seen.
    let Some(mount) = mounts.iter().rev().find(|mount| mount.point == resource.id) else {
        return Facts::from([("exists", plain(false))]);
    };
    Facts::from([
        ("exists", plain(true)),
        ("opts", plain(mount.options.clone())),
        ("vfs-opts", plain(mount.filesystem_options.clone())),
        ("source", plain(mount.source.clone())),
        ("filesystem", plain(mount.kind.clone())),
    ])
}

async fn command(resource: &Resource, running: Running<'_>, timeout: Span) -> Result<Facts, String> {
    let line = setting(resource, "exec").unwrap_or(&resource.id);
    let timeout = Span::from_millis(u64::try_from(limit(resource, timeout).as_millis()).unwrap_or(u64::MAX));
    let argv = vec!["/bin/sh".into(), "-c".into(), line.to_owned()];
    let request = ExecRequest { argv, timeout, user: None };
    let done = running.place.provider.exec(&running.started.id, &request).await;
    let done = done.map_err(|error| chain(&error))?;
    Ok(Facts::from([
        ("exit-status", plain(done.status)),
        ("stdout", Ok(Actual::Text(done.stdout))),
        ("stderr", Ok(Actual::Text(done.stderr))),
    ]))
}

/// The address and, as it is sent, the request's target; names other than localhost cannot be looked up from here.
fn url(resource: &Resource) -> Option<(SocketAddr, String, String)> {
    place(setting(resource, "url").unwrap_or(&resource.id))
}

fn place(url: &str) -> Option<(SocketAddr, String, String)> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let address = SocketAddr::new(ip(authority.host())?, authority.port_u16().unwrap_or(80));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    (uri.scheme_str() == Some("http")).then(|| (address, path.to_owned(), authority.to_string()))
}

fn ip(host: &str) -> Option<IpAddr> {
    match host {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        host => host.trim_start_matches('[').trim_end_matches(']').parse().ok(),
    }
}

fn address(resource: &Resource) -> Option<SocketAddr> {
    let text = setting(resource, "address").unwrap_or(&resource.id);
    let (host, port) = text.strip_prefix("tcp://")?.rsplit_once(':')?;
    Some(SocketAddr::new(ip(host)?, port.parse().ok()?))
}

async fn reachable(resource: &Resource, network: &Network, limit: Duration) -> Facts {
    let Some(address) = address(resource) else { return Facts::new() };
    let connected = tokio::time::timeout(limit, network.connect(address)).await;
    Facts::from([("reachable", plain(matches!(connected, Ok(Ok(_)))))])
}

async fn web(resource: &Resource, network: &Network, limit: Duration) -> Result<Facts, String> {
    let answer = tokio::time::timeout(limit, followed(resource, network)).await;
    let answer = answer.map_err(|_| "no answer in time".to_owned())??;
    let headers: Vec<String> = answer
        .headers
        .iter()
        .map(|(name, value)| {
            format!("{}: {}", canonical(name.as_str()), String::from_utf8_lossy(value.as_bytes()))
        })
        .collect();
    Ok(Facts::from([
        ("status", plain(answer.status)),
        ("headers", Ok(Actual::Text(headers.join("\n")))),
        ("body", Ok(Actual::Text(answer.body))),
    ]))
}

/// `content-type` as Go writes it: `Content-Type`.
fn canonical(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

async fn followed(resource: &Resource, network: &Network) -> Result<Answer, String> {
    let (mut address, mut path, mut host) = url(resource).ok_or("the address is not understood")?;
    let stays = resource.settings.get("no-follow-redirects").and_then(Value::as_bool).unwrap_or(false);
    let mut method = setting(resource, "method").unwrap_or("GET").to_owned();
    let mut body = setting(resource, "request-body");
    let headers: BTreeMap<String, String> = resource
        .settings
        .get("request-headers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|line| line.as_str()?.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    for _ in 0..=REDIRECTS {
        let stream = network.connect(address).await.map_err(|error| chain(&error))?;
        let mut sent = headers.clone();
        sent.entry("Host".into()).or_insert_with(|| host.clone());
        let asked = Asked { method: &method, path: &path, headers: &sent, body, protocol: Protocol::Http };
        let answer = ask_over(&asked, stream, Instant::now()).await;
        let answer = answer.map_err(|finding: Finding| finding.found)?;
        let location = answer.headers.get("location").and_then(|value| value.to_str().ok());
        let redirects = matches!(answer.status, 301 | 302 | 303 | 307 | 308) && !stays;
        let Some(location) = location.filter(|_| redirects) else { return Ok(answer) };
        if location.starts_with('/') {
            location.clone_into(&mut path);
        } else {
            let to = place(location).ok_or_else(|| format!("it redirects to {location}, out of reach"))?;
            (address, path, host) = to;
        }
        if answer.status < 307 {
            "GET".clone_into(&mut method);
            body = None;
        }
    }
    Err(format!("more than {REDIRECTS} redirects"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_goss_has_them() {
        assert_eq!(port("80"), Some((Transport::Tcp, false, 80)));
        assert_eq!(port("udp6:53"), Some((Transport::Udp, true, 53)));
        assert_eq!((port("sctp:1"), port("tcp:x")), (None, None));
        let (address, path, host) = place("http://localhost:8080/a?b=c").unwrap();
        assert_eq!(
            (address.to_string(), path.as_str(), host.as_str()),
            ("127.0.0.1:8080".into(), "/a?b=c", "localhost:8080")
        );
        assert!(place("https://localhost/").is_none() && place("http://example.com/").is_none());
        assert_eq!(canonical("content-type"), "Content-Type");
    }
}
