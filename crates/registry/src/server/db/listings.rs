//! Tags, repositories and referrers, page by page.

use rusqlite::{Connection, params};

use super::sql::all;
use crate::digest::ContentDigest;
use crate::name::{Repository, Tag};
use crate::server::error::DbError;

/// Tags after `last` in byte order.
pub(crate) fn tags(db: &Connection, name: &Repository, last: &str, limit: u64) -> Result<Vec<Tag>, DbError> {
    let text = "SELECT name FROM tag WHERE repository = (SELECT id FROM repository WHERE name = ?1) AND name > ?2 \
                ORDER BY name LIMIT ?3";
    all(db, "list tags", text, params![name, last, limit], |row| row.get(0))
}

/// Repositories with a manifest, after `last` in byte order.
pub(crate) fn catalog(db: &Connection, last: &str, limit: u64) -> Result<Vec<Repository>, DbError> {
    let text = "SELECT name FROM repository r WHERE name > ?1 AND \
                EXISTS (SELECT 1 FROM manifest WHERE repository = r.id) ORDER BY name LIMIT ?2";
    all(db, "list repositories", text, params![last, limit], |row| row.get(0))
}

/// A repository in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositorySummary {
    /// Its name.
    pub name: Repository,
    /// Its tags.
    pub tags: u64,
    /// Its manifests, with and without a tag.
    pub manifests: u64,
    /// Bytes of its blobs and manifests, each counted once.
    pub bytes: u64,
}

/// Repositories with a manifest, by name.
pub(crate) fn summaries(db: &Connection) -> Result<Vec<RepositorySummary>, DbError> {
    let text = "SELECT name, tags, (SELECT count(*) FROM manifest WHERE repository = r.id) AS manifests, bytes \
                FROM repository r WHERE manifests > 0 ORDER BY name";
    all(db, "list repositories", text, [], |row| {
        Ok(RepositorySummary {
            name: row.get(0)?,
            tags: row.get(1)?,
            manifests: row.get(2)?,
            bytes: row.get(3)?,
        })
    })
}

/// A tag in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTag {
    /// Its name.
    pub tag: Tag,
    /// The manifest it points at.
    pub digest: ContentDigest,
    /// The manifest's media type.
    pub media_type: String,
    /// When it was set, or last learnt from an upstream: milliseconds since the epoch.
    pub set_ms: u64,
}

/// All tags of a repository, by name.
pub(crate) fn listed_tags(db: &Connection, name: &Repository) -> Result<Vec<ListedTag>, DbError> {
    let text = "SELECT t.name, t.digest, m.media_type, t.checked FROM tag t \
                JOIN manifest m ON m.repository = t.repository AND m.digest = t.digest \
                WHERE t.repository = (SELECT id FROM repository WHERE name = ?1) ORDER BY t.name";
    all(db, "list tags", text, [name], |row| {
        Ok(ListedTag { tag: row.get(0)?, digest: row.get(1)?, media_type: row.get(2)?, set_ms: row.get(3)? })
    })
}

/// A manifest that has another as its subject.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    pub(crate) digest: ContentDigest,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) artifact_type: Option<String>,
    /// A JSON object.
    pub(crate) annotations: Option<String>,
}

/// Referrers of a digest after `last`, by digest; all artifact types when `artifact_type` is `None`.
pub(crate) fn referrers(
    db: &Connection,
    name: &Repository,
    subject: &ContentDigest,
    artifact_type: Option<&str>,
    last: Option<&ContentDigest>,
    limit: u64,
) -> Result<Vec<Referrer>, DbError> {
    let text = "SELECT digest, media_type, size, artifact_type, annotations FROM manifest \
                WHERE repository = (SELECT id FROM repository WHERE name = ?1) AND subject = ?2 \
                AND digest > ?3 AND (?4 IS NULL OR artifact_type = ?4) ORDER BY digest LIMIT ?5";
    let last = last.map_or(&[][..], ContentDigest::as_bytes);
    all(db, "list referrers", text, params![name, subject, last, artifact_type, limit], |row| {
        Ok(Referrer {
            digest: row.get(0)?,
            media_type: row.get(1)?,
            size: row.get(2)?,
            artifact_type: row.get(3)?,
            annotations: row.get(4)?,
        })
    })
}
