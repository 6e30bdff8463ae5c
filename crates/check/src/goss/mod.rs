//! Goss files (goss 0.4), run as they are: <https://goss.readthedocs.io/en/stable/gossfile/>.
//!
//! Resources are looked at from outside, so goss itself need not be in the image; `command` runs in the instance with
//! its `/bin/sh`. What a file asks for that is not known here is an error before anything runs: `service`, `dns`,
//! `interface`, `kernel-param`, `gossfile`, templates, HTTPS.

mod facts;
mod matcher;

use std::path::Path;
use std::time::Instant;

use serde_json::{Map, Value};

use crate::finding::Finding;
use crate::foreign::{Document, ForeignError};
use crate::image::files::of_instance;
use crate::millis;
use crate::report::CheckResult;
use crate::runner::{ProveError, Scene, Task, result};
use matcher::Actual;

/// Attributes of each kind of resource, in the order in which goss asks; the first one must be given.
const RESOURCES: [(&str, &[&str]); 10] = [
    (
        "file",
        &[
            "exists",
            "mode",
            "owner",
            "uid",
            "group",
            "gid",
            "linked-to",
            "filetype",
            "contents",
            "md5",
            "sha256",
            "sha512",
            "size",
        ],
    ),
    ("package", &["installed", "versions"]),
    ("user", &["exists", "uid", "gid", "home", "groups", "shell"]),
    ("group", &["exists", "gid"]),
    ("port", &["listening", "ip"]),
    ("process", &["running"]),
    ("command", &["exit-status", "stdout", "stderr"]),
    ("http", &["status", "headers", "body"]),
    ("addr", &["reachable"]),
    ("mount", &["exists", "opts", "vfs-opts", "source", "filesystem"]),
];

/// Keys that say how to ask and not what is expected.
const SETTINGS: [(&str, &[&str]); 3] = [
    ("command", &["exec", "timeout"]),
    (
        "http",
        &[
            "url",
            "method",
            "timeout",
            "request-headers",
            "request-body",
            "no-follow-redirects",
            "allow-insecure",
        ],
    ),
    ("addr", &["address", "timeout"]),
];

/// Keys without a meaning for the verdict.
const REMARKS: [&str; 2] = ["title", "meta"];

/// A goss file that is in order.
#[derive(Debug)]
pub(crate) struct Goss {
    resources: Vec<Resource>,
}

