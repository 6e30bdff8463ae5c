//! The bake: from a recipe to an image, step by step.

use std::collections::BTreeMap;
use std::time::Instant;

use kiln_model::{Command, CopyStep, Digest, Name, Recipe, Step};
use kiln_store::oci::{self, Descriptor, History as OciHistory};
use kiln_store::{Kind, LayerRef, Staged, Tree};

use crate::cache::{self, History, Inputs, KeyMaker, Made, why};
use crate::copy::{self, Plan};
use crate::document::{self, Parts};
use crate::hash::FileHashes;
use crate::layer::{FORMAT, write_layer};
use crate::request::{BakeRequest, Baked, Event, Outcome, Progress, StepReport};
use crate::skeleton::{Bones, Skeleton};
use crate::{BakeError, base};

/// Bakes an image, and first those that it takes files from. Blocks; call it from a thread that may.
///
/// # Errors
/// See [`BakeError`]. Nothing half-made stays, whatever happens.
pub fn bake(request: &BakeRequest<'_>, progress: &dyn Progress) -> Result<Baked, BakeError> {
    let mut kitchen = Kitchen {
        request,
        progress,
        hashes: FileHashes::load(request.store, request.source),
        done: BTreeMap::new(),
        under_way: Vec::new(),
    };
    let baked = kitchen.image(request.name);
    kitchen.hashes.save(request.store);
    baked
}

/// What all images of one bake share.
pub(crate) struct Kitchen<'a> {
    pub(crate) request: &'a BakeRequest<'a>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) hashes: FileHashes,
    done: BTreeMap<Name, Baked>,
    under_way: Vec<Name>,
}

/// One image in the making.
pub(crate) struct Making<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) start: base::Start,
    pub(crate) epoch: i64,
    pub(crate) skeleton: Skeleton,
    pub(crate) layers: Vec<LayerRef>,
    history: Vec<OciHistory>,
    reports: Vec<StepReport>,
    inputs: History,
    before: Option<History>,
    /// Written layers that are not in the store yet, and what to remember once they are.
    staged: Vec<Staged>,
    records: Vec<(Digest, Made)>,
}

