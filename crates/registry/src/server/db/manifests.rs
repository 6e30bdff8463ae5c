//! Manifests and tags.

use rusqlite::{Connection, params};

use super::blobs::within_quota;
use super::repositories::number;
use super::sql::{all, first, run};
use super::{Tx, ensure_repository, usage};
use crate::digest::ContentDigest;
use crate::name::{Reference, Repository, Tag};
use crate::server::cache::Stale;
use crate::server::config::{Quota, Rules};
use crate::server::document::{Child, Document};
use crate::server::error::{ApiError, Code, DbError, TagRefusal};

/// Media type and size of a manifest of a repository.
pub(crate) fn manifest(
    db: &Connection,
    name: &Repository,
    digest: &ContentDigest,
) -> Result<Option<(String, u64)>, DbError> {
    let text = "SELECT media_type, size FROM manifest WHERE digest = ?2 AND repository = (SELECT id FROM repository WHERE name = ?1)";
    first(db, "find a manifest", text, params![name, digest], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// What a tag points at, and when that was last learnt from an upstream.
pub(crate) fn resolve_tag(
    db: &Connection,
    name: &Repository,
    tag: &Tag,
) -> Result<Option<(ContentDigest, u64)>, DbError> {
    let text = "SELECT digest, checked FROM tag WHERE name = ?2 AND repository = (SELECT id FROM repository WHERE name = ?1)";
    first(db, "find a tag", text, params![name, tag], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The first child of a manifest that a repository lacks, or has in another size.
pub(crate) fn children_missing(
    db: &Connection,
    name: &Repository,
    document: &Document,
) -> Result<Option<(Child, Option<u64>)>, DbError> {
    for child in &document.children {
        let found = if child.is_manifest {
            manifest(db, name, &child.digest)?.map(|(_, size)| size)
        } else {
            super::blob_size(db, name, &child.digest)?
        };
        let fine = match found {
            Some(size) => size == child.size,
            None => child.elsewhere,
        };
        if !fine {
            return Ok(Some((child.clone(), found)));
        }
    }
    Ok(None)
}

/// A manifest whose bytes are in the store.
#[derive(Debug)]
pub(crate) struct NewManifest<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) digest: ContentDigest,
    pub(crate) document: &'a Document,
    pub(crate) size: u64,
    pub(crate) quota: Quota,
    pub(crate) now: u64,
}

/// Saves a manifest; saving it again renews the time that garbage collection counts from. Returns whether the
/// repository did not have it.
pub(crate) fn save_manifest(tx: &mut Tx<'_>, new: &NewManifest<'_>) -> Result<bool, ApiError> {
    let (name, digest) = (new.repository, &new.digest);
    let known = manifest(tx, name, digest)?.is_some();
    let repository = ensure_repository(tx, name)?;
    tx.forget(Stale::Manifest(name.clone(), Reference::Digest(*digest)));
    if known {
        let text = "UPDATE manifest SET touched = ?3 WHERE repository = ?1 AND digest = ?2";
        run(tx, "renew a manifest", text, params![repository, digest, new.now])?;
        return Ok(false);
    }
    within_quota(tx, name, new.size, new.quota)?;
    let text = "INSERT INTO manifest \
                (repository, digest, media_type, size, subject, artifact_type, annotations, touched) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let document = new.document;
    let values = params![
        repository,
        digest,
        document.media_type,
        new.size,
        document.subject,
        document.artifact_type,
        document.annotations,
        new.now
    ];
    run(tx, "save a manifest", text, values)?;
    let text = "INSERT INTO edge (repository, parent, child) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    for child in &document.children {
        run(tx, "save a manifest's content", text, params![repository, digest, child.digest])?;
    }
    Ok(true)
}

/// A tag that is to point at a manifest.
#[derive(Debug)]
pub(crate) struct TagChange<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) tag: &'a Tag,
    pub(crate) digest: ContentDigest,
    /// `None` for mirrors, where upstream decides.
    pub(crate) rules: Option<&'a Rules>,
    pub(crate) now: u64,
}

