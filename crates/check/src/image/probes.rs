//! Expectations of the image itself.

use std::collections::BTreeMap;

use kiln_model::{CheckProbe, ConfigCheck, FileCheck, FileKind, GroupCheck, PackageCheck, UserCheck};
use sha2::{Digest, Sha256};

use super::accounts::Accounts;
use super::files::{Facts, View, What};
use super::packages;
use crate::finding::{self, Finding, Judge};

/// Judges; `None` for expectations of other kinds.
pub(crate) fn judge(probe: &CheckProbe, view: &View<'_>) -> Option<Result<(), Finding>> {
    Some(match probe {
        CheckProbe::File(wanted) => file(wanted, view),
        CheckProbe::User(wanted) => user(wanted, view),
        CheckProbe::Group(wanted) => group(wanted, view),
        CheckProbe::Package(wanted) => package(wanted, view),
        CheckProbe::Config(wanted) => config(wanted, view),
        _ => return None,
    })
}

fn file(wanted: &FileCheck, view: &View<'_>) -> Result<(), Finding> {
    let what = format!("file {}", wanted.path);
    let unreadable = |error: &std::io::Error| Finding::failed(&what, "to be read", error);
    let of_link = wanted.kind == Some(FileKind::Symlink) || wanted.target.is_some();
    let facts = view.look(&wanted.path, !of_link).map_err(|error| unreadable(&error))?;
    let Some(facts) = facts else {
        let missing = Finding::new(&what, "to exist", "nothing there");
        return if wanted.exists { Err(missing) } else { Ok(()) };
    };
    if !wanted.exists {
        return Err(Finding::new(&what, "nothing there", format!("a {}", facts.what)));
    }
    let accounts = Accounts::read(view).map_err(|error| unreadable(&error))?;
    let mut judge = Judge::new(&what);
    attributes(&mut judge, wanted, &facts, &accounts);
    if wanted.sha256.is_some() || !wanted.expect.is_empty() {
        let content = view.read(&facts).map_err(|error| unreadable(&error))?;
        let sha256 = hex::encode(Sha256::digest(&content));
        judge.field("sha256", wanted.sha256.as_ref(), &sha256);
        judge.text("the content", &wanted.expect, &String::from_utf8_lossy(&content));
    }
    judge.verdict()
}

fn attributes(judge: &mut Judge, wanted: &FileCheck, facts: &Facts, accounts: &Accounts) {
    if let Some(kind) = wanted.kind {
        let wants = match kind {
            FileKind::File => What::File,
            FileKind::Folder => What::Folder,
            FileKind::Symlink => What::Symlink,
        };
        judge.that(wants == facts.what, format_args!("a {wants}"), format_args!("a {}", facts.what));
    }
    if let Some(mode) = &wanted.mode {
        let wants = u32::from_str_radix(mode, 8).unwrap_or(u32::MAX);
        let found = facts.mode;
        judge.that(wants == found, format_args!("mode {wants:04o}"), format_args!("mode {found:04o}"));
    }
    let named = |wanted: &String, name: String, number: u32| match wanted.parse::<u32>() {
        Ok(wants) => (wants == number, number.to_string()),
        Err(_) => (*wanted == name, name),
    };
    if let Some(owner) = &wanted.owner {
        let (same, found) = named(owner, accounts.user_name(facts.uid), facts.uid);
        judge.that(same, format_args!("owner {owner}"), format_args!("owner {found}"));
    }
    if let Some(group) = &wanted.group {
        let (same, found) = named(group, accounts.group_name(facts.gid), facts.gid);
        judge.that(same, format_args!("group {group}"), format_args!("group {found}"));
    }
    let size = kiln_model::Bytes::new(facts.size);
    judge.field("size", wanted.size.as_ref(), &size);
    let link = facts.link.clone().unwrap_or_else(|| "none".into());
    judge.field("link to", wanted.target.as_ref(), &link);
}

fn user(wanted: &UserCheck, view: &View<'_>) -> Result<(), Finding> {
    let what = format!("user {}", wanted.name);
    let accounts = Accounts::read(view).map_err(|error| Finding::failed(&what, "/etc/passwd", &error))?;
    let Some(found) = accounts.user(&wanted.name) else {
        let missing = Finding::new(&what, "to exist", "no such line in /etc/passwd");
        return if wanted.exists { Err(missing) } else { Ok(()) };
    };
    let mut judge = Judge::new(&what);
    judge.that(wanted.exists, "not to exist", format_args!("uid {}", found.uid));
    judge.field("uid", wanted.uid.as_ref(), &found.uid);
    judge.field("gid", wanted.gid.as_ref(), &found.gid);
    for group in &wanted.groups {
        judge.that(
            found.groups.contains(group),
            format_args!("to be in group {group}"),
            format_args!("groups {}", found.groups.join(", ")),
        );
    }
    judge.field("home", wanted.home.as_ref(), &found.home);
    judge.field("shell", wanted.shell.as_ref(), &found.shell);
    judge.verdict()
}