impl Kitchen<'_> {
    fn image(&mut self, name: &Name) -> Result<Baked, BakeError> {
        if let Some(baked) = self.done.get(name) {
            return Ok(baked.clone());
        }
        if self.under_way.contains(name) {
            let names: Vec<&str> = self.under_way.iter().chain([name]).map(Name::as_str).collect();
            return Err(BakeError::Circle { name: name.clone(), circle: names.join(" -> ") });
        }
        self.under_way.push(name.clone());
        let images = self.request.images;
        let recipe = images.get(name).ok_or_else(|| BakeError::NoSuchImage { name: name.to_string() })?;
        let baked = self.recipe(recipe)?;
        self.under_way.pop();
        self.done.insert(name.clone(), baked.clone());
        Ok(baked)
    }

    fn recipe(&mut self, recipe: &Recipe) -> Result<Baked, BakeError> {
        let start = base::start(self, recipe)?;
        let epoch = recipe.epoch.or(self.request.epoch).or(start.epoch).unwrap_or(0);
        let mut making = Making {
            recipe,
            start,
            epoch,
            skeleton: Skeleton::default(),
            layers: Vec::new(),
            history: Vec::new(),
            reports: Vec::new(),
            inputs: History::default(),
            before: History::load(self.request.store, self.request.source, &recipe.name),
            staged: Vec::new(),
            records: Vec::new(),
        };
        base::lay(self, &mut making)?;
        for step in &recipe.steps {
            let name = step_name(step);
            self.announce(&making, &name);
            match step {
                Step::Copy(copy) => self.copy(&mut making, copy, name)?,
                Step::Run(run) => self.run(&mut making, run, name)?,
            }
        }
        self.finish(making)
    }

    pub(crate) fn announce(&self, making: &Making<'_>, name: &str) {
        let image = &making.recipe.name;
        let (number, total) = (making.inputs.0.len() + 1, making.recipe.steps.len() + making.start.steps());
        self.progress.event(Event::Step { image, number, total, name });
    }

    fn copy(&mut self, making: &mut Making<'_>, step: &CopyStep, name: String) -> Result<(), BakeError> {
        let begun = Instant::now();
        let image = making.recipe.name.clone();
        let picked = match &step.image {
            None => copy::from_source(self.request.source, step),
            Some(other) => {
                let baked = self.image(other)?;
                copy::from_image(&self.request.store.image_tree(&baked.digest)?, step)
            }
        };
        let fault =
            |source| BakeError::Copy { image: image.clone(), step: name.clone(), source: Box::new(source) };
        let plan =
            copy::plan(step, &picked.map_err(fault)?, &making.skeleton, &mut self.hashes, making.epoch);
        let plan = plan.map_err(fault)?;
        let (key, inputs) = copy_key(&plan, making.epoch);
        let tree = &plan.tree;
        self.step(making, begun, name, key, inputs, |kitchen, making, name| {
            kitchen.write(making, name, tree, &plan.digests)
        })
    }

    /// Looks a step up, or carries it out and remembers it.
    pub(crate) fn step<'r>(
        &mut self,
        making: &mut Making<'r>,
        begun: Instant,
        name: String,
        key: Digest,
        inputs: Inputs,
        act: impl FnOnce(&mut Self, &mut Making<'r>, &str) -> Result<Made, BakeError>,
    ) -> Result<(), BakeError> {
        let known = cache::find(self.request.store, &key).or_else(|| making.pending(&key));
        let (outcome, reason, made) = match known {
            Some(made) => (Outcome::Cached, String::new(), made),
            None => {
                let reason = why(making.before.as_ref(), making.inputs.0.len(), &name, &inputs);
                let made = act(self, making, &name)?;
                making.records.push((key, made.clone()));
                (Outcome::Ran, reason, made)
            }
        };
        making.skeleton.add(&made.bones);
        let report = StepReport {
            outcome,
            why: reason,
            layer: if let [one] = made.layers.as_slice() { Some(one.blob.digest) } else { None },
            size: made.layers.iter().map(|layer| layer.blob.size).sum(),
            millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            name: name.clone(),
        };
        self.progress.event(Event::Done { image: &making.recipe.name, report: &report });
        making.history.extend(history(&name, making.epoch, made.layers.len())?);
        making.layers.extend(made.layers);
        making.reports.push(report);
        making.inputs.0.push((name, inputs));
        Ok(())
    }

    /// Writes a tree as one layer; no layer for an empty one.
    pub(crate) fn write(
        &self,
        making: &mut Making<'_>,
        step: &str,
        tree: &Tree,
        digests: &BTreeMap<Vec<u8>, Digest>,
    ) -> Result<Made, BakeError> {
        let bones = Bones::of(tree, &making.skeleton);
        if tree.nodes.is_empty() {
            return Ok(Made { layers: Vec::new(), bones });
        }
        let layer = write_layer(self.request.store, tree, making.epoch, self.request.jobs, digests).map_err(
            |source| BakeError::Layer {
                image: making.recipe.name.clone(),
                step: step.into(),
                source: Box::new(source),
            },
        )?;
        making.staged.push(layer.staged);
        Ok(Made { layers: vec![layer.reference], bones })
    }

    /// Puts what is written into the store, so that it is not lost when a later step fails.
    pub(crate) fn commit(&self, making: &mut Making<'_>) -> Result<(), BakeError> {
        self.request.store.commit(std::mem::take(&mut making.staged))?;
        for (key, made) in making.records.drain(..) {
            cache::remember(self.request.store, &key, &made)?;
        }
        Ok(())
    }

    fn finish(&self, mut making: Making<'_>) -> Result<Baked, BakeError> {
        let store = self.request.store;
        let config = making.start.merge(&making.recipe.config);
        let parts = Parts {
            recipe: making.recipe,
            config: &config,
            base: making.start.execution.as_ref(),
            architecture: &making.start.architecture,
            variant: making.start.variant.clone(),
            epoch: making.epoch,
            layers: &making.layers,
            history: &[making.start.history.as_slice(), &making.history].concat(),
        };
        let config = document::config(&parts)?;
        let manifest = document::manifest(&parts, &config)?;
        self.stage_new(&mut making, &config)?;
        let size = manifest.len() as u64;
        let digest = self.stage_new(&mut making, &manifest)?;
        self.commit(&mut making)?;
        let descriptor = Descriptor::new(oci::MANIFEST, digest, size);
        let name = making.recipe.name.clone();
        store.tag(name.as_str(), &descriptor)?;
        if making.before.as_ref() != Some(&making.inputs) {
            making.inputs.save(store, self.request.source, &name)?;
        }
        Ok(Baked { name, digest, descriptor, steps: making.reports })
    }

    fn stage_new(&self, making: &mut Making<'_>, bytes: &[u8]) -> Result<Digest, BakeError> {
        use sha2::{Digest as _, Sha256};
        let digest = Digest::from_bytes(Sha256::digest(bytes).into());
        // Everything is found through these few bytes: a damaged copy is written anew.
        if self.request.store.verify_blob(&digest).is_err() {
            making.staged.push(self.request.store.stage_bytes(bytes)?);
        }
        Ok(digest)
    }
}

