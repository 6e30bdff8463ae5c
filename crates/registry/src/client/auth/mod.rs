//! Proving who one is: stored credentials, and the tokens that registries want for them.
//!
//! Tokens are kept per registry and scope, and asked for once however many transfers need them. Source of the token
//! flow: the "Token Authentication Specification" and "OAuth2 Token Authentication" of the distribution project.

mod challenge;
mod helper;
mod keys;

pub use keys::{Keys, Login};

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use self::challenge::{Challenge, choose};
use super::RegistryError;
use super::error::Task;
use super::retry::Attempt;
use super::transport::{Place, Transport, bounded, broken};

/// An answer with a token is refused beyond this.
const TOKEN_LIMIT: usize = 1 << 20;

/// What a token lives when its giver does not say (the specification's figure).
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// What is going to be done with a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    /// Every repository with the acts on it.
    wanted: BTreeMap<String, BTreeSet<&'static str>>,
}

impl Scope {
    /// Reading from one repository.
    pub(super) fn pull(place: &Place) -> Self {
        Self { wanted: BTreeMap::from([(place.repository.to_string(), BTreeSet::from(["pull"]))]) }
    }

    /// Reading and writing.
    pub(super) fn push(place: &Place) -> Self {
        Self { wanted: BTreeMap::from([(place.repository.to_string(), BTreeSet::from(["pull", "push"]))]) }
    }

    /// Deleting.
    pub(super) fn delete(place: &Place) -> Self {
        Self { wanted: BTreeMap::from([(place.repository.to_string(), BTreeSet::from(["delete", "pull"]))]) }
    }

    /// With the right to read from another repository too.
    pub(super) fn and_pull(mut self, place: &Place) -> Self {
        self.wanted.entry(place.repository.to_string()).or_default().insert("pull");
        self
    }

    fn parameters(&self) -> Vec<String> {
        let text = |(name, acts): (&String, &BTreeSet<&str>)| {
            let acts: Vec<&str> = acts.iter().copied().collect();
            format!("repository:{name}:{}", acts.join(","))
        };
        self.wanted.iter().map(text).collect()
    }
}

/// What is shown to a registry.
#[derive(Clone, Debug)]
struct Pass {
    value: HeaderValue,
    until: Option<Instant>,
}

