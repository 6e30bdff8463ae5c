//! Blobs linked into repositories, and leases.

use rusqlite::{Connection, params};

use super::sql::{all, first, run};
use super::{Tx, ensure_repository, usage};
use crate::digest::ContentDigest;
use crate::name::Repository;
use crate::server::cache::Stale;
use crate::server::config::Quota;
use crate::server::error::{ApiError, Code, DbError};

/// The size of a blob that a repository links.
pub(crate) fn blob_size(
    db: &Connection,
    name: &Repository,
    digest: &ContentDigest,
) -> Result<Option<u64>, DbError> {
    let text = "SELECT size FROM blob WHERE digest = ?2 AND repository = (SELECT id FROM repository WHERE name = ?1)";
    first(db, "find a blob", text, params![name, digest], |row| row.get(0))
}

/// Repositories that link a blob, a hundred at most, and its size; only `from` when it is named.
pub(crate) fn blob_sources(
    db: &Connection,
    digest: &ContentDigest,
    from: Option<&Repository>,
) -> Result<Vec<(Repository, u64)>, DbError> {
    let text = "SELECT r.name, b.size FROM blob b JOIN repository r ON r.id = b.repository \
                WHERE b.digest = ?1 AND (?2 IS NULL OR r.name = ?2) LIMIT 100";
    all(db, "find a blob", text, params![digest, from], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Links a blob whose bytes are in the store. Linking again renews the time that garbage collection counts from.
pub(crate) fn link_blob(
    tx: &mut Tx<'_>,
    name: &Repository,
    digest: &ContentDigest,
    size: u64,
    quota: Quota,
    now: u64,
) -> Result<(), ApiError> {
    let known = blob_size(tx, name, digest)?.is_some();
    let repository = ensure_repository(tx, name)?;
    if known {
        let text = "UPDATE blob SET linked = ?3 WHERE repository = ?1 AND digest = ?2";
        run(tx, "renew a blob", text, params![repository, digest, now])?;
        return Ok(());
    }
    within_quota(tx, name, size, quota)?;
    let text = "INSERT INTO blob (repository, digest, size, linked) VALUES (?1, ?2, ?3, ?4)";
    run(tx, "link a blob", text, params![repository, digest, size, now])?;
    Ok(())
}

/// Fails when a repository would hold more bytes than it may.
pub(super) fn within_quota(
    db: &Connection,
    name: &Repository,
    more: u64,
    quota: Quota,
) -> Result<(), ApiError> {
    let Some(limit) = quota.bytes else { return Ok(()) };
    let (bytes, _) = usage(db, name)?;
    if bytes.saturating_add(more) <= limit {
        return Ok(());
    }
    Err(over_quota(name, bytes, more, limit))
}

/// The refusal of what a repository's quota has no room for.
pub(crate) fn over_quota(name: &Repository, bytes: u64, more: u64, limit: u64) -> ApiError {
    ApiError::too_large(
        Code::Denied,
        format!(
            "{name} holds {bytes} of the {limit} bytes its quota allows, and {more} more would not fit; delete \
             manifests and collect garbage, or raise the quota"
        ),
    )
}

/// Takes a blob out of a repository unless a manifest there names it. Returns whether it was there.
pub(crate) fn unlink_blob(
    tx: &mut Tx<'_>,
    name: &Repository,
    digest: &ContentDigest,
) -> Result<bool, ApiError> {
    let text = "SELECT parent FROM edge WHERE child = ?2 AND \
                repository = (SELECT id FROM repository WHERE name = ?1) LIMIT 1";
    let parent: Option<ContentDigest> =
        first(tx, "find a blob's manifest", text, params![name, digest], |row| row.get(0))?;
    if let Some(parent) = parent {
        let message =
            format!("the manifest {parent} of {name} needs the blob {digest}; delete the manifest first");
        return Err(ApiError::undeletable(message));
    }
    let text =
        "DELETE FROM blob WHERE digest = ?2 AND repository = (SELECT id FROM repository WHERE name = ?1)";
    let removed = run(tx, "unlink a blob", text, params![name, digest])?;
    tx.forget(Stale::Link(name.clone(), *digest));
    Ok(removed > 0)
}

/// Notes that somebody was told that a digest is there.
pub(crate) fn lease(db: &Connection, digest: &ContentDigest, now: u64) -> Result<(), DbError> {
    let text = "INSERT INTO lease (digest, since) VALUES (?1, ?2) \
                ON CONFLICT (digest) DO UPDATE SET since = max(since, excluded.since)";
    run(db, "lease a blob", text, params![digest, now]).map(drop)
}