/// One resource.
#[derive(Debug)]
pub(crate) struct Resource {
    kind: &'static str,
    id: String,
    /// How to ask.
    settings: Map<String, Value>,
    /// Attributes and what is expected of them, in the order in which they are asked.
    wanted: Vec<(&'static str, Value)>,
}

/// Reads a goss file.
pub(crate) fn load(file: &Path) -> Result<Goss, ForeignError> {
    of_document(&Document::read(file)?)
}

fn of_document(document: &Document) -> Result<Goss, ForeignError> {
    let mut resources = Vec::new();
    for (kind, all) in document.map("the file", &document.root)? {
        if kind == "matching" {
            for (id, body) in document.map(kind, all)? {
                resources.push(matching(document, id, body)?);
            }
            continue;
        }
        let Some((known, attributes)) = RESOURCES.iter().find(|(name, _)| name == kind) else {
            let instead = "write it as a `check` of Kiln or take it out";
            return Err(document.unsupported(kind, instead));
        };
        for (id, body) in document.map(kind, all)? {
            resources.push(resource(document, known, attributes, id, body)?);
        }
    }
    if resources.is_empty() {
        return Err(document.form("the file", "expects nothing"));
    }
    Ok(Goss { resources })
}

fn resource(
    document: &Document,
    kind: &'static str,
    attributes: &[&'static str],
    id: &str,
    body: &Value,
) -> Result<Resource, ForeignError> {
    let place = format!("{kind}.{id}");
    let body = document.map(&place, body)?;
    if place.contains("{{") || body.values().any(|value| value.to_string().contains("{{")) {
        return Err(document.unsupported(&place, "templates have to be rendered first: goss render"));
    }
    let settings = SETTINGS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| keys);
    let known: Vec<&str> =
        attributes.iter().copied().chain(settings.iter().copied()).chain(REMARKS).collect();
    document.only(&place, body, &known)?;
    if !body.contains_key(attributes[0]) {
        return Err(document.form(&place, format!("has no `{}`", attributes[0])));
    }
    let wanted: Vec<(&'static str, Value)> = attributes
        .iter()
        // What is empty expects nothing, in goss as here.
        .filter_map(|name| Some((*name, body.get(*name).filter(|value| is_set(value))?.clone())))
        .collect();
    for (name, value) in &wanted {
        let fault = |fault: String| document.unsupported(&format!("{place}.{name}"), &fault);
        matcher::check(value).map_err(fault)?;
    }
    let of_settings = |key: &&str| Some(((*key).to_owned(), body.get(*key)?.clone()));
    let resource =
        Resource { kind, id: id.into(), settings: settings.iter().filter_map(of_settings).collect(), wanted };
    facts::check(document, &resource)?;
    Ok(resource)
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// `matching` compares what is written in the file itself.
fn matching(document: &Document, id: &str, body: &Value) -> Result<Resource, ForeignError> {
    let place = format!("matching.{id}");
    let body = document.map(&place, body)?;
    document.only(&place, body, &["content", "matches", "title", "meta"])?;
    let wanted = body.get("matches").ok_or_else(|| document.form(&place, "has no `matches`"))?;
    let fault = |fault: String| document.unsupported(&format!("{place}.matches"), &fault);
    matcher::check(wanted).map_err(fault)?;
    let content = body.get("content").cloned().unwrap_or_default();
    Ok(Resource {
        kind: "matching",
        id: id.into(),
        settings: Map::from_iter([("content".to_owned(), content)]),
        wanted: vec![("matches", wanted.clone())],
    })
}

impl Goss {
    /// Whether something of it runs.
    pub(crate) fn needs_instance(&self, volumes: &[String]) -> bool {
        self.resources.iter().any(|resource| match resource.kind {
            "file" => of_instance(&resource.id, volumes),
            "package" | "user" | "group" | "matching" => false,
            _ => true,
        })
    }
}

/// Judges a goss file, one result for each attribute.
pub(crate) async fn judge(
    scene: &Scene<'_>,
    task: &Task<'_>,
    file: &Path,
) -> Result<Vec<CheckResult>, ProveError> {
    let goss = load(file)?;
    let mut results = Vec::new();
    for resource in &goss.resources {
        results.extend(judge_resource(scene, task, resource).await);
    }
    Ok(results)
}

async fn judge_resource(scene: &Scene<'_>, task: &Task<'_>, resource: &Resource) -> Vec<CheckResult> {
    let began = Instant::now();
    let mut facts = facts::of(scene, resource, task.check.timeout).await;
    if let Some(within) = task.check.within {
        // Something may come about later: ask again until all of it holds or the time is over.
        let attempt = || async {
            let facts = facts::of(scene, resource, task.check.timeout).await;
            match resource.wanted.iter().all(|(name, wanted)| verdict(wanted, facts.get(*name)).is_ok()) {
                true => Ok(facts),
                false => Err(Finding::new("", "", "")),
            }
        };
        if let Ok(found) = crate::live::until(Some(within), attempt).await {
            facts = found;
        } else {
            facts = facts::of(scene, resource, task.check.timeout).await;
        }
    }
    let mut results = Vec::new();
    for (name, wanted) in &resource.wanted {
        let what = format!("{} {}: {name}", resource.kind, resource.id);
        let outcome = verdict(wanted, facts.get(*name))
            .map_err(|(expected, found)| Finding::new(&what, format!("{name} {expected}"), found));
        let failed = outcome.is_err();
        let kind = format!("goss.{}", resource.kind);
        results.push(result(task, &what, &kind, millis(began.elapsed()), outcome));
        // Of what is not there, or should not be, goss asks nothing more.
        let first_says_no = name == &"exists" || name == &"installed" || name == &"listening";
        if first_says_no && (failed || *wanted == Value::Bool(false)) {
            break;
        }
    }
    results
}

fn verdict(wanted: &Value, found: Option<&Result<Actual, String>>) -> Result<(), (String, String)> {
    match found {
        Some(Ok(actual)) => matcher::matches(wanted, actual),
        Some(Err(why)) => Err((matcher::shown(wanted), why.clone())),
        None => Err((matcher::shown(wanted), "nothing".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Goss, ForeignError> {
        of_document(&Document::parse(Path::new("goss.yaml"), text)?)
    }

    #[test]
    fn what_is_not_known_is_named_and_never_passed_over() {
        let cases = [
            ("service:\n  nginx:\n    enabled: true\n", "goss.yaml: service is not supported"),
            ("file:\n  /x:\n    exists: true\n    contains: [a]\n", "file./x.contains is not supported"),
            ("file:\n  /x:\n    exists: true\n    skip: true\n", "file./x.skip is not supported"),
            ("file:\n  /x:\n    mode: \"0644\"\n", "file./x has no `exists`"),
            ("user:\n  x:\n    exists: true\n    uid: {near: 3}\n", "user.x.uid is not supported; `near`"),
            ("http:\n  https://x/:\n    status: 200\n", "https://x/"),
            ("file:\n  \"/{{.Vars.x}}\":\n    exists: true\n", "goss render"),
            ("{}\n", "expects nothing"),
            ("[1]\n", "must be a map"),
            ("a: [\n", "not readable as YAML"),
        ];
        for (text, wanted) in cases {
            let told = parse(text).unwrap_err().to_string();
            assert!(told.contains(wanted), "{text}: {told}");
        }
    }

    #[test]
    fn what_only_looks_at_the_image_needs_no_instance() {
        let image = "file:\n  /etc/passwd: {exists: true}\nuser:\n  root: {exists: true}\n";
        assert!(!parse(image).unwrap().needs_instance(&[]));
        assert!(parse("file:\n  /tmp/x: {exists: true}\n").unwrap().needs_instance(&[]));
        assert!(parse("port:\n  tcp:80: {listening: true}\n").unwrap().needs_instance(&[]));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}", yaml in "(file|user|matching|command):\n  [a-z/]{1,5}:\n    [a-z]{1,8}: [\\[\\]{}a-z0-9:, ]{0,20}\n") {
            let _ = parse(&text);
            let _ = parse(&yaml);
        }
    }
}
