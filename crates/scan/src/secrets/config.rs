//! Secrets in the configuration of an image.

use kiln_store::oci::ImageFile;

use super::engine::{engine, findings};
use super::rules::Context;
use super::windows::Window;
use super::{Place, SecretFinding};

/// Texts of a configuration are cut here; the whole document has at most a few MiB.
const MOST: usize = 1 << 20;

/// Searches environment, labels, command lines and history.
pub(crate) fn search(file: &ImageFile) -> Vec<SecretFinding> {
    let mut found = Vec::new();
    if let Some(config) = &file.config {
        for variable in config.env.iter().flatten() {
            let name = variable.split('=').next().unwrap_or_default().to_owned();
            found.extend(text(variable, &Place::Environment { name }));
        }
        // Kiln's own label repeats environment and command lines.
        for (name, value) in
            config.labels.iter().flatten().filter(|(name, _)| *name != crate::facts::CONFIG_LABEL)
        {
            found.extend(text(value, &Place::Label { name: name.clone() }));
        }
        let test = config.healthcheck.as_ref().map(|check| &check.test);
        for (which, words) in
            [("entrypoint", config.entrypoint.as_ref()), ("cmd", config.cmd.as_ref()), ("healthcheck", test)]
        {
            let line = words.map(|words| words.join(" ")).unwrap_or_default();
            found.extend(text(&line, &Place::Command { which: which.into() }));
        }
    }
    for (index, step) in file.history.iter().enumerate() {
        let lines = [step.created_by.as_deref(), step.comment.as_deref()];
        for line in lines.into_iter().flatten() {
            found.extend(text(line, &Place::History { step: index + 1 }));
        }
    }
    found
}

fn text(text: &str, place: &Place) -> Vec<SecretFinding> {
    let bytes = text.as_bytes();
    let window = Window::whole(bytes[..bytes.len().min(MOST)].to_vec());
    let found = engine().search(&window, Context::Config);
    findings(found, None, &|_| place.clone())
}