/// What is known about proving who one is to one registry.
#[derive(Debug, Default)]
pub(super) struct Door {
    passes: Mutex<BTreeMap<Scope, Pass>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Door {
    /// What to show for this scope, as far as it is known.
    pub(super) async fn pass(&self, scope: &Scope) -> Option<HeaderValue> {
        let passes = self.passes.lock().await;
        let pass = passes.get(scope)?;
        pass.until.is_none_or(|until| Instant::now() < until).then(|| pass.value.clone())
    }

    /// Answers a challenge; `None` when there is nothing to answer with. `shown` is what was refused: when others have
    /// got something newer meanwhile, that is the answer.
    pub(super) async fn answer(
        &self,
        transport: &Transport,
        asked: &Asked<'_>,
        refusal: &Response,
        shown: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Attempt> {
        let mut passes = self.passes.lock().await;
        if let Some(pass) = passes.get(asked.scope).filter(|pass| Some(&pass.value) != shown) {
            return Ok(Some(pass.value.clone()));
        }
        let headers = refusal.headers().get_all(WWW_AUTHENTICATE).iter();
        let Some(challenge) = choose(headers.filter_map(|value| value.to_str().ok())) else {
            return Ok(None);
        };
        let login = transport.login(asked.place).await.map_err(Attempt::last)?;
        let Some(pass) = make(transport, asked, challenge, &login).await? else { return Ok(None) };
        passes.insert(asked.scope.clone(), pass.clone());
        Ok(Some(pass.value))
    }
}

/// For what credentials are needed.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) place: &'a Place,
    pub(super) scope: &'a Scope,
    pub(super) task: &'a Task,
}

async fn make(
    transport: &Transport,
    asked: &Asked<'_>,
    challenge: Challenge,
    login: &Login,
) -> Result<Option<Pass>, Attempt> {
    if let Login::Token(token) = login {
        return Ok(Some(Pass { value: secret(asked.task, format!("Bearer {token}"))?, until: None }));
    }
    match (challenge, login) {
        (Challenge::Basic, Login::Password { user, password }) => {
            Ok(Some(Pass { value: basic(asked.task, user, password)?, until: None }))
        }
        (Challenge::Basic, _) => Ok(None),
        (Challenge::Bearer { realm, service, scope }, login) => {
            let url = transport.realm(asked.task, asked.place, &realm)?;
            let mut scopes = asked.scope.parameters();
            // A registry may name its scopes in its own way.
            scopes.extend(scope.filter(|scope| !covers(&scopes, scope)));
            token(transport, asked, url, service, &scopes, login).await.map(Some)
        }
    }
}

/// Whether a scope that a registry asks for is among those that are asked for anyway.
fn covers(scopes: &[String], wanted: &str) -> bool {
    let split = |text: &str| text.rsplit_once(':').map(|(name, acts)| (name.to_owned(), acts.to_owned()));
    let Some((name, acts)) = split(wanted) else { return wanted.is_empty() };
    scopes.iter().filter_map(|scope| split(scope)).any(|(known, has)| {
        known == name && acts.split(',').all(|act| has.split(',').any(|known| known == act))
    })
}

async fn token(
    transport: &Transport,
    asked: &Asked<'_>,
    mut url: Url,
    service: Option<String>,
    scopes: &[String],
    login: &Login,
) -> Result<Pass, Attempt> {
    let task = Task { act: "get", what: "a token".into(), host: url.host_str().unwrap_or_default().into() };
    let request = if let Login::Identity(token) = login {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("client_id", "kiln");
        form.append_pair("service", service.as_deref().unwrap_or_default());
        form.append_pair("scope", &scopes.join(" ")).append_pair("refresh_token", token);
        let kind = "application/x-www-form-urlencoded";
        transport.http().post(url).header(reqwest::header::CONTENT_TYPE, kind).body(form.finish())
    } else {
        let service = service.iter().map(|service| ("service", service.as_str()));
        let scopes = scopes.iter().map(|scope| ("scope", scope.as_str()));
        url.query_pairs_mut().extend_pairs(service.chain(scopes));
        let request = transport.http().get(url);
        match login {
            Login::Password { user, password } => {
                request.header(AUTHORIZATION, basic(asked.task, user, password)?)
            }
            _ => request,
        }
    };
    let answer = request.send().await.map_err(|error| broken(&task, &error))?;
    if !answer.status().is_success() {
        return Err(transport.refused(&task, answer).await);
    }
    let bytes = bounded(transport, &task, answer, TOKEN_LIMIT).await?;
    // The parser's words might repeat the token.
    let wrong =
        || Attempt::last(RegistryError::Document { task: task.clone(), reason: "it holds no token".into() });
    let found: Token = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let text = found.token.or(found.access_token).filter(|token| !token.is_empty()).ok_or_else(wrong)?;
    let life = found.expires_in.map_or(TOKEN_LIFE, |seconds| Duration::from_secs(seconds.min(86_400)));
    // A token is not shown in its last fifth, so that it does not die on the way.
    Ok(Pass { value: secret(&task, format!("Bearer {text}"))?, until: Some(Instant::now() + life / 5 * 4) })
}

fn basic(task: &Task, user: &str, password: &str) -> Result<HeaderValue, Attempt> {
    secret(task, format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn secret(task: &Task, text: String) -> Result<HeaderValue, Attempt> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Attempt::last(RegistryError::Document {
            task: task.clone(),
            reason: "a token has characters that no header can have".into(),
        })
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_as_registries_want_them() {
        let place = |name: &str| Place { registry: "r.example".into(), repository: name.parse().unwrap() };
        let scope = Scope::push(&place("team/a")).and_pull(&place("b"));
        assert_eq!(scope.parameters(), ["repository:b:pull", "repository:team/a:pull,push"]);
        assert_eq!(Scope::delete(&place("a")).parameters(), ["repository:a:delete,pull"]);
        assert!(covers(&scope.parameters(), "repository:team/a:push"));
        assert!(!covers(&scope.parameters(), "repository:b:push"));
        assert!(!covers(&scope.parameters(), "registry:catalog:*"));
    }
}
