//! From references to secrets to their values, at the moment an instance starts.
//!
//! A [`SecretRef`] is what specs, releases and records hold; a [`Value`] exists in memory only, shows nothing of itself
//! and is overwritten when it is dropped. Nothing is cached: who starts an instance gets what is there now, and so a
//! rotated secret arrives with the next instance.

mod error;
mod value;
mod vault;

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_model::{Delivery, Secret, SecretRef};
use tokio::io::AsyncReadExt;

pub use self::error::{ResolveError, SecretError};
pub use self::value::Value;

/// The largest secret, in bytes; what Kubernetes allows as well (a Secret there has 1 MiB).
pub const LARGEST: usize = 1 << 20;

/// The longest secret as environment variable, in bytes: the kernel gives a program no variable beyond 128 KiB
/// (`MAX_ARG_STRLEN`, execve(2)), with its name and the end.
pub const LARGEST_VARIABLE: usize = (128 << 10) - 512;

/// Reads secrets where they are.
#[derive(Clone)]
pub struct Resolver {
    env: Arc<Env>,
}

/// Looks up a variable of an environment.
type Env = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Default for Resolver {
    /// With the environment of this process, from which `VAULT_ADDR` and its companions are taken too.
    fn default() -> Self {
        Self::with_env(|name| std::env::var(name).ok())
    }
}

impl Resolver {
    /// With another environment.
    pub fn with_env(env: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { env: Arc::new(env) }
    }

    /// The values of all secrets of a service, fit for how they are delivered.
    ///
    /// # Errors
    /// The first secret that cannot be had, with its name and where it was looked for; never a part of a value.
    pub async fn resolve(
        &self,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<BTreeMap<String, Value>, SecretError> {
        let mut values = BTreeMap::new();
        for (name, secret) in secrets {
            let unread = |source| SecretError { name: name.clone(), from: secret.from.clone(), source };
            let from = secret.from.as_ref().ok_or(ResolveError::Unsaid).map_err(unread)?;
            let value = self.read(from).await.map_err(unread)?;
            values.insert(name.clone(), delivered(value, secret.delivery).map_err(unread)?);
        }
        Ok(values)
    }

    async fn read(&self, from: &SecretRef) -> Result<Value, ResolveError> {
        match from {
            SecretRef::File { path } => file(path).await,
            SecretRef::Env { name } => {
                let value = (self.env)(name).ok_or_else(|| ResolveError::NoVariable(name.clone()))?;
                sized(Value::new(value.into_bytes()))
            }
            SecretRef::Vault { path, version, field } => {
                sized(vault::read(&*self.env, path, *version, field).await?)
            }
        }
    }
}

async fn file(path: &str) -> Result<Value, ResolveError> {
    let unread = |source| ResolveError::File { path: path.into(), source };
    let file = tokio::fs::File::open(path).await.map_err(unread)?;
    let metadata = file.metadata().await.map_err(unread)?;
    if !metadata.is_file() {
        // A pipe or a device would be waited for, and read empty by whoever comes first.
        return Err(ResolveError::NoFile(path.into()));
    }
    // With room from the beginning: a buffer that grows leaves parts of the secret behind.
    let room = usize::try_from(metadata.len()).unwrap_or(LARGEST).min(LARGEST) + 64;
    let mut bytes = Value::new(Vec::with_capacity(room));
    file.take(LARGEST as u64 + 1).read_to_end(bytes.buffer()).await.map_err(unread)?;
    sized(bytes)
}

fn sized(value: Value) -> Result<Value, ResolveError> {
    match value.bytes().len() {
        0 => Err(ResolveError::Empty),
        1..=LARGEST => Ok(value),
        _ => Err(ResolveError::TooLarge { most: LARGEST }),
    }
}

/// A value as instances get it.
fn delivered(mut value: Value, delivery: Delivery) -> Result<Value, ResolveError> {
    if delivery == Delivery::File {
        return Ok(value);
    }
    value.trim_line_end();
    match value.bytes() {
        [] => Err(ResolveError::Empty),
        bytes if bytes.len() > LARGEST_VARIABLE => Err(ResolveError::TooLarge { most: LARGEST_VARIABLE }),
        bytes if bytes.contains(&0) || std::str::from_utf8(bytes).is_err() => Err(ResolveError::NoText),
        _ => Ok(value),
    }
}
