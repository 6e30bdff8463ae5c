//! Key-value engines of Vault and OpenBao, over their HTTP interface.
//!
//! Address, token, namespace and authorities come from the variables that their own clients read: `VAULT_ADDR`,
//! `VAULT_TOKEN` (or the file `~/.vault-token`), `VAULT_NAMESPACE`, `VAULT_CACERT`; `BAO_…` counts before `VAULT_…`. Which version
//! of the engine is mounted is asked as those clients ask it, at `sys/internal/ui/mounts`.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use zeroize::Zeroize;

use crate::Env;
use crate::error::ResolveError;
use crate::value::Value;

/// Whoever starts an instance waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The part of an answer that is wanted.
#[derive(Deserialize)]
struct Answer<D> {
    data: Option<D>,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Mount {
    /// With a slash at its end.
    path: String,
    #[serde(default)]
    options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    version: Option<String>,
}

/// Reads one field.
pub(crate) async fn read(
    env: &Env,
    path: &str,
    version: Option<u64>,
    field: &str,
) -> Result<Value, ResolveError> {
    let vault = Vault::of(env)?;
    let mount: Mount = vault.get(&format!("sys/internal/ui/mounts/{path}"), path).await?;
    let second = mount.options.and_then(|options| options.version).as_deref() == Some("2");
    let below = path.strip_prefix(&mount.path).unwrap_or(path);
    let mut data: Map<String, Json> = if second {
        let query = version.map(|version| format!("?version={version}")).unwrap_or_default();
        let mut answer: Map<String, Json> =
            vault.get(&format!("{}data/{below}{query}", mount.path), path).await?;
        match answer.remove("data") {
            Some(Json::Object(data)) => data,
            _ => Map::new(),
        }
    } else {
        vault.get(&format!("{}{below}", mount.path), path).await?
    };
    let found = match data.remove(field) {
        Some(Json::String(text)) => Some(Value::new(text.into_bytes())),
        _ => None,
    };
    let known: Vec<&str> = data.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let missing = ResolveError::NoField { path: path.into(), field: field.into(), known };
    data.values_mut().for_each(forget);
    found.ok_or(missing)
}

/// Overwrites the texts of what else came with the field.
fn forget(value: &mut Json) {
    match value {
        Json::String(text) => text.zeroize(),
        Json::Array(items) => items.iter_mut().for_each(forget),
        Json::Object(fields) => fields.values_mut().for_each(forget),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

struct Vault {
    address: String,
    client: reqwest::Client,
}

impl Vault {
    fn of(env: &Env) -> Result<Self, ResolveError> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let either = |name: &str| set(&format!("BAO_{name}")).or_else(|| set(&format!("VAULT_{name}")));
        let address = either("ADDR").ok_or(ResolveError::Vault("VAULT_ADDR"))?;
        let address = address.trim_end_matches('/').to_owned();
        let kept = || {
            let file = PathBuf::from(set("HOME")?).join(".vault-token");
            Some(std::fs::read_to_string(file).ok()?.trim().to_owned())
        };
        let token = either("TOKEN").or_else(kept).ok_or(ResolveError::Vault("VAULT_TOKEN"))?;
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str, from| -> Result<(), ResolveError> {
            let mut value = HeaderValue::from_str(value).map_err(|_| ResolveError::Vault(from))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        put("authorization", &format!("Bearer {token}"), "VAULT_TOKEN that could be one")?;
        put("x-vault-request", "true", "")?;
        if let Some(namespace) = either("NAMESPACE") {
            put("x-vault-namespace", &namespace, "VAULT_NAMESPACE that could be one")?;
        }
        let wrap = |source| ResolveError::Client { address: address.clone(), source };
        let builder = match either("CACERT") {
            Some(file) => {
                kiln_outbound::client_trusting(file.as_ref()).map_err(|error| wrap(error.into()))?
            }
            None => kiln_outbound::client().map_err(|error| wrap(error.into()))?,
        };
        // As bearer, the token does not go along when an answer leads to another host.
        let client = builder.default_headers(headers).timeout(PATIENCE).build();
        let client = client.map_err(|error| wrap(error.into()))?;
        Ok(Self { address, client })
    }

    async fn get<D: for<'de> Deserialize<'de>>(&self, path: &str, shown: &str) -> Result<D, ResolveError> {
        let server = |source: reqwest::Error| ResolveError::Server {
            address: self.address.clone(),
            path: shown.into(),
            // The URL has been named already.
            source: source.without_url(),
        };
        let url = format!("{}/v1/{path}", self.address);
        let answer = self.client.get(url).send().await.map_err(server)?;
        let status = answer.status();
        let body: Result<Answer<D>, _> = answer.json().await;
        let said = match body {
            Ok(Answer { data: Some(data), .. }) if status.is_success() => return Ok(data),
            Err(error) if status.is_success() => return Err(server(error)),
            Ok(Answer { errors, .. }) => errors.join("; "),
            Err(_) => String::new(),
        };
        let said = match (said.as_str(), status.as_u16()) {
            ("", 404) => "there is no such secret, or not in this version".to_owned(),
            ("", _) => "it does not say why".to_owned(),
            _ => said,
        };
        let (address, path) = (self.address.clone(), shown.to_owned());
        Err(ResolveError::Refused { address, path, status: status.as_u16(), said })
    }
}
