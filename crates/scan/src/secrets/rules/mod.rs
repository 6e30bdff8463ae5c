//! The rules: what secrets look like, and whose they are.
//!
//! Every rule has keywords. One automaton finds all keywords of all rules in one pass; only where one stands does the
//! rule look closer, at most [`super::windows::SHAPE`] far.

mod assignment;
mod formats;
mod generic;
mod tokens;

use std::ops::Range;

use regex::bytes::Regex;

use super::Confidence;
use crate::Severity;

/// One kind of secret.
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) severity: Severity,
    /// Who can make it worthless: "GitHub".
    pub(crate) issuer: &'static str,
    /// Where one of these stands, the rule looks closer. Case counts.
    pub(crate) keys: &'static [&'static str],
    /// Whether its form is so peculiar that it is looked for in binary files.
    pub(crate) binary: bool,
    /// Whether it cannot be guessed, so that a part of its digest gives nothing away.
    pub(crate) strong: bool,
    pub(crate) find: Find,
}

/// How a rule looks closer.
pub(crate) enum Find {
    /// The key is the beginning of the secret; these characters follow, so many.
    Token { alphabet: fn(u8) -> bool, least: usize, most: usize, check: Check },
    /// An expression, whose first group is the secret, in so many bytes before the key and from it on.
    Expression { before: usize, after: usize, regex: Regex, check: Check },
    /// Code.
    Code(fn(&Hit<'_>) -> Option<Match>),
}

/// Judges a secret by itself; `None`: it is none.
pub(crate) type Check = fn(&[u8]) -> Option<Confidence>;

/// A keyword that was found.
pub(crate) struct Hit<'w> {
    pub(crate) text: &'w [u8],
    /// Where the keyword stands.
    pub(crate) key: Range<usize>,
    pub(crate) context: Context<'w>,
}

/// Where a text is from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Context<'w> {
    /// A file with this path.
    File(&'w str),
    /// The configuration: `NAME=value`, or command lines.
    Config,
}

/// A secret in a text.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) range: Range<usize>,
    pub(crate) confidence: Confidence,
    /// When it is another than the rule's.
    pub(crate) severity: Option<Severity>,
    pub(crate) note: Option<String>,
    /// What tells it from others of the same rule in the same file when its text must not: a name, a user.
    pub(crate) name: Option<String>,
    /// Instead of the rule's.
    pub(crate) title: Option<&'static str>,
}

impl Match {
    pub(crate) fn new(range: Range<usize>, confidence: Confidence) -> Self {
        Self { range, confidence, severity: None, note: None, name: None, title: None }
    }
}

impl Rule {
    pub(crate) fn find(&self, hit: &Hit<'_>) -> Option<Match> {
        match &self.find {
            Find::Token { alphabet, least, most, check } => token(hit, *alphabet, *least..=*most, *check),
            Find::Expression { before, after, regex, check } => {
                let start = hit.key.start.saturating_sub(*before);
                let end = hit.text.len().min(hit.key.start.saturating_add(*after));
                let found = regex.captures(&hit.text[start..end])?;
                let secret = found.get(1)?;
                let confidence = check(secret.as_bytes())?;
                let range = start + secret.start()..start + secret.end();
                let name = found.get(2).map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
                Some(Match { name, ..Match::new(range, confidence) })
            }
            Find::Code(find) => find(hit),
        }
    }
}

fn token(
    hit: &Hit<'_>,
    alphabet: fn(u8) -> bool,
    lengths: std::ops::RangeInclusive<usize>,
    check: Check,
) -> Option<Match> {
    if !begins_word(hit.text, hit.key.start) {
        return None;
    }
    let rest = &hit.text[hit.key.end..];
    let most = rest.len().min(lengths.end() + 1);
    let run = rest[..most].iter().position(|b| !alphabet(*b)).unwrap_or(most);
    // A full stop after a token ends the sentence.
    let run = run - rest[..run].iter().rev().take_while(|b| **b == b'.').count();
    if !lengths.contains(&run) || rest.get(run).is_some_and(|b| word(*b) && alphabet(*b)) {
        return None;
    }
    if !super::plausible::token(&rest[..run]) {
        return None;
    }
    let range = hit.key.start..hit.key.end + run;
    let confidence = check(&hit.text[range.clone()])?;
    Some(Match::new(range, confidence))
}

/// Whether a word can begin here: after no letter and no digit, or after one that is a part of `\n` or `%3D`.
pub(crate) fn begins_word(text: &[u8], at: usize) -> bool {
    match &text[..at] {
        [] => true,
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => true,
        [.., last] => !word(*last),
    }
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// All rules.
pub(crate) fn all() -> Vec<Rule> {
    let mut rules = tokens::rules();
    rules.extend(formats::rules());
    rules.extend(assignment::rules());
    rules.extend(generic::rules());
    rules
}

/// An expression over bytes; the texts are literals, so that a wrong one fails the first test.
fn expression(text: &str) -> Regex {
    #[allow(clippy::expect_used, reason = "every expression is a literal that the tests compile")]
    regex::bytes::RegexBuilder::new(text).unicode(false).build().expect("a literal expression")
}

fn likely(_: &[u8]) -> Option<Confidence> {
    Some(Confidence::Likely)
}

/// Proven when true, no secret at all when not.
fn proven(fits: bool) -> Option<Confidence> {
    fits.then_some(Confidence::Proven)
}
