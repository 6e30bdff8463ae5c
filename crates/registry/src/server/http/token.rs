//! Proving who one is: the challenge, the token endpoint, and the `Authorization` of requests.
//!
//! Source: the distribution project's token authentication and OAuth 2 specifications.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;

use crate::name::Repository;
use crate::server::auth::{Action, Claims, Grantable, Principal, Restricted, SCOPES};
use crate::server::error::{ApiError, Code};
use crate::server::registry::Inner;

/// The largest form that asks for a token.
const FORM: usize = 64 << 10;

type Pairs = Vec<(String, String)>;

/// Who sends a request. Where access is restricted, somebody without `Authorization` is nobody in particular.
pub(super) async fn principal(registry: &Inner, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let Some(rules) = registry.config.access.rules() else { return Ok(Principal::Everybody) };
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(Principal::Known(rules.clone(), None)) };
    let text = header.to_str().unwrap_or_default();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        let claims = registry.signer.check(rest.trim(), registry.now() / 1000);
        let claims =
            claims.ok_or_else(|| challenge(registry, headers, None, "the token is not good (any more)"))?;
        return Ok(Principal::Bearer(rules.clone(), claims));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let user = login(rules, rest).await;
        let user = user.ok_or_else(|| challenge(registry, headers, None, "user or password is wrong"))?;
        return Ok(Principal::Known(rules.clone(), Some(user)));
    }
    Err(challenge(registry, headers, None, "only Basic and Bearer are known"))
}

async fn login(rules: &Restricted, basic: &str) -> Option<String> {
    let decoded = STANDARD.decode(basic.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    rules.passwords.check(user, password).await.then(|| user.to_owned())
}

/// 401 with the way to a token for what was tried.
pub(super) fn challenge(
    registry: &Inner,
    headers: &HeaderMap,
    scope: Option<&str>,
    message: &str,
) -> ApiError {
    let base = registry.base_url(headers.get(HOST).and_then(|host| host.to_str().ok()));
    let service = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
    let mut text = format!("Bearer realm=\"{base}/token\",service=\"{service}\"");
    if let Some(scope) = scope {
        text = format!("{text},scope=\"{scope}\"");
    }
    let message = format!("{message}; log in with a user of this registry");
    ApiError::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message).header(WWW_AUTHENTICATE, &text)
}

/// Fails unless the sender may do all of this with a repository.
pub(super) fn require(
    registry: &Inner,
    principal: &Principal,
    headers: &HeaderMap,
    repository: &Repository,
    action: Action,
) -> Result<(), ApiError> {
    if principal.may(repository, action) {
        return Ok(());
    }
    let act = action.name();
    let worth_asking = principal.user().is_none() || principal.has_right(repository, action);
    if worth_asking {
        // Whoever pushes or deletes reads as well.
        let wanted = if action == Action::Pull { "pull".into() } else { format!("pull,{act}") };
        let scope = format!("repository:{repository}:{wanted}");
        return Err(challenge(
            registry,
            headers,
            Some(&scope),
            &format!("{act} on {repository} needs a right"),
        ));
    }
    let user = principal.user().unwrap_or_default();
    let message =
        format!("the user {user} may not {act} {repository}; ask who runs this registry for a grant");
    Err(ApiError::new(StatusCode::FORBIDDEN, Code::Denied, message))
}

/// Fails where access is restricted and the sender did not prove anything, as clients expect of `/v2/`.
pub(super) fn require_anything(
    registry: &Inner,
    principal: &Principal,
    headers: &HeaderMap,
    catalog: bool,
) -> Result<(), ApiError> {
    match principal {
        Principal::Known(_, None) => {
            let scope = catalog.then_some("registry:catalog:*");
            Err(challenge(registry, headers, scope, "this registry is not open"))
        }
        Principal::Bearer(_, claims) if catalog && !claims.covers_catalog() => Err(challenge(
            registry,
            headers,
            Some("registry:catalog:*"),
            "the token is not for the catalogue",
        )),
        _ => Ok(()),
    }
}

/// `GET` and `POST /token`.
pub(super) async fn endpoint(State(registry): State<Arc<Inner>>, request: Request) -> Response {
    issue(&registry, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn issue(registry: &Inner, request: Request) -> Result<Response, ApiError> {
    let Some(rules) = registry.config.access.rules() else {
        return Err(ApiError::missing(Code::Unsupported, "this registry is open; it gives no tokens"));
    };
    let (parts, body) = request.into_parts();
    let (user, asked) = if parts.method == Method::POST {
        let asked = form(body).await?;
        (Some(by_form(rules, &asked).await?), asked)
    } else {
        let asked = Query::<Pairs>::try_from_uri(&parts.uri).map(|Query(pairs)| pairs).unwrap_or_default();
        let Principal::Known(_, user) = principal(registry, &parts.headers).await? else {
            return Err(ApiError::bad(Code::Unsupported, "a token cannot ask for a token"));
        };
        (user, asked)
    };
    let access = granted(rules, user.as_deref(), &asked);
    let now = registry.now() / 1000;
    let life = rules.token_life.as_secs();
    let token = registry.signer.sign(&Claims::new(user.as_deref(), now, life, access));
    let body = json!({
        "token": token, "access_token": token, "expires_in": life, "issued_at": rfc3339(now), "token_type": "Bearer"
    });
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn form(body: Body) -> Result<Pairs, ApiError> {
    let bad = |_| ApiError::bad(Code::Unsupported, "the form cannot be read");
    let bytes = Limited::new(body, FORM).collect().await.map_err(bad)?.to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let uri: http::Uri = format!("/?{text}").parse().map_err(|_| bad("".into()))?;
    let Query(pairs) = Query::<Pairs>::try_from_uri(&uri).map_err(|_| bad("".into()))?;
    Ok(pairs)
}

async fn by_form(rules: &Restricted, asked: &Pairs) -> Result<String, ApiError> {
    let field = |name: &str| asked.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str());
    if field("grant_type") != Some("password") {
        return Err(ApiError::bad(
            Code::Unsupported,
            "only grant_type=password is known; there are no refresh tokens",
        ));
    }
    let (user, password) = (field("username").unwrap_or_default(), field("password").unwrap_or_default());
    if rules.passwords.check(user, password).await {
        return Ok(user.to_owned());
    }
    Err(ApiError::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, "user or password is wrong"))
}

/// The part of what was asked for that the user has a right to.
fn granted(rules: &Restricted, user: Option<&str>, asked: &Pairs) -> Vec<Grantable> {
    let scopes = asked.iter().filter(|(key, _)| key == "scope").flat_map(|(_, text)| text.split(' '));
    let scopes = scopes.filter_map(Grantable::parse).take(SCOPES);
    let grant = |mut scope: Grantable| {
        if scope.kind == "registry" && scope.name == "catalog" {
            return user.is_some().then_some(scope);
        }
        let repository: Repository = scope.name.parse().ok().filter(|_| scope.kind == "repository")?;
        let actions = scope.known_actions().into_iter();
        let actions = actions.filter(|action| rules.allows(user, &repository, *action));
        scope.actions = actions.map(|action| action.name().to_owned()).collect();
        (!scope.actions.is_empty()).then_some(scope)
    };
    scopes.filter_map(grant).collect()
}

fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().to_string()
}