impl Making<'_> {
    /// Drops the entries of the base's step, for a base with a history of its own.
    pub(crate) fn forget_history(&mut self) {
        self.history.clear();
    }

    fn pending(&self, key: &Digest) -> Option<Made> {
        self.records.iter().find(|(known, _)| known == key).map(|(_, made)| made.clone())
    }
}

/// A layer's entry in the history. Docker wants one per layer.
fn history(name: &str, epoch: i64, layers: usize) -> Result<Vec<OciHistory>, BakeError> {
    let entry = OciHistory {
        created: Some(document::time(epoch)?),
        created_by: Some(format!("kiln: {name}")),
        comment: None,
        empty_layer: false,
    };
    Ok(vec![entry; layers])
}

/// The key of a copy layer: every node of its tree, and the digests of its files. The layers below it are no
/// part of it but for what the tree took from them (owners' numbers, real paths).
fn copy_key(plan: &Plan, epoch: i64) -> (Digest, Inputs) {
    let mut maker = KeyMaker::new("copy");
    maker.part("format", FORMAT.as_bytes());
    maker.part("epoch", &epoch.to_le_bytes());
    let mut inputs = Inputs::from([("epoch".to_owned(), epoch.to_string())]);
    for (path, node) in &plan.tree.nodes {
        let content = match &node.kind {
            Kind::Folder => "folder".to_owned(),
            Kind::File(_) => plan.digests.get(path).map(ToString::to_string).unwrap_or_default(),
            Kind::Symlink(target) => format!("-> {}", hex::encode(target)),
            Kind::Hardlink(target) => format!("= {}", hex::encode(target)),
        };
        let xattrs: Vec<String> =
            node.xattrs.iter().map(|(name, value)| format!("{name}={}", hex::encode(value))).collect();
        let line = format!(
            "{:o} {} {} {} {content} {}",
            node.mode,
            node.uid,
            node.gid,
            node.mtime,
            xattrs.join(" ")
        );
        maker.part("path", path);
        maker.part("node", line.as_bytes());
        inputs.insert(format!("/{}", String::from_utf8_lossy(path)), line);
    }
    (maker.key(), inputs)
}

/// A step in the words of the spec.
fn step_name(step: &Step) -> String {
    match step {
        Step::Copy(step) => {
            let from = step.image.as_ref().map(|image| format!("{image}:")).unwrap_or_default();
            format!("copy {from}{} {}", step.from, step.to)
        }
        Step::Run(step) => {
            let line = match &step.command {
                Command::Line(line) => line.clone(),
                Command::Argv(words) => words.join(" "),
            };
            let short: String =
                line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(100).collect();
            format!("run {short}")
        }
    }
}
