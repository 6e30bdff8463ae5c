//! Tags, repositories and referrers.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Query;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use http::request::Parts;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::digest::ContentDigest;
use crate::name::{INDEX, Repository};
use crate::server::auth::{Action, Principal};
use crate::server::db;
use crate::server::error::{ApiError, Code};
use crate::server::registry::Inner;

/// Entries of a page when the client names no number, and the most it may name.
const PAGE: u64 = 1_000;
const LARGEST_PAGE: u64 = 10_000;
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

struct Page {
    count: u64,
    last: String,
    all: HashMap<String, String>,
}

fn page(parts: &Parts) -> Result<Page, ApiError> {
    let asked = Query::<HashMap<String, String>>::try_from_uri(&parts.uri);
    let all = asked.map(|Query(map)| map).unwrap_or_default();
    let count = match all.get("n") {
        None => PAGE,
        Some(text) => {
            let parsed = text.parse::<u64>();
            parsed.map_err(|_| ApiError::bad(Code::Unsupported, format!("n={text} is not a number")))?
        }
    };
    Ok(Page { count: count.min(LARGEST_PAGE), last: all.get("last").cloned().unwrap_or_default(), all })
}

fn document(value: &Value, media_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Says where the next page is.
fn link(response: &mut Response, path: &str, pairs: &[(&str, &str)]) -> Result<(), ApiError> {
    let escaped = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let query: Vec<String> = pairs.iter().map(|(name, text)| format!("{name}={}", escaped(text))).collect();
    let value = HeaderValue::try_from(format!("<{path}?{}>; rel=\"next\"", query.join("&")));
    response.headers_mut().insert(LINK, value.map_err(|error| ApiError::internal(&error))?);
    Ok(())
}

/// Whether there is more than a page; the entry too many goes.
fn cut<T>(entries: &mut Vec<T>, count: u64) -> bool {
    let more = entries.len() as u64 > count;
    entries.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    more
}

/// GET `tags/list`.
pub(super) async fn tags(
    registry: &Arc<Inner>,
    repository: Repository,
    parts: &Parts,
) -> Result<Response, ApiError> {
    let Page { count, last, .. } = page(parts)?;
    let name = repository.clone();
    let found = registry
        .db
        .read(move |db, _| Ok((db::repository_exists(db, &name)?, db::tags(db, &name, &last, count + 1)?)));
    let (exists, mut tags) = found.await?;
    if !exists {
        return Err(ApiError::missing(Code::NameUnknown, format!("there is no repository {repository}")));
    }
    let more = cut(&mut tags, count);
    let names: Vec<&str> = tags.iter().map(crate::name::Tag::as_str).collect();
    let mut response = document(&json!({ "name": repository.as_str(), "tags": names }), "application/json");
    if let (true, Some(last)) = (more, names.last()) {
        let path = format!("/v2/{repository}/tags/list");
        link(&mut response, &path, &[("n", &count.to_string()), ("last", last)])?;
    }
    Ok(response)
}

/// GET `_catalog`: the repositories that the client may pull from.
pub(super) async fn catalog(
    registry: &Arc<Inner>,
    principal: &Principal,
    parts: &Parts,
) -> Result<Response, ApiError> {
    let Page { count, mut last, .. } = page(parts)?;
    let mut names: Vec<Repository> = Vec::new();
    // What the client may not see takes no room on its pages.
    while (names.len() as u64) <= count {
        let after = last.clone();
        let found = registry.db.read(move |db, _| db::catalog(db, &after, PAGE)).await?;
        let Some(end) = found.last() else { break };
        last = end.to_string();
        names.extend(found.into_iter().filter(|name| principal.has_right(name, Action::Pull)));
    }
    let more = cut(&mut names, count);
    let texts: Vec<&str> = names.iter().map(Repository::as_str).collect();
    let mut response = document(&json!({ "repositories": texts }), "application/json");
    if let (true, Some(last)) = (more, texts.last()) {
        link(&mut response, "/v2/_catalog", &[("n", &count.to_string()), ("last", last)])?;
    }
    Ok(response)
}

/// GET `referrers/<digest>`: an index of the manifests that have it as their subject, none when there are none.
pub(super) async fn referrers(
    registry: &Arc<Inner>,
    repository: Repository,
    subject: ContentDigest,
    parts: &Parts,
) -> Result<Response, ApiError> {
    let Page { count, last, all } = page(parts)?;
    let kind = all.get("artifactType").cloned();
    let last = if last.is_empty() { None } else { Some(super::route::digest(&last)?) };
    let (name, filter) = (repository.clone(), kind.clone());
    let found = registry
        .db
        .read(move |db, _| db::referrers(db, &name, &subject, filter.as_deref(), last.as_ref(), count + 1));
    let mut found = found.await?;
    let more = cut(&mut found, count);
    let list: Vec<Value> = found.iter().map(entry).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": list });
    let mut response = document(&index, INDEX);
    if kind.is_some() {
        response.headers_mut().insert(FILTERS, HeaderValue::from_static("artifactType"));
    }
    if let (true, Some(last)) = (more, found.last()) {
        let path = format!("/v2/{repository}/referrers/{subject}");
        let (count, last) = (count.to_string(), last.digest.to_string());
        let mut pairs = vec![("n", count.as_str()), ("last", last.as_str())];
        if let Some(kind) = &kind {
            pairs.push(("artifactType", kind));
        }
        link(&mut response, &path, &pairs)?;
    }
    Ok(response)
}

fn entry(one: &db::Referrer) -> Value {
    let mut entry = json!({ "mediaType": one.media_type, "digest": one.digest, "size": one.size });
    if let Some(kind) = &one.artifact_type {
        entry["artifactType"] = json!(kind);
    }
    if let Some(map) = one.annotations.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        entry["annotations"] = map;
    }
    entry
}
