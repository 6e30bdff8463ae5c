//! What garbage collection asks of the database. Each removal checks again, within its own write, that nothing
//! needs what it removes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::Tx;
use super::sql::{all, first, run};
use crate::digest::ContentDigest;
use crate::name::{Reference, Repository};
use crate::server::cache::Stale;
use crate::server::error::DbError;

/// A row that was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// From which repository.
    pub repository: Repository,
    /// What.
    pub digest: ContentDigest,
    /// Its bytes, which are free once no other repository has it.
    pub bytes: u64,
}

/// Something without a tag that stays, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// In which repository.
    pub repository: Repository,
    /// What.
    pub digest: ContentDigest,
    /// Why.
    pub reason: Cow<'static, str>,
}

struct Row {
    digest: ContentDigest,
    subject: Option<ContentDigest>,
    touched: u64,
    size: u64,
    tagged: bool,
    leased: bool,
}

/// Removes the manifests that nothing needs from all repositories: those without a tag that were not touched since
/// `before`, that are no part of a kept index and no referrer of a kept manifest. Without `before`, nothing goes.
pub(crate) fn sweep_manifests(
    tx: &mut Tx<'_>,
    before: Option<u64>,
    leased_since: u64,
    protected: &HashSet<ContentDigest>,
) -> Result<(Vec<Removed>, Vec<Kept>), DbError> {
    let (mut removed, mut kept) = (Vec::new(), Vec::new());
    // A repository in which every manifest has a tag needs no closer look.
    let text = "SELECT id, name FROM repository r WHERE EXISTS (SELECT 1 FROM manifest m WHERE m.repository = r.id \
                AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository = m.repository AND t.digest = m.digest))";
    let repositories: Vec<(i64, Repository)> =
        all(tx, "list repositories", text, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (id, name) in repositories {
        let rows = rows(tx, id, leased_since)?;
        let reasons = reasons(tx, id, &rows, before, protected)?;
        for row in rows.iter().filter(|row| !row.tagged) {
            if let Some(reason) = reasons.get(&row.digest) {
                let reason = Cow::Borrowed(*reason);
                kept.push(Kept { repository: name.clone(), digest: row.digest, reason });
                continue;
            }
            let text = "DELETE FROM manifest WHERE repository = ?1 AND digest = ?2";
            run(tx, "remove a manifest", text, params![id, row.digest])?;
            tx.forget(Stale::Manifest(name.clone(), Reference::Digest(row.digest)));
            removed.push(Removed { repository: name.clone(), digest: row.digest, bytes: row.size });
        }
    }
    Ok((removed, kept))
}

fn rows(db: &Connection, repository: i64, leased_since: u64) -> Result<Vec<Row>, DbError> {
    let text = "SELECT m.digest, m.subject, m.touched, m.size, \
                EXISTS (SELECT 1 FROM tag t WHERE t.repository = m.repository AND t.digest = m.digest), \
                EXISTS (SELECT 1 FROM lease l WHERE l.digest = m.digest AND l.since >= ?2) \
                FROM manifest m WHERE m.repository = ?1";
    all(db, "list manifests", text, params![repository, leased_since], |row| {
        Ok(Row {
            digest: row.get(0)?,
            subject: row.get(1)?,
            touched: row.get(2)?,
            size: row.get(3)?,
            tagged: row.get(4)?,
            leased: row.get(5)?,
        })
    })
}

/// Why each manifest that stays does so.
fn reasons(
    db: &Connection,
    repository: i64,
    rows: &[Row],
    before: Option<u64>,
    protected: &HashSet<ContentDigest>,
) -> Result<HashMap<ContentDigest, &'static str>, DbError> {
    let mut reasons = HashMap::new();
    let mut queue = Vec::new();
    let mut referrers: HashMap<ContentDigest, Vec<ContentDigest>> = HashMap::new();
    for row in rows {
        if let Some(subject) = row.subject {
            referrers.entry(subject).or_default().push(row.digest);
        }
        let reason = match before {
            _ if row.tagged => "it has a tag",
            _ if protected.contains(&row.digest) => {
                "it is protected: it runs, is pinned or may be rolled back to"
            }
            _ if row.leased => "a client was told lately that it is there",
            None => "manifests without a tag are kept for ever here",
            Some(before) if row.touched >= before => "it is younger than manifests without a tag may become",
            Some(_) => continue,
        };
        reasons.insert(row.digest, reason);
        queue.push(row.digest);
    }
    let known: HashSet<ContentDigest> = rows.iter().map(|row| row.digest).collect();
    while let Some(digest) = queue.pop() {
        let text = "SELECT child FROM edge WHERE repository = ?1 AND parent = ?2";
        let children: Vec<ContentDigest> =
            all(db, "list an index", text, params![repository, digest], |row| row.get(0))?;
        let parts = children.into_iter().filter(|child| known.contains(child));
        let parts = parts.map(|child| (child, "an index that stays lists it"));
        let about = referrers.remove(&digest).unwrap_or_default().into_iter();
        for (next, reason) in parts.chain(about.map(|one| (one, "the manifest it is about stays"))) {
            if let std::collections::hash_map::Entry::Vacant(free) = reasons.entry(next) {
                free.insert(reason);
                queue.push(next);
            }
        }
    }
    Ok(reasons)
}