fn group(wanted: &GroupCheck, view: &View<'_>) -> Result<(), Finding> {
    let what = format!("group {}", wanted.name);
    let accounts = Accounts::read(view).map_err(|error| Finding::failed(&what, "/etc/group", &error))?;
    let Some(gid) = accounts.group(&wanted.name) else {
        let missing = Finding::new(&what, "to exist", "no such line in /etc/group");
        return if wanted.exists { Err(missing) } else { Ok(()) };
    };
    let mut judge = Judge::new(&what);
    judge.that(wanted.exists, "not to exist", format_args!("gid {gid}"));
    judge.field("gid", wanted.gid.as_ref(), &gid);
    judge.verdict()
}

fn package(wanted: &PackageCheck, view: &View<'_>) -> Result<(), Finding> {
    let what = format!("package {}", wanted.name);
    let all = packages::installed(view).map_err(|error| Finding::failed(&what, "dpkg's database", &error))?;
    let Some(all) = all else {
        let missing = Finding::new(&what, "to be installed", "no database of dpkg in the image");
        return if wanted.installed { Err(missing) } else { Ok(()) };
    };
    let mut judge = Judge::new(&what);
    match all.get(&wanted.name) {
        None => judge.that(!wanted.installed, "to be installed", "not installed"),
        Some(versions) => {
            let versions = versions.join(", ");
            judge.that(wanted.installed, "not to be installed", format_args!("version {versions}"));
            judge.field("version", wanted.version.as_ref(), &versions);
        }
    }
    judge.verdict()
}

fn config(wanted: &ConfigCheck, view: &View<'_>) -> Result<(), Finding> {
    let found = view.image.execution();
    let mut judge = Judge::new("the image's configuration");
    let env: BTreeMap<String, String> = found
        .env
        .iter()
        .flatten()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    map(&mut judge, "env", &wanted.env, &env);
    map(&mut judge, "label", &wanted.labels, &found.labels.clone().unwrap_or_default());
    let list = |judge: &mut Judge, name: &str, wanted: Option<&Vec<String>>, found: Option<&Vec<String>>| {
        let found = found.cloned().unwrap_or_default();
        if let Some(wanted) = wanted {
            let same = *wanted == found;
            judge.that(same, format_args!("{name} {wanted:?}"), format_args!("{name} {found:?}"));
        }
    };
    list(&mut judge, "entrypoint", wanted.entrypoint.as_ref(), found.entrypoint.as_ref());
    list(&mut judge, "cmd", wanted.cmd.as_ref(), found.cmd.as_ref());
    judge.field("user", wanted.user.as_ref(), &found.user.clone().unwrap_or_default());
    let workdir = found.working_dir.clone().unwrap_or_else(|| "/".into());
    judge.field("workdir", wanted.workdir.as_ref(), &workdir);
    let ports: Vec<String> = found.exposed_ports.clone().unwrap_or_default().into_keys().collect();
    contains_all(&mut judge, "port", &wanted.ports, &ports);
    let volumes: Vec<String> = found.volumes.clone().unwrap_or_default().into_keys().collect();
    contains_all(&mut judge, "volume", &wanted.volumes, &volumes);
    judge.verdict()
}

fn map(judge: &mut Judge, name: &str, wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
    for (key, value) in wanted {
        let there = found.get(key);
        let shown = there.map_or_else(
            || format!("no {name} {key}"),
            |there| format!("{name} {key}={:?}", finding::beginning(there)),
        );
        judge.that(there == Some(value), format_args!("{name} {key}={value:?}"), shown);
    }
}

/// Ports and volumes may have a protocol that is not written: `8080` is `8080/tcp`.
fn contains_all(judge: &mut Judge, name: &str, wanted: &[String], found: &[String]) {
    for one in wanted {
        let tcp = format!("{one}/tcp");
        let there = found.iter().any(|known| known == one || *known == tcp);
        let all = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        judge.that(there, format_args!("{name} {one}"), format_args!("{name}s {all}"));
    }
}
