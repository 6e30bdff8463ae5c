//! Tests of what the image says about itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Pair, Verdict, pairs, plain, texts};
use crate::finding::{Judge, matches_plainly};
use crate::foreign::{Document, ForeignError};
use crate::image::files::View;

#[derive(Debug)]
pub(super) struct Metadata {
    env: Vec<Pair>,
    unbound_env: Vec<Pair>,
    labels: Vec<Pair>,
    lists: [Option<Vec<String>>; 4],
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    workdir: Option<String>,
    user: Option<String>,
}

const KNOWN: [&str; 12] = [
    "envVars",
    "env",
    "unboundEnvVars",
    "labels",
    "exposedPorts",
    "unexposedPorts",
    "volumes",
    "unmountedVolumes",
    "entrypoint",
    "cmd",
    "workdir",
    "user",
];

pub(super) fn read(document: &Document, body: &Map<String, Value>) -> Result<Metadata, ForeignError> {
    let place = "metadataTest";
    document.only(place, body, &KNOWN)?;
    let list = |key: &str| texts(document, place, body, key);
    let of = |key: &str| pairs(document, &format!("{place}.{key}"), body.get(key));
    let mut env = of("envVars")?;
    env.extend(of("env")?);
    let unbound = of_keys(document, body)?;
    Ok(Metadata {
        env,
        unbound_env: unbound,
        labels: of("labels")?,
        lists: [list("exposedPorts")?, list("unexposedPorts")?, list("volumes")?, list("unmountedVolumes")?],
        entrypoint: list("entrypoint")?,
        cmd: list("cmd")?,
        workdir: body.get("workdir").map(plain).filter(|text| !text.is_empty()),
        user: body.get("user").map(plain).filter(|text| !text.is_empty()),
    })
}

/// Variables that must not be there; their values do not matter.
fn of_keys(document: &Document, body: &Map<String, Value>) -> Result<Vec<Pair>, ForeignError> {
    let Some(value) = body.get("unboundEnvVars") else { return Ok(Vec::new()) };
    let place = "metadataTest.unboundEnvVars";
    let key = |value: &Value| match value.get("key").map(plain) {
        Some(key) => Ok(Pair { key, value: String::new(), regex: false }),
        None => Err(document.form(place, "has an item without `key`")),
    };
    document.list(place, value)?.iter().map(key).collect()
}

impl Metadata {
    pub(super) fn judge(&self, view: &View<'_>) -> Verdict {
        let found = view.image.execution();
        let mut judge = Judge::new("metadata");
        let env: BTreeMap<String, String> = found
            .env
            .iter()
            .flatten()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        map(&mut judge, "env", &self.env, &env);
        for pair in &self.unbound_env {
            let found = env.get(&pair.key).cloned().unwrap_or_default();
            judge.that(!env.contains_key(&pair.key), format!("no env {}", pair.key), format!("{found:?}"));
        }
        map(&mut judge, "label", &self.labels, &found.labels.clone().unwrap_or_default());
        let ports: Vec<String> = found.exposed_ports.clone().unwrap_or_default().into_keys().collect();
        let volumes: Vec<String> = found.volumes.clone().unwrap_or_default().into_keys().collect();
        let [exposed, unexposed, mounted, unmounted] = &self.lists;
        members(&mut judge, "port", exposed, true, &ports);
        members(&mut judge, "port", unexposed, false, &ports);
        members(&mut judge, "volume", mounted, true, &volumes);
        members(&mut judge, "volume", unmounted, false, &volumes);
        for (name, wanted, found) in [
            ("entrypoint", &self.entrypoint, found.entrypoint.clone().unwrap_or_default()),
            ("cmd", &self.cmd, found.cmd.clone().unwrap_or_default()),
        ] {
            if let Some(wanted) = wanted {
                let same = *wanted == found;
                judge.that(same, format!("{name} {wanted:?}"), format!("{name} {found:?}"));
            }
        }
        judge.field("workdir", self.workdir.as_ref(), &found.working_dir.clone().unwrap_or_default());
        judge.field("user", self.user.as_ref(), &found.user.clone().unwrap_or_default());
        judge.verdict()
    }
}

fn map(judge: &mut Judge, name: &str, wanted: &[Pair], found: &BTreeMap<String, String>) {
    for Pair { key, value, regex } in wanted {
        let there = found.get(key);
        let holds = there.is_some_and(|there| match regex {
            true => matches_plainly(value, there).unwrap_or(false),
            false => there == value,
        });
        let shown =
            there.map_or_else(|| format!("no {name} {key}"), |there| format!("{name} {key}={there:?}"));
        judge.that(holds, format!("{name} {key}={value:?}"), shown);
    }
}

fn members(judge: &mut Judge, name: &str, wanted: &Option<Vec<String>>, there: bool, found: &[String]) {
    for one in wanted.iter().flatten() {
        let (bare, tcp) = (one.is_empty(), format!("{one}/tcp"));
        let has = !bare && found.iter().any(|known| known == one || *known == tcp);
        let expected = if there { format!("{name} {one}") } else { format!("no {name} {one}") };
        judge.that(has == there, expected, format!("{name}s {}", found.join(", ")));
    }
}
