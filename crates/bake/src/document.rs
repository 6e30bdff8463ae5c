//! The two documents of an image: configuration and manifest.

use std::collections::BTreeMap;

use kiln_model::{Command, Digest, Health, ImageConfig, Probe, Recipe};
use kiln_store::LayerRef;
use kiln_store::oci::{
    self, Descriptor, Empty, Execution, Healthcheck, History, ImageFile, Manifest, RootFs,
};
use sha2::{Digest as _, Sha256};

use crate::BakeError;

/// The label that lets a Kiln run the image from its digest alone.
pub const CONFIG_LABEL: &str = "dev.kiln.config";

/// The annotation with the digest of the recipe.
pub const RECIPE_ANNOTATION: &str = "dev.kiln.recipe";

const CREATED: &str = "org.opencontainers.image.created";

/// What programs find in `PATH` when the image says nothing: the same as in Docker.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that the documents are made of.
pub(crate) struct Parts<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) config: &'a ImageConfig,
    /// Ports of the base that the recipe does not name, as OCI writes them.
    pub(crate) base: Option<&'a Execution>,
    pub(crate) architecture: &'a str,
    pub(crate) variant: Option<String>,
    pub(crate) epoch: i64,
    pub(crate) layers: &'a [LayerRef],
    pub(crate) history: &'a [History],
}

/// An RFC 3339 time.
pub(crate) fn time(epoch: i64) -> Result<String, BakeError> {
    jiff::Timestamp::from_second(epoch).map(|time| time.to_string()).map_err(|_| BakeError::Epoch { epoch })
}

/// The bytes of the configuration.
pub(crate) fn config(parts: &Parts<'_>) -> Result<Vec<u8>, BakeError> {
    let created = time(parts.epoch)?;
    let mut history = parts.history.to_vec();
    history.push(History {
        created: Some(created.clone()),
        created_by: Some("kiln: config".into()),
        comment: None,
        empty_layer: true,
    });
    let file = ImageFile {
        created: Some(created),
        architecture: parts.architecture.into(),
        variant: parts.variant.clone(),
        os: "linux".into(),
        config: Some(execution(parts)?),
        rootfs: RootFs {
            kind: "layers".into(),
            diff_ids: parts.layers.iter().map(|layer| layer.diff_id).collect(),
        },
        history,
    };
    serde_json::to_vec(&file).map_err(BakeError::json("the image's configuration"))
}

/// The bytes of the manifest.
pub(crate) fn manifest(parts: &Parts<'_>, config: &[u8]) -> Result<Vec<u8>, BakeError> {
    let recipe = serde_json::to_vec(parts.recipe).map_err(BakeError::json("the recipe"))?;
    let digest = |bytes: &[u8]| Digest::from_bytes(Sha256::digest(bytes).into());
    let config = Descriptor::new(oci::CONFIG, digest(config), config.len() as u64);
    let layers = parts.layers.iter().map(|layer| layer.blob.clone()).collect();
    let annotations = BTreeMap::from([
        (CREATED.into(), time(parts.epoch)?),
        (RECIPE_ANNOTATION.into(), digest(&recipe).to_string()),
    ]);
    let manifest = Manifest { annotations, ..Manifest::new(config, layers) };
    serde_json::to_vec(&manifest).map_err(BakeError::json("the image's manifest"))
}

fn execution(parts: &Parts<'_>) -> Result<Execution, BakeError> {
    let config = parts.config;
    let mut labels = config.labels.clone();
    let label = serde_json::to_string(config).map_err(BakeError::json("the image's configuration"))?;
    labels.insert(CONFIG_LABEL.into(), label);
    let mut ports: BTreeMap<String, Empty> =
        config.ports.values().map(|port| (format!("{}/tcp", port.number), Empty {})).collect();
    let mut volumes: BTreeMap<String, Empty> =
        config.volumes.values().map(|volume| (volume.path.clone(), Empty {})).collect();
    if let Some(base) = parts.base {
        ports.extend(base.exposed_ports.clone().unwrap_or_default());
        volumes.extend(base.volumes.clone().unwrap_or_default());
    }
    Ok(Execution {
        user: config.user.clone(),
        exposed_ports: filled(ports),
        env: Some(config.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        entrypoint: Some(config.entrypoint.clone()).filter(|words| !words.is_empty()),
        cmd: Some(config.cmd.clone()).filter(|words| !words.is_empty()),
        healthcheck: config.health.as_ref().and_then(healthcheck),
        volumes: filled(volumes),
        working_dir: config.workdir.clone(),
        labels: Some(labels),
        stop_signal: Some(config.stop.signal.clone()),
    })
}

fn filled<V>(map: BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    Some(map).filter(|map| !map.is_empty())
}

/// Docker knows commands only: HTTP and TCP probes would need a program in the image.
fn healthcheck(health: &Health) -> Option<Healthcheck> {
    let Probe::Command { command } = &health.probe else { return None };
    let test = match command {
        Command::Line(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        Command::Argv(words) => std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect(),
    };
    let nanos = |span: kiln_model::Span| span.millis().saturating_mul(1_000_000);
    Some(Healthcheck {
        test,
        interval: nanos(health.interval),
        timeout: nanos(health.timeout),
        start_period: nanos(health.grace),
        retries: health.fall,
    })
}