/// Sets a tag, if its rule lets it. Returns where it pointed.
pub(crate) fn set_tag(tx: &mut Tx<'_>, change: &TagChange<'_>) -> Result<Option<ContentDigest>, ApiError> {
    let TagChange { repository: name, tag, digest, rules, now } = change;
    let repository = ensure_repository(tx, name)?;
    let present = resolve_tag(tx, name, tag)?.map(|(digest, _)| digest);
    if let (Some(present), Some(rules)) = (present.filter(|present| present != digest), rules) {
        may_move(rules, name, tag, present)?;
    }
    let quota = rules.map(|rules| rules.quota(name)).unwrap_or_default();
    if let (None, Some(limit)) = (present, quota.tags) {
        let (_, tags) = usage(tx, name)?;
        if tags >= limit {
            let message = format!(
                "{name} has {tags} tags and its quota allows {limit}; delete some, or raise the quota"
            );
            return Err(ApiError::new(http::StatusCode::FORBIDDEN, Code::Denied, message));
        }
    }
    if let Some(present) = present {
        touch(tx, repository, &present, *now)?;
    }
    let text = "INSERT INTO tag (repository, name, digest, checked) VALUES (?1, ?2, ?3, ?4) \
                ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest, checked = excluded.checked";
    run(tx, "set a tag", text, params![repository, tag, digest, now])?;
    tx.forget(Stale::Manifest((*name).clone(), Reference::Tag((*tag).clone())));
    Ok(present)
}

fn may_move(rules: &Rules, name: &Repository, tag: &Tag, present: ContentDigest) -> Result<(), TagRefusal> {
    match rules.forbids_moving(name, tag) {
        Some(rule) => {
            Err(TagRefusal { repository: name.clone(), tag: tag.clone(), rule, present: present.to_string() })
        }
        None => Ok(()),
    }
}

/// A manifest that loses a tag is as young as one just pushed.
fn touch(tx: &Tx<'_>, repository: i64, digest: &ContentDigest, now: u64) -> Result<(), DbError> {
    let text = "UPDATE manifest SET touched = ?3 WHERE repository = ?1 AND digest = ?2";
    run(tx, "renew a manifest", text, params![repository, digest, now]).map(drop)
}

fn undeletable(refusal: &TagRefusal) -> ApiError {
    ApiError::undeletable(refusal.to_string())
}

/// Removes a tag, if its rule lets it. Returns where it pointed, if there was one.
pub(crate) fn remove_tag(
    tx: &mut Tx<'_>,
    name: &Repository,
    tag: &Tag,
    rules: &Rules,
    now: u64,
) -> Result<Option<ContentDigest>, ApiError> {
    let (Some((digest, _)), Some(repository)) = (resolve_tag(tx, name, tag)?, number(tx, name)?) else {
        return Ok(None);
    };
    may_move(rules, name, tag, digest).map_err(|refusal| undeletable(&refusal))?;
    touch(tx, repository, &digest, now)?;
    let text = "DELETE FROM tag WHERE repository = ?1 AND name = ?2";
    run(tx, "remove a tag", text, params![repository, tag])?;
    tx.forget(Stale::Manifest(name.clone(), Reference::Tag(tag.clone())));
    Ok(Some(digest))
}

/// Removes a manifest with its tags, if their rules let them and no index needs it. Returns its tags, if there was one.
pub(crate) fn remove_manifest(
    tx: &mut Tx<'_>,
    name: &Repository,
    digest: &ContentDigest,
    rules: &Rules,
) -> Result<Option<Vec<Tag>>, ApiError> {
    let Some(repository) = number(tx, name)? else { return Ok(None) };
    let text = "SELECT name FROM tag WHERE repository = ?1 AND digest = ?2";
    let tags: Vec<Tag> = all(tx, "list tags", text, params![repository, digest], |row| row.get(0))?;
    for tag in &tags {
        may_move(rules, name, tag, *digest).map_err(|refusal| undeletable(&refusal))?;
    }
    let text = "SELECT parent FROM edge WHERE repository = ?1 AND child = ?2 LIMIT 1";
    let parent: Option<ContentDigest> =
        first(tx, "find a manifest's index", text, params![repository, digest], |row| row.get(0))?;
    if let Some(parent) = parent {
        let message =
            format!("the index {parent} of {name} needs the manifest {digest}; delete the index first");
        return Err(ApiError::undeletable(message));
    }
    let text = "DELETE FROM tag WHERE repository = ?1 AND digest = ?2";
    run(tx, "remove tags", text, params![repository, digest])?;
    let text = "DELETE FROM manifest WHERE repository = ?1 AND digest = ?2";
    let removed = run(tx, "remove a manifest", text, params![repository, digest])?;
    for tag in &tags {
        tx.forget(Stale::Manifest(name.clone(), Reference::Tag(tag.clone())));
    }
    tx.forget(Stale::Manifest(name.clone(), Reference::Digest(*digest)));
    Ok((removed > 0).then_some(tags))
}
