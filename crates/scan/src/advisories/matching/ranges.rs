//! Whether a version is affected: the evaluation algorithm of the OSV schema, with parsed versions.
//!
//! An event whose version its ecosystem would not accept cannot be placed. It is read so that nothing is overlooked:
//! such an `introduced` counts as the beginning, such an end as none.

use std::cmp::Ordering;

use crate::advisories::osv::Event;
use crate::advisories::store::entry::{Scope, Span};
use crate::version::{Scheme, Version};

/// So many fixed versions are tried before none is named; real packages have up to a dozen branches.
const MAX_FIXES: usize = 64;

/// What an advisory says about one package, parsed once.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) scopes: Vec<Scope>,
    ranges: Vec<Timeline>,
    scheme: Scheme,
}

#[derive(Debug)]
struct Timeline {
    scheme: Scheme,
    /// For versions that are no semantic ones although the range is about such: the ecosystem's own reading of it.
    own: Option<Box<Timeline>>,
    events: Vec<(Moment, Kind)>,
    limits: Vec<Moment>,
}

/// The place of an event among versions.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Beginning,
    At(Version),
    End,
}

/// Of events at one version the fix is read first, so that a range that ends where the next one begins is no gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Fixed,
    Introduced,
    LastAffected,
}

impl Known {
    pub(super) fn new(scheme: Scheme, scopes: Vec<Scope>) -> Self {
        let spans = scopes.iter().flat_map(|scope| &scope.ranges);
        let ranges = spans.map(|span| Timeline::new(scheme, span)).collect();
        Self { scopes, ranges, scheme }
    }

    pub(super) fn affects(&self, text: &str) -> bool {
        let versions = || self.scopes.iter().flat_map(|scope| &scope.versions);
        if self.ranges.iter().any(|range| range.contains(text)) || versions().any(|known| known == text) {
            return true;
        }
        // Texts that differ may be one version (`1.0` and `1.0.0`), but not if their first numbers do.
        let Ok(version) = self.scheme.parse(text) else { return false };
        let first = first_number(text);
        let near = |known: &&String| {
            first.is_none() || first_number(known).is_none_or(|number| Some(number) == first)
        };
        versions().filter(near).any(|known| self.scheme.parse(known).is_ok_and(|known| known == version))
    }
}

/// The number that a version begins with, without zeros before it; `None` when it begins in another way, or has an
/// epoch.
fn first_number(text: &str) -> Option<&str> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0 && !text.contains([':', '!'])).then(|| text[..end].trim_start_matches('0'))
}

/// The first version that some range calls fixed, that is newer than one, and that no advisory calls affected.
pub(super) fn fix(scheme: Scheme, known: &[&Known], than: &str) -> Option<String> {
    let than = scheme.parse(than).ok()?;
    let scopes = known.iter().flat_map(|known| &known.scopes);
    let events = scopes.flat_map(|scope| &scope.ranges).flat_map(|span| &span.events);
    let mut fixes: Vec<(Version, &String)> = events
        .filter_map(|event| event.fixed.as_ref())
        .filter_map(|text| Some((scheme.parse(text).ok()?, text)))
        .filter(|(version, _)| *version > than)
        .collect();
    for _ in 0..MAX_FIXES {
        let first = fixes.iter().map(|(version, _)| version).min()?;
        let at = fixes.iter().position(|(version, _)| version == first)?;
        let (_, text) = fixes.swap_remove(at);
        if !known.iter().any(|known| known.affects(text)) {
            return Some(text.clone());
        }
    }
    None
}

impl Timeline {
    fn new(ecosystem: Scheme, span: &Span) -> Self {
        // Go's own versions are semantic ones with a little more.
        if !span.semantic || [Scheme::Semantic, Scheme::Go].contains(&ecosystem) {
            return Self::read(ecosystem, span);
        }
        Self { own: Some(Box::new(Self::read(ecosystem, span))), ..Self::read(Scheme::Semantic, span) }
    }

    fn read(scheme: Scheme, span: &Span) -> Self {
        let place = |text: &str, unknown| match scheme.parse(text) {
            Ok(version) => Moment::At(version),
            Err(_) => unknown,
        };
        let mut events: Vec<(Moment, Kind)> = Vec::new();
        let mut limits = Vec::new();
        for Event { introduced, fixed, last_affected, limit } in &span.events {
            if let Some(text) = introduced {
                let moment = if text == "0" { Moment::Beginning } else { place(text, Moment::Beginning) };
                events.push((moment, Kind::Introduced));
            }
            events.extend(fixed.as_ref().map(|text| (place(text, Moment::End), Kind::Fixed)));
            events.extend(last_affected.as_ref().map(|text| (place(text, Moment::End), Kind::LastAffected)));
            limits.extend(limit.as_ref().map(|text| match text.as_str() {
                "*" => Moment::End,
                text => place(text, Moment::End),
            }));
        }
        Self { scheme, own: None, events, limits }
    }

