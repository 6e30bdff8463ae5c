//! Recipes in short words, and a bake with nothing but paths: for the tests and for the helper program.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_bake::{BakeRequest, bake};
use kiln_model::{Base, CopyStep, ImageConfig, Name, Recipe, RunStep, Step};
use kiln_store::Store;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An empty image on scratch.
pub(crate) fn recipe(image: &str) -> Recipe {
    Recipe {
        name: name(image),
        base: Base::Scratch,
        packages: Vec::new(),
        steps: Vec::new(),
        config: ImageConfig::default(),
        epoch: None,
    }
}

/// `copy FROM TO [mode=…] [owner=…] [exclude=…] [image=…]` and `run COMMAND…`, one per line.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(step).collect()
}

fn step(line: &str) -> Step {
    if let Some(command) = line.strip_prefix("run ") {
        return Step::Run(RunStep {
            command: kiln_model::Command::Line(command.into()),
            network: false,
            env: BTreeMap::new(),
            workdir: None,
            timeout: None,
        });
    }
    let words: Vec<&str> = line.strip_prefix("copy ").expect("copy or run").split_whitespace().collect();
    let mut copy = CopyStep {
        from: words[0].into(),
        image: None,
        to: words[1].into(),
        mode: None,
        owner: None,
        exclude: Vec::new(),
    };
    for word in &words[2..] {
        match word.split_once('=').expect("key=value") {
            ("mode", value) => copy.mode = Some(value.into()),
            ("owner", value) => copy.owner = Some(value.into()),
            ("exclude", value) => copy.exclude.push(value.into()),
            ("image", value) => copy.image = Some(name(value)),
            (other, _) => panic!("no such key: {other}"),
        }
    }
    Step::Copy(copy)
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Bakes steps on scratch, as a program with nothing but paths would.
pub(crate) fn bake_at(
    source: &Path,
    store: &Path,
    text: &str,
) -> Result<kiln_model::Digest, Box<dyn std::error::Error>> {
    let store = Store::open(store)?;
    let recipe = Recipe { steps: steps(text), ..recipe("web") };
    let images = BTreeMap::from([(recipe.name.clone(), recipe.clone())]);
    let request = BakeRequest {
        images: &images,
        name: &recipe.name,
        source,
        store: &store,
        epoch: None,
        now: 1_750_000_000,
        offline: true,
        auto_lock: false,
        jobs: 2,
        mirrors: None,
        helper: None,
    };
    Ok(bake(&request, &())?.digest)
}
