//! Tests of commands: each is the program of an instance of its own.

use std::collections::BTreeMap;

use kiln_local::Status;
use serde_json::{Map, Value};

use super::{Pair, Verdict, pairs, patterns, plain, text, texts};
use crate::finding::{self, Finding, Judge};
use crate::foreign::{Document, ForeignError};
use crate::runner::{ProveError, Scene, Task, Wanted, ready_or_ended};

/// Lines of output that are looked at.
const LINES: usize = 100_000;

#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: String,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    exit: i32,
    expected: [Vec<String>; 2],
    excluded: [Vec<String>; 2],
}

const KNOWN: [&str; 11] = [
    "name",
    "command",
    "args",
    "envVars",
    "exitCode",
    "expectedOutput",
    "excludedOutput",
    "expectedError",
    "excludedError",
    "setup",
    "teardown",
];

pub(super) fn read(
    document: &Document,
    place: &str,
    body: &Map<String, Value>,
    env: &[Pair],
) -> Result<Command, ForeignError> {
    document.only(place, body, &KNOWN)?;
    for key in ["setup", "teardown"] {
        let empty =
            body.get(key).is_none_or(|value| value.is_null() || value.as_array().is_some_and(Vec::is_empty));
        if !empty {
            let instead = "an instance's root cannot be changed: do it in the image or in the command";
            return Err(document.unsupported(&format!("{place}.{key}"), instead));
        }
    }
    let own = pairs(document, &format!("{place}.envVars"), body.get("envVars"))?;
    let list = |key: &str| Ok::<_, ForeignError>(texts(document, place, body, key)?.unwrap_or_default());
    let mut argv = vec![text(document, place, body, "command")?];
    argv.extend(list("args")?);
    let exit = body.get("exitCode").map_or(Ok(0), |value| plain(value).parse());
    Ok(Command {
        name: text(document, place, body, "name")?,
        argv,
        env: env.iter().chain(&own).map(|pair| (pair.key.clone(), pair.value.clone())).collect(),
        exit: exit.map_err(|_| document.form(&format!("{place}.exitCode"), "must be a number"))?,
        expected: [list("expectedOutput")?, list("expectedError")?],
        excluded: [list("excludedOutput")?, list("excludedError")?],
    })
}

pub(super) async fn judge(
    command: &Command,
    scene: &Scene<'_>,
    task: &Task<'_>,
) -> Result<Verdict, ProveError> {
    let what = format!("`{}`", command.argv.join(" "));
    let mut config = scene.view.image.config()?;
    config.entrypoint.clone_from(&command.argv);
    config.cmd.clear();
    // It is healthy or not by how it ends.
    config.ports.clear();
    config.health = None;
    config.stop.grace = kiln_model::Span::from_secs(1);
    let wanted = Wanted {
        name: &scene.subject.name,
        image: scene.subject.image,
        config: &config,
        env: &command.env,
        number: 1,
        peers: Vec::new(),
    };
    let ended = ready_or_ended(scene.host, &wanted, task.check.timeout).await?;
    let Some(ended) = ended else {
        return Ok(Err(Finding::new(what, format!("an end within {}", task.check.timeout), "none")));
    };
    Ok(verdict(command, what, &ended.status, &ended.output))
}

fn verdict(command: &Command, what: String, status: &Status, output: &[String; 2]) -> Verdict {
    let mut judge = Judge::new(what);
    let exit = status.exit.as_ref();
    let code = exit.and_then(|exit| exit.status);
    let shown = match (code, exit) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(exit)) => exit.what.clone(),
        (None, None) => "no end".into(),
    };
    judge.that(code == Some(command.exit), format!("exit status {}", command.exit), shown);
    for (name, number) in [("standard output", 0), ("standard error", 1)] {
        patterns(&mut judge, name, &command.expected[number], true, &output[number]);
        patterns(&mut judge, name, &command.excluded[number], false, &output[number]);
    }
    judge.output(finding::end(if output[1].is_empty() { &output[0] } else { &output[1] }));
    judge.verdict()
}

/// What an instance printed, standard output and standard error apart.
pub(crate) fn output(dir: &kiln_local::InstanceDir) -> [String; 2] {
    let mut texts = [String::new(), String::new()];
    for line in kiln_local::logs::read(dir, LINES).unwrap_or_default() {
        let text = &mut texts[usize::from(line.stderr)];
        text.push_str(&String::from_utf8_lossy(&line.text));
        if !line.goes_on {
            text.push('\n');
        }
    }
    texts
}
