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
        self.concerns(text, self.scheme.parse(text).ok().as_ref())
    }

    /// The same of a version that was parsed already, if it is one.
    fn concerns(&self, text: &str, version: Option<&Version>) -> bool {
        if self.ranges.iter().any(|range| range.covers(text, self.scheme, version)) {
            return true;
        }
        let mut versions = self.scopes.iter().flat_map(|scope| scope.versions.iter());
        // Texts that differ may be one version (`1.0` and `1.0.0`).
        versions.any(|known| {
            known == text
                || version.is_some_and(|version| {
                    may_be_one(known, text) && self.scheme.parse(known).is_ok_and(|known| known == *version)
                })
        })
    }
}

/// False when two texts are different versions in every scheme: they begin with numbers and dots, and where these
/// first differ, it is in a number. Parsing costs much more than this.
fn may_be_one(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (after_v(one.as_bytes()), after_v(other.as_bytes()));
    loop {
        let ((left, one_rest), (right, other_rest)) = (number(one), number(other));
        let epoch = |rest: &[u8]| matches!(rest.first(), Some(b':' | b'!'));
        if left.is_empty() || right.is_empty() || epoch(one_rest) || epoch(other_rest) {
            return true;
        }
        if without_zeros(left) != without_zeros(right) {
            return false;
        }
        let ([b'.', left @ ..], [b'.', right @ ..]) = (one_rest, other_rest) else { return true };
        (one, other) = (left, right);
    }
}

fn after_v(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"v").unwrap_or(text)
}

/// The digits that a text begins with, and the rest.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len())..]
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
        let (version, text) = fixes.swap_remove(at);
        if !known.iter().any(|known| known.concerns(text, Some(&version))) {
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

    /// Whether a version lies in the range; `version` is what `text` is in the scheme `parsed`.
    fn covers(&self, text: &str, parsed: Scheme, version: Option<&Version>) -> bool {
        if self.scheme == parsed {
            return version.is_some_and(|version| self.contains(version));
        }
        match self.scheme.parse(text) {
            Ok(version) => self.contains(&version),
            Err(_) => self.own.as_ref().is_some_and(|own| own.covers(text, parsed, version)),
        }
    }

    fn contains(&self, version: &Version) -> bool {
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
            versions: versions.iter().copied().collect(),
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

    const SCHEMES: [Scheme; 10] = [
        Scheme::Dpkg,
        Scheme::Apk,
        Scheme::Rpm,
        Scheme::Semantic,
        Scheme::Go,
        Scheme::Python,
        Scheme::Maven,
        Scheme::Gem,
        Scheme::NuGet,
        Scheme::Composer,
    ];

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 4000, ..Default::default() })]

        /// What is passed over without parsing is another version in every scheme.
        #[test]
        fn texts_of_one_version_may_be_one(
            numbers in proptest::collection::vec("0?[0-2]", 1..4),
            ends in proptest::array::uniform2("(\\.0{1,2}|[.+~_-]?(a|rc|final|ga|post|[01])?[01]?){0,2}"),
            starts in proptest::array::uniform2("[vV=]?(0[:!])?0?"),
        ) {
            let middle = numbers.join(".");
            let plain = numbers.iter().map(|number| number.trim_start_matches('0')).collect::<Vec<_>>().join(".");
            let texts = [format!("{}{middle}{}", starts[0], ends[0]), format!("{}{plain}{}", starts[1], ends[1])];
            for scheme in SCHEMES {
                if scheme.compare(&texts[0], &texts[1]).is_ok_and(Ordering::is_eq) {
                    proptest::prop_assert!(may_be_one(&texts[0], &texts[1]), "{texts:?} are one in {scheme:?}");
                }
            }
        }
    }

    #[test]
    fn numbers_that_differ_are_different_versions() {
        for (one, other) in
            [("1.2", "1.3"), ("v1.2.3", "1.2.4"), ("2.0", "20"), ("1.10", "1.1"), ("1", "2rc1")]
        {
            assert!(!may_be_one(one, other) && !may_be_one(other, one), "{one} {other}");
        }
        for (one, other) in
            [("1", "1.0.0"), ("01.2", "1.02"), ("1.2rc1", "1.2c1"), ("1:2", "2"), ("1_2", "1.3")]
        {
            assert!(may_be_one(one, other) && may_be_one(other, one), "{one} {other}");
        }
    }
}
