//! Versions of Ruby gems: numbers and words; a word makes a pre-release (`Gem::Version`).

use std::cmp::Ordering;

use super::Number;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Word(String),
    Number(Number),
}

/// A version of a gem, without the zeros at the end of its numbers and of its pre-release.
#[derive(Debug)]
pub(super) struct Gem(Vec<Segment>);

impl Gem {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let empty = text.split(['.', '-']).any(str::is_empty);
        if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(good) || empty {
            return None;
        }
        let segments = split(&text.replace('-', ".pre."));
        let word = segments.iter().position(|s| matches!(s, Segment::Word(_))).unwrap_or(segments.len());
        let mut canonical = Vec::with_capacity(segments.len());
        for (at, segment) in segments.into_iter().enumerate() {
            if at == word {
                drop_zeros(&mut canonical);
            }
            canonical.push(segment);
        }
        drop_zeros(&mut canonical);
        Some(Self(canonical))
    }
}

fn split(text: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    for piece in text.split('.') {
        let mut rest = piece;
        while let Some(first) = rest.chars().next() {
            let digit = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(rest.len());
            let (taken, after) = rest.split_at(end);
            segments.push(match digit {
                true => Segment::Number(Number::new(taken)),
                false => Segment::Word(taken.to_owned()),
            });
            rest = after;
        }
    }
    segments
}

fn drop_zeros(segments: &mut Vec<Segment>) {
    while matches!(segments.last(), Some(Segment::Number(number)) if number.is_zero()) {
        segments.pop();
    }
}

impl Ord for Gem {
    fn cmp(&self, other: &Self) -> Ordering {
        let zero = Segment::Number(Number::zero());
        let length = self.0.len().max(other.0.len());
        let at = |segments: &'_ [Segment], index: usize| index < segments.len();
        (0..length)
            .map(|index| {
                let left = if at(&self.0, index) { &self.0[index] } else { &zero };
                let right = if at(&other.0, index) { &other.0[index] } else { &zero };
                left.cmp(right)
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Gem {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Gem {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Gem {}