    fn contains(&self, text: &str) -> bool {
        let Ok(version) = self.scheme.parse(text) else {
            return self.own.as_ref().is_some_and(|own| own.contains(text));
        };
        let against = |moment: &Moment| match moment {
            Moment::Beginning => Ordering::Greater,
            Moment::At(other) => version.cmp(other),
            Moment::End => Ordering::Less,
        };
        if !self.limits.is_empty() && !self.limits.iter().any(|limit| against(limit).is_lt()) {
            return false;
        }
        // The schema walks through the sorted events and lets each that applies decide; the last of them is the latest.
        let applies = |(moment, kind): &&(Moment, Kind)| match kind {
            Kind::Introduced | Kind::Fixed => against(moment).is_ge(),
            Kind::LastAffected => against(moment).is_gt(),
        };
        self.events.iter().filter(applies).max().is_some_and(|(_, kind)| *kind == Kind::Introduced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(scheme: Scheme, ranges: &str, versions: &[&str]) -> Known {
        let ranges: Vec<Span> = serde_json::from_str(ranges).unwrap();
        let scope = Scope {
            ranges,
            versions: versions.iter().map(|text| (*text).to_owned()).collect(),
            ratings: Vec::new(),
            word: None,
            informational: None,
            systems: Vec::new(),
        };
        Known::new(scheme, vec![scope])
    }

    fn check(judge: &Known, affected: &[&str], free: &[&str]) {
        for version in affected {
            assert!(judge.affects(version), "{version} is affected");
        }
        for version in free {
            assert!(!judge.affects(version), "{version} is not affected");
        }
    }

    /// The examples of the schema's page.
    #[test]
    fn ranges_of_the_schema() {
        let all = judge(Scheme::Semantic, r#"[{"semantic":true,"events":[{"introduced":"0"}]}]"#, &[]);
        check(&all, &["0.0.0-a", "1.0.0", "99.0.0"], &[]);
        let several = r#"[{"semantic":true,"events":[{"introduced":"1.0.0"},{"fixed":"1.0.2"},
            {"introduced":"3.0.0"},{"fixed":"3.2.5"}]}]"#;
        let free = ["0.9.9", "1.0.0-rc.1", "1.0.2", "2.5.0", "3.2.5", "4.0.0"];
        check(
            &judge(Scheme::Semantic, several, &[]),
            &["1.0.0", "1.0.1", "3.0.0", "3.2.4", "1.0.2-rc.1"],
            &free,
        );
        let last = r#"[{"semantic":false,"events":[{"introduced":"0"},{"last_affected":"2.1.214"}]}]"#;
        check(&judge(Scheme::Maven, last, &[]), &["2.1.214", "1"], &["2.1.215"]);
    }

    #[test]
    fn events_need_no_order() {
        let turned = r#"[{"semantic":true,"events":[{"fixed":"3.2.5"},{"introduced":"3.0.0"},{"fixed":"1.0.2"},
            {"introduced":"0"}]}]"#;
        check(&judge(Scheme::Semantic, turned, &[]), &["0.1.0", "3.1.0"], &["1.0.2", "3.2.5"]);
    }

    #[test]
    fn ranges_that_touch_have_no_gap() {
        let touching = r#"[{"semantic":true,"events":[{"introduced":"1.0.0"},{"fixed":"2.0.0"},
            {"introduced":"2.0.0"},{"fixed":"3.0.0"}]}]"#;
        check(&judge(Scheme::Semantic, touching, &[]), &["1.5.0", "2.0.0", "2.9.9"], &["3.0.0"]);
        let single = r#"[{"semantic":true,"events":[{"introduced":"1.0.0"},{"last_affected":"1.0.0"}]}]"#;
        check(&judge(Scheme::Semantic, single, &[]), &["1.0.0"], &["1.0.1", "0.9.0"]);
    }

    #[test]
    fn limits_cut_off() {
        let limited =
            r#"[{"semantic":true,"events":[{"introduced":"1.0.0"},{"limit":"2.0.0"},{"limit":"1.5.0"}]}]"#;
        check(&judge(Scheme::Semantic, limited, &[]), &["1.7.0"], &["2.0.0", "3.0.0"]);
        let open = r#"[{"semantic":true,"events":[{"introduced":"1.0.0"},{"limit":"*"}]}]"#;
        check(&judge(Scheme::Semantic, open, &[]), &["7.0.0"], &["0.1.0"]);
    }

    #[test]
    fn lists_compare_versions_and_texts() {
        let listed = judge(Scheme::Python, "[]", &["1.0", "2004-weird"]);
        check(&listed, &["1.0", "1.0.0", "v1", "01.0", "2004-weird"], &["1.1", "2004", "weird"]);
    }

    #[test]
    fn a_semantic_range_holds_for_versions_of_the_ecosystem() {
        let range = r#"[{"semantic":true,"events":[{"introduced":"1.0.0"},{"fixed":"1.2.0"}]}]"#;
        let nuget = judge(Scheme::NuGet, range, &[]);
        check(&nuget, &["1.0.0.1", "1.1.0", "1.2.0-beta"], &["1.2.0.0", "1.2.0.5", "0.9.0.9"]);
    }

    #[test]
    fn what_cannot_be_placed_is_not_overlooked() {
        let odd = r#"[{"semantic":false,"events":[{"introduced":"??"},{"fixed":"2.0"}]}]"#;
        check(&judge(Scheme::Python, odd, &[]), &["1.0"], &["2.0"]);
        let open = r#"[{"semantic":false,"events":[{"introduced":"1.0"},{"fixed":"??"}]}]"#;
        check(&judge(Scheme::Python, open, &[]), &["1.0", "9.0"], &["0.9"]);
    }
}
