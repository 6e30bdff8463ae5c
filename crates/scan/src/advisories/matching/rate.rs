//! The severity of a finding out of what its advisories say.

use super::merge::Group;
use crate::advisories::osv::Rating;
use crate::{Score, Severity};

/// What the advisories say together.
pub(super) struct Rated {
    pub(super) severity: Severity,
    pub(super) score: Option<Score>,
    pub(super) vector: Option<String>,
    pub(super) informational: Option<String>,
}

/// The highest CVSS score counts; a newer CVSS version wins between equal ones. Words count where there is no score:
/// a distribution's own word is about its package, so the worst of the words is taken, not the first.
pub(super) fn rate(group: &Group<'_>) -> Rated {
    let ratings = group.hits.iter().flat_map(|hit| {
        hit.text.ratings.iter().chain(hit.scopes().iter().flat_map(|scope| scope.ratings.iter()))
    });
    let ratings: Vec<&Rating> = ratings.collect();
    let scored = ratings
        .iter()
        .filter_map(|rating| {
            Some((Score::of_vector(&rating.score).ok()?, rating.kind.as_str(), &rating.score))
        })
        .max();
    let words = group.hits.iter().flat_map(|hit| {
        let scopes = hit.scopes().iter().filter_map(|scope| scope.word.as_deref());
        scopes.chain(hit.text.word.as_deref())
    });
    let named =
        ratings.iter().filter(|rating| !rating.kind.starts_with("CVSS")).map(|rating| rating.score.as_str());
    let word = words.chain(named).map(Severity::from_word).max().unwrap_or_default();
    let malicious = group.ids.iter().any(|id| id.starts_with("MAL-"));
    let severity = match &scored {
        Some((score, _, _)) => score.severity(),
        // A package that was made to do harm has no score; nothing is worse.
        None if malicious => Severity::Critical,
        None => word,
    };
    Rated {
        severity,
        score: scored.as_ref().map(|(score, _, _)| *score),
        vector: scored.map(|(_, _, vector)| vector.clone()),
        informational: informational(group),
    }
}

/// Only when no advisory of the group is about a vulnerability.
fn informational(group: &Group<'_>) -> Option<String> {
    let mut kinds =
        group.hits.iter().flat_map(|hit| hit.scopes().iter()).map(|scope| scope.informational.as_ref());
    let first = kinds.next()??;
    kinds.all(|kind| kind.is_some()).then(|| first.clone())
}
