//! `run` steps: a command in the sandbox, and what it changed as a layer.

use std::collections::BTreeMap;
use std::time::Instant;

use kiln_model::{Command, Digest, RunStep, Span};
use kiln_store::{LayerRef, Tree, remove_tree};

use crate::BakeError;
use crate::bake::{Kitchen, Making};
use crate::cache::{Inputs, KeyMaker, Made};
use crate::diff;
use crate::document::PATH;
use crate::layer::FORMAT;
use crate::sandbox::{self, Job, SandboxError, Space, is_plain_line};

impl Kitchen<'_> {
    pub(crate) fn run(
        &mut self,
        making: &mut Making<'_>,
        step: &RunStep,
        name: String,
    ) -> Result<(), BakeError> {
        let begun = Instant::now();
        let env = environment(making, step);
        let (key, inputs) = key(step, &env, &making.layers, making)?;
        self.step(making, begun, name, key, inputs, |kitchen, making, name| {
            let (argv, shell) = words(&step.command);
            let job = Job {
                argv,
                env,
                workdir: step.workdir.clone().unwrap_or_else(|| "/".into()),
                network: step.network,
                timeout: step.timeout,
                helper: kitchen.request.helper,
                shell,
            };
            let layers = making.layers.clone();
            let made = kitchen.in_sandbox(making, &layers, name, &[job])?;
            kitchen.commit(making)?;
            Ok(made)
        })?;
        // A command may have taken long: its layer is not to be lost with a later step.
        self.commit(making)
    }

    /// Runs commands over layers and writes what they changed as one layer.
    pub(crate) fn in_sandbox(
        &self,
        making: &mut Making<'_>,
        layers: &[LayerRef],
        name: &str,
        jobs: &[Job<'_>],
    ) -> Result<Made, BakeError> {
        self.commit(making)?;
        let store = self.request.store;
        let lower = store.chain_tree(layers)?;
        let path = store.scratch()?;
        let image = making.recipe.name.clone();
        let fault =
            |source| BakeError::Run { image: image.clone(), step: name.into(), source: Box::new(source) };
        let mut space = Space::new(path.clone(), lower).map_err(fault)?;
        for job in jobs {
            sandbox::execute(&mut space, job, self.progress).map_err(fault)?;
        }
        let tree = self.changes(&space, layers, &fault)?;
        let made = self.write(making, name, &tree, &BTreeMap::new());
        remove_tree(&path)?;
        made
    }

    fn changes(
        &self,
        space: &Space,
        layers: &[LayerRef],
        fault: &dyn Fn(SandboxError) -> BakeError,
    ) -> Result<Tree, BakeError> {
        // An ordinary user's trees do not have the owners of the image; its layers do.
        let owners = match rustix::process::geteuid().is_root() {
            true => None,
            false => Some(self.request.store.contents(layers, false)?),
        };
        let (changed, whole) = space.result();
        diff::changes(&changed, whole, space.lower(), owners.as_ref()).map_err(|(path, source)| {
            fault(SandboxError::Io { act: "read what the command left at", path, source })
        })
    }
}

/// Words of a command, and whether they are a shell's.
fn words(command: &Command) -> (Vec<String>, bool) {
    match command {
        Command::Argv(words) => (words.clone(), false),
        Command::Line(line) if is_plain_line(line) => {
            (line.split_whitespace().map(str::to_owned).collect(), false)
        }
        Command::Line(line) => (vec!["/bin/sh".into(), "-c".into(), line.clone()], true),
    }
}

/// All of a step's environment: what every step has, then the image's, then the step's own.
fn environment(making: &Making<'_>, step: &RunStep) -> BTreeMap<String, String> {
    let mut env = fixed(making.epoch);
    env.extend(making.start.merge(&making.recipe.config).env);
    env.extend(step.env.clone());
    env
}

/// What every command in the sandbox has.
pub(crate) fn fixed(epoch: i64) -> BTreeMap<String, String> {
    let fixed = [
        ("HOME", "/root".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PATH", PATH.to_owned()),
        ("SOURCE_DATE_EPOCH", epoch.to_string()),
        ("TZ", "UTC".to_owned()),
    ];
    fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A command may read anything below it: its key has all the layers.
fn key(
    step: &RunStep,
    env: &BTreeMap<String, String>,
    layers: &[LayerRef],
    making: &Making<'_>,
) -> Result<(Digest, Inputs), BakeError> {
    let json = BakeError::json("a run step");
    let (command, env) = match (serde_json::to_string(step), serde_json::to_string(env)) {
        (Ok(command), Ok(env)) => (command, env),
        (Err(error), _) | (_, Err(error)) => return Err(json(error)),
    };
    let mut maker = KeyMaker::new("run");
    maker.part("format", FORMAT.as_bytes());
    maker.part("sandbox", sandbox::VERSION.as_bytes());
    maker.part("architecture", making.start.architecture.as_bytes());
    maker.part("step", command.as_bytes());
    maker.part("env", env.as_bytes());
    maker.part("epoch", &making.epoch.to_le_bytes());
    let mut below = Vec::new();
    for layer in layers {
        maker.part("layer", layer.diff_id.as_bytes());
        below.push(layer.diff_id.short());
    }
    let inputs = Inputs::from([
        ("the command".to_owned(), command),
        ("the environment".to_owned(), env),
        ("the epoch".to_owned(), making.epoch.to_string()),
        ("a layer below".to_owned(), below.join(" ")),
    ]);
    Ok((maker.key(), inputs))
}

/// The commands that configure Debian packages.
pub(crate) fn debian_jobs<'a>(kitchen: &Kitchen<'a>, epoch: i64, commands: Vec<Vec<String>>) -> Vec<Job<'a>> {
    let job = |argv| Job {
        argv,
        env: fixed(epoch),
        workdir: "/".into(),
        network: false,
        timeout: Some(Span::from_secs(1800)),
        helper: kitchen.request.helper,
        shell: false,
    };
    commands.into_iter().map(job).collect()
}
