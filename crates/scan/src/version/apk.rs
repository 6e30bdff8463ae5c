//! Versions of Alpine's packages: `digits{.digits}[letter]{_suffix[digits]}[~hash][-rdigits]` (apk-package(5)), in
//! the order of apk-tools 3.

use std::cmp::Ordering;

use super::Number;

/// Suffixes that come before the version itself, in their order, and those that come after it.
const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

/// The parts of a version; a part of a kind that comes earlier here is newer than one of a later kind, except that a
/// suffix of [`BEFORE`] is older than anything.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    First(Number),
    Digits(String),
    Letter(char),
    Suffix(i8),
    SuffixNumber(Number),
    Hash(String),
    Revision(Number),
}

impl Part {
    fn kind(part: Option<&Self>) -> u8 {
        match part {
            Some(Self::First(_)) => 0,
            Some(Self::Digits(_)) => 1,
            Some(Self::Letter(_)) => 2,
            Some(Self::Suffix(_)) => 3,
            Some(Self::SuffixNumber(_)) => 4,
            Some(Self::Hash(_)) => 5,
            Some(Self::Revision(_)) => 6,
            None => 7,
        }
    }

    fn early(part: Option<&Self>) -> bool {
        matches!(part, Some(Self::Suffix(rank)) if *rank < 0)
    }
}

/// A version of an apk package.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Apk(Vec<Part>);

impl Apk {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader(text);
        let mut parts = vec![Part::First(Number::new(reader.digits()?))];
        while reader.skip(".") {
            parts.push(Part::Digits(reader.digits()?.to_owned()));
        }
        if let Some(letter) = reader.0.chars().next().filter(char::is_ascii_lowercase) {
            reader.skip(letter.encode_utf8(&mut [0; 4]));
            parts.push(Part::Letter(letter));
        }
        while reader.skip("_") {
            parts.push(Part::Suffix(reader.suffix()?));
            parts.extend(reader.digits().map(|digits| Part::SuffixNumber(Number::new(digits))));
        }
        if reader.skip("~") {
            parts.push(Part::Hash(reader.take(|c| c.is_ascii_hexdigit())?.to_owned()));
        }
        if reader.skip("-r") {
            parts.push(Part::Revision(Number::new(reader.digits()?)));
        }
        reader.0.is_empty().then_some(Self(parts))
    }
}

struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn skip(&mut self, prefix: &str) -> bool {
        self.0.strip_prefix(prefix).map(|rest| self.0 = rest).is_some()
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> Option<&'a str> {
        let end = self.0.find(|c| !wanted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        (!taken.is_empty()).then_some(taken)
    }

    fn digits(&mut self) -> Option<&'a str> {
        self.take(|c| c.is_ascii_digit())
    }

    fn suffix(&mut self) -> Option<i8> {
        let word = self.take(|c| c.is_ascii_lowercase())?;
        let before = BEFORE.iter().zip(-4..).find(|(name, _)| **name == word);
        before.or_else(|| AFTER.iter().zip(1..).find(|(name, _)| **name == word)).map(|(_, rank)| rank)
    }
}

impl Ord for Apk {
    fn cmp(&self, other: &Self) -> Ordering {
        for at in 0.. {
            let (left, right) = (self.0.get(at), other.0.get(at));
            let order = match (left, right) {
                (None, None) => return Ordering::Equal,
                (Some(left), Some(right)) if Part::kind(Some(left)) == Part::kind(Some(right)) => {
                    same(left, right)
                }
                _ if Part::early(left) => Ordering::Less,
                _ if Part::early(right) => Ordering::Greater,
                _ => Part::kind(right).cmp(&Part::kind(left)),
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

fn same(left: &Part, right: &Part) -> Ordering {
    match (left, right) {
        (Part::Digits(left), Part::Digits(right)) if left.starts_with('0') || right.starts_with('0') => {
            left.cmp(right)
        }
        (Part::Digits(left), Part::Digits(right)) => Number::new(left).cmp(&Number::new(right)),
        (Part::Letter(left), Part::Letter(right)) => left.cmp(right),
        (Part::Suffix(left), Part::Suffix(right)) => left.cmp(right),
        (Part::Hash(left), Part::Hash(right)) => left.cmp(right),
        (Part::First(left), Part::First(right))
        | (Part::SuffixNumber(left), Part::SuffixNumber(right))
        | (Part::Revision(left), Part::Revision(right)) => left.cmp(right),
        _ => Ordering::Equal,
    }
}

impl PartialOrd for Apk {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
