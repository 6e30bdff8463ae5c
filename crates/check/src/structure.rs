//! Files of container-structure-test (schema version 2.0.0), run as they are:
//! <https://github.com/GoogleContainerTools/container-structure-test>.
//!
//! Each command test gets an instance of its own whose program the command is, as there each gets a container; its log
//! is what it printed. `setup` and `teardown` change the container's root there, which nobody can here: they are
//! refused, like everything that is not known.

pub(crate) mod commands;
mod files;
mod metadata;

use std::path::Path;
use std::time::Instant;

use serde_json::{Map, Value};

use crate::finding::{Finding, Judge, matches_plainly};
use crate::foreign::{Document, ForeignError};
use crate::millis;
use crate::report::CheckResult;
use crate::runner::{ProveError, Scene, Task, result};

const VERSION: &str = "2.0.0";

/// A test that was read.
#[derive(Debug)]
enum Test {
    Command(Box<commands::Command>),
    Exists(files::Existence),
    Content(files::Content),
    Metadata(Box<metadata::Metadata>),
    Licenses(files::Licenses),
}

/// A name and what its value must be.
#[derive(Debug)]
struct Pair {
    key: String,
    value: String,
    regex: bool,
}

/// Reads a structure file.
fn load(document: &Document) -> Result<Vec<Test>, ForeignError> {
    let root = document.map("the file", &document.root)?;
    let known = [
        "schemaVersion",
        "globalEnvVars",
        "commandTests",
        "fileExistenceTests",
        "fileContentTests",
        "metadataTest",
        "licenseTests",
    ];
    document.only("the file", root, &known)?;
    let version = root.get("schemaVersion").map(plain).unwrap_or_default();
    if version != VERSION {
        return Err(document.unsupported(&format!("schemaVersion {version}"), "write schemaVersion: 2.0.0"));
    }
    let env = pairs(document, "globalEnvVars", root.get("globalEnvVars"))?;
    let mut tests = Vec::new();
    for (place, body) in items(document, root, "commandTests")? {
        tests.push(Test::Command(Box::new(commands::read(document, &place, body, &env)?)));
    }
    for (place, body) in items(document, root, "fileExistenceTests")? {
        tests.push(Test::Exists(files::existence(document, &place, body)?));
    }
    for (place, body) in items(document, root, "fileContentTests")? {
        tests.push(Test::Content(files::content(document, &place, body)?));
    }
    for (place, body) in items(document, root, "licenseTests")? {
        tests.push(Test::Licenses(files::licenses(document, &place, body)?));
    }
    if let Some(body) = root.get("metadataTest") {
        let body = document.map("metadataTest", body)?;
        tests.push(Test::Metadata(Box::new(metadata::read(document, body)?)));
    }
    if tests.is_empty() {
        return Err(document.form("the file", "tests nothing"));
    }
    Ok(tests)
}

/// Judges a structure file, one result for each test.
pub(crate) async fn judge(
    scene: &Scene<'_>,
    task: &Task<'_>,
    file: &Path,
) -> Result<Vec<CheckResult>, ProveError> {
    let document = Document::read(file)?;
    let mut results = Vec::new();
    for test in load(&document)? {
        let began = Instant::now();
        let (kind, what, verdict) = match &test {
            Test::Command(it) => {
                ("structure.command", it.name.clone(), commands::judge(it, scene, task).await?)
            }
            Test::Exists(it) => ("structure.file-existence", it.name.clone(), it.judge(&scene.view)),
            Test::Content(it) => ("structure.file-content", it.name.clone(), it.judge(&scene.view)),
            Test::Metadata(it) => ("structure.metadata", "metadata".into(), it.judge(&scene.view)),
            Test::Licenses(it) => ("structure.license", "licenses".into(), it.judge(&scene.view)),
        };
        results.push(result(task, &what, kind, millis(began.elapsed()), verdict));
    }
    Ok(results)
}

