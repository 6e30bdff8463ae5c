//! Keys, what an environment asks for, and what the verbs swear to.

use std::collections::BTreeMap;

use kiln_attest::evidence::attest;
use kiln_attest::keys::{Folder, KeyError, PASSPHRASE_VARIABLE, PrivateKey, own_name};
use kiln_attest::predicate::Predicate;
use kiln_control::api::ProofRules;
use kiln_model::{Digest, Name};
use kiln_spec::Loaded;
use kiln_store::Store;

use crate::context::now_ms;
use crate::error::{Failure, Kind, Result};
use crate::home::Home;

/// With which key something is signed.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct KeyArgs {
    /// Key of the home to sign with, by name; without it the home's own, made at its first use. The passphrase is taken
    /// from KILN_KEY_PASSPHRASE
    #[arg(long, value_name = "NAME", value_parser = crate::context::name)]
    pub(crate) key: Option<Name>,
}

impl KeyArgs {
    /// The key.
    pub(crate) fn load(&self) -> Result<PrivateKey> {
        let (folder, passphrase) = (folder()?, passphrase());
        let passphrase = passphrase.as_deref().map(str::as_bytes);
        let loaded = match &self.key {
            None => folder.own(passphrase),
            Some(name) => folder.load(name, passphrase),
        };
        loaded.map_err(|error| failure(&error))
    }

    /// What the key is called.
    pub(crate) fn name(&self) -> Name {
        self.key.clone().unwrap_or_else(own_name)
    }
}

/// The keys of the home.
pub(crate) fn folder() -> Result<Folder> {
    Folder::open(&Home::find()?.path().join("keys")).map_err(|error| failure(&error))
}

/// The passphrase of private keys, when one is given.
pub(crate) fn passphrase() -> Option<String> {
    std::env::var(PASSPHRASE_VARIABLE).ok()
}

/// A key that cannot be used, with what to do about it.
pub(crate) fn failure(error: &KeyError) -> Failure {
    let hint = match inner(error) {
        KeyError::PassphraseNeeded => format!("set {PASSPHRASE_VARIABLE}"),
        KeyError::Unknown { .. } => "`kiln key list` shows the keys; `kiln key create NAME` makes one".into(),
        KeyError::Exists { .. } => "choose another name; keys are never overwritten".into(),
        KeyError::Exposed { path, .. } => {
            format!("run `chmod 600 {}`, and think about who read it", path.display())
        }
        _ => return Failure::from_error(Kind::Failed, error),
    };
    Failure::from_error(Kind::Failed, error).hint(hint)
}

fn inner(error: &KeyError) -> &KeyError {
    match error {
        KeyError::File { source, .. } => source,
        other => other,
    }
}

/// Writes a signed statement about an image into the store.
pub(crate) fn swear(
    store: &Store,
    image: &Digest,
    predicate: &Predicate,
    key: &PrivateKey,
) -> Result<Digest> {
    let now = now_ms().max(0).unsigned_abs();
    attest(store, image, predicate, key, now).map_err(|error| Failure::from_error(Kind::Failed, &error))
}

/// The public keys that the spec names, as PEM.
pub(crate) fn named_keys(loaded: &Loaded) -> Result<BTreeMap<Name, String>> {
    let read = |(name, key): (&Name, &kiln_model::TrustedKey)| {
        let path = loaded.dir.join(&key.file);
        let pem = std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(Kind::Spec, format!("cannot read the key {name} of the spec, {}", path.display()))
                .because(&error)
                .hint(format!("put the public key there: `kiln key public {name} > {}`", key.file))
        })?;
        Ok((name.clone(), pem))
    };
    loaded.project.keys.iter().map(read).collect()
}

/// What an environment asks for before something is deployed there.
pub(crate) fn rules(
    loaded: &Loaded,
    environment: &Name,
    from: Option<Name>,
    bypass: Option<String>,
) -> Result<ProofRules> {
    let Some(wanted) = loaded.project.environments.get(environment) else { return Ok(ProofRules::default()) };
    let keys = if wanted.requires.is_empty() { BTreeMap::new() } else { named_keys(loaded)? };
    let requires = wanted.requires.clone();
    Ok(ProofRules { from, protected: wanted.protected, requires, keys, bypass })
}