/// Unlinks up to `limit` blobs that no manifest of their repository names, that were not linked since `before` and
/// that nobody was told about since `leased_since`.
pub(crate) fn sweep_links(
    tx: &mut Tx<'_>,
    before: u64,
    leased_since: u64,
    limit: u64,
) -> Result<Vec<Removed>, DbError> {
    let text = "SELECT b.repository, r.name, b.digest, b.size FROM blob b JOIN repository r ON r.id = b.repository \
                WHERE b.linked < ?1 \
                AND NOT EXISTS (SELECT 1 FROM edge e WHERE e.repository = b.repository AND e.child = b.digest) \
                AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.digest = b.digest AND l.since >= ?2) LIMIT ?3";
    let found: Vec<(i64, Removed)> =
        all(tx, "list unused blobs", text, params![before, leased_since, limit], |row| {
            let removed = Removed { repository: row.get(1)?, digest: row.get(2)?, bytes: row.get(3)? };
            Ok((row.get(0)?, removed))
        })?;
    let mut removed = Vec::with_capacity(found.len());
    for (repository, one) in found {
        let text = "DELETE FROM blob WHERE repository = ?1 AND digest = ?2";
        run(tx, "unlink a blob", text, params![repository, one.digest])?;
        tx.forget(Stale::Link(one.repository.clone(), one.digest));
        removed.push(one);
    }
    Ok(removed)
}

/// Every digest that some repository has.
pub(crate) fn linked_digests(db: &Connection) -> Result<HashSet<ContentDigest>, DbError> {
    let text = "SELECT digest FROM blob UNION ALL SELECT digest FROM manifest";
    let collect = || -> rusqlite::Result<HashSet<ContentDigest>> {
        db.prepare_cached(text)?.query_map([], |row| row.get(0))?.collect()
    };
    collect().map_err(crate::server::error::query("list what repositories have"))
}

/// What keeps a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A repository has it.
    Linked,
    /// Somebody was told lately that it is there.
    Leased,
}

/// What keeps a digest's file at this moment.
pub(crate) fn holder(
    db: &Connection,
    digest: &ContentDigest,
    leased_since: u64,
) -> Result<Option<Holder>, DbError> {
    let text = "SELECT EXISTS (SELECT 1 FROM blob WHERE digest = ?1) OR \
                EXISTS (SELECT 1 FROM manifest WHERE digest = ?1), \
                EXISTS (SELECT 1 FROM lease WHERE digest = ?1 AND since >= ?2)";
    let found = first(db, "look for a blob's users", text, params![digest, leased_since], |row| {
        Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?))
    })?;
    Ok(match found.unwrap_or_default() {
        (true, _) => Some(Holder::Linked),
        (false, true) => Some(Holder::Leased),
        (false, false) => None,
    })
}

/// Forgets leases that ended.
pub(crate) fn expire_leases(db: &Connection, leased_since: u64) -> Result<usize, DbError> {
    run(db, "end leases", "DELETE FROM lease WHERE since < ?1", [leased_since])
}