/// A test's place and body.
type Item<'v> = (String, &'v Map<String, Value>);

/// The tests of one kind, each with its place.
fn items<'v>(
    document: &Document,
    root: &'v Map<String, Value>,
    key: &str,
) -> Result<Vec<Item<'v>>, ForeignError> {
    let Some(list) = root.get(key).filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let item = |(number, value): (usize, &'v Value)| {
        let name = value.get("name").and_then(Value::as_str);
        let place = name.map_or_else(|| format!("{key}[{number}]"), |name| format!("{key}.{name}"));
        document.map(&place, value).map(|body| (place.clone(), body))
    };
    document.list(key, list)?.iter().enumerate().map(item).collect()
}

/// A scalar as YAML's authors write it without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text(
    document: &Document,
    place: &str,
    body: &Map<String, Value>,
    key: &str,
) -> Result<String, ForeignError> {
    body.get(key).map(plain).ok_or_else(|| document.form(place, format!("has no `{key}`")))
}

fn texts(
    document: &Document,
    place: &str,
    body: &Map<String, Value>,
    key: &str,
) -> Result<Option<Vec<String>>, ForeignError> {
    let Some(value) = body.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    Ok(Some(document.list(&format!("{place}.{key}"), value)?.iter().map(plain).collect()))
}

fn flag(
    document: &Document,
    place: &str,
    body: &Map<String, Value>,
    key: &str,
) -> Result<Option<bool>, ForeignError> {
    match body.get(key) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(document.form(&format!("{place}.{key}"), "must be true or false")),
    }
}

fn pairs(document: &Document, place: &str, value: Option<&Value>) -> Result<Vec<Pair>, ForeignError> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let pair = |value: &Value| {
        let body = document.map(place, value)?;
        document.only(place, body, &["key", "value", "isRegex"])?;
        Ok(Pair {
            key: text(document, place, body, "key")?,
            value: text(document, place, body, "value")?,
            regex: flag(document, place, body, "isRegex")?.unwrap_or(false),
        })
    };
    document.list(place, value)?.iter().map(pair).collect()
}

/// Whether regular expressions match a text, or none of them does.
fn patterns(judge: &mut Judge, name: &str, wanted: &[String], present: bool, text: &str) {
    for pattern in wanted {
        let verb = if present { "to match" } else { "not to match" };
        match matches_plainly(pattern, text) {
            Ok(found) => judge.that(
                found == present,
                format_args!("{name} {verb} /{pattern}/"),
                format_args!("{:?}", crate::finding::beginning(text)),
            ),
            Err(fault) => judge.that(false, format_args!("a regular expression /{pattern}/"), fault),
        }
    }
}

type Verdict = Result<(), Finding>;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Test>, ForeignError> {
        load(&Document::parse(Path::new("cst.yaml"), text)?)
    }

    #[test]
    fn what_is_not_known_is_named_and_never_passed_over() {
        let head = "schemaVersion: 2.0.0\n";
        let command = "commandTests:\n  - name: it\n    command: app\n";
        let cases = [
            ("schemaVersion: 1.0.0\n".to_owned(), "schemaVersion 1.0.0 is not supported"),
            (head.to_owned(), "tests nothing"),
            (format!("{head}{command}    setup: [[\"a\"]]\n"), "commandTests.it.setup is not supported"),
            (format!("{head}{command}    expectedOuput: [a]\n"), "commandTests.it.expectedOuput"),
            (format!("{head}fileExistenceTests:\n  - name: it\n"), "has no `path`"),
            (format!("{head}containerRunOptions:\n  user: x\n"), "containerRunOptions is not supported"),
        ];
        for (text, wanted) in cases {
            let told = parse(&text).unwrap_err().to_string();
            assert!(told.contains(wanted), "{text}: {told}");
        }
        assert_eq!(parse(&format!("{head}{command}    setup: []\n")).unwrap().len(), 1);
    }
}
