//! An image's configuration over that of its base, as Docker does it: a new entrypoint drops the old arguments,
//! a variable replaces its namesake, everything not said is inherited.

use std::collections::BTreeMap;

use kiln_model::ImageConfig;
use kiln_store::oci::Execution;

use crate::document::{CONFIG_LABEL, PATH};

pub(super) fn merge(config: &ImageConfig, base: Option<&Execution>) -> ImageConfig {
    let mut merged = config.clone();
    if let Some(base) = base {
        inherit(&mut merged, base);
    }
    merged.env.entry("PATH".into()).or_insert_with(|| PATH.into());
    merged
}

fn inherit(config: &mut ImageConfig, base: &Execution) {
    let mut labels = base.labels.clone().unwrap_or_default();
    let kiln: Option<ImageConfig> =
        labels.remove(CONFIG_LABEL).and_then(|label| serde_json::from_str(&label).ok());
    if config.entrypoint.is_empty() {
        config.entrypoint = base.entrypoint.clone().unwrap_or_default();
        if config.cmd.is_empty() {
            config.cmd = base.cmd.clone().unwrap_or_default();
        }
    }
    over(&mut config.env, environment(base));
    over(&mut config.labels, labels);
    config.user = config.user.take().or_else(|| base.user.clone().filter(|user| !user.is_empty()));
    config.workdir =
        config.workdir.take().or_else(|| base.working_dir.clone().filter(|path| !path.is_empty()));
    let Some(kiln) = kiln else {
        if let (Some(signal), true) = (&base.stop_signal, config.stop == kiln_model::Stop::default()) {
            config.stop.signal.clone_from(signal);
        }
        return;
    };
    // A base that Kiln made says more than OCI has words for.
    if config.ports.is_empty() {
        config.ports = kiln.ports;
    }
    if config.stop == kiln_model::Stop::default() {
        config.stop = kiln.stop;
    }
    config.health = config.health.take().or(kiln.health);
    over(&mut config.volumes, kiln.volumes);
}

fn over<K: Ord, V>(upper: &mut BTreeMap<K, V>, lower: BTreeMap<K, V>) {
    for (key, value) in lower {
        upper.entry(key).or_insert(value);
    }
}

fn environment(base: &Execution) -> BTreeMap<String, String> {
    let lines = base.env.iter().flatten();
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}
