//! Versions of PHP packages as Composer normalises them (`VersionParser::normalize`), in the order of PHP's
//! `version_compare`: numbers, then a stability with its own numbers, then whether it is under development.

use super::Number;

/// Every branch (`dev-main`) is older than every release: Composer's `9999999-dev` serves constraints, not order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Composer {
    Branch(String),
    Release { numbers: Vec<Number>, stability: Stability, counts: Vec<Number>, finished: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stability {
    Dev,
    Alpha,
    Beta,
    Candidate,
    Stable,
    Patch,
}

impl Composer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        if let Some(branch) = lower.strip_prefix("dev-") {
            return Some(Self::Branch(branch.to_owned()));
        }
        let text = lower.strip_prefix('v').unwrap_or(&lower);
        let text = text.split('+').next().unwrap_or_default();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (core, rest) = text.split_at(end);
        let core = if rest.is_empty() { core } else { core.strip_suffix('.').unwrap_or(core) };
        let mut numbers = core.split('.').map(number).collect::<Option<Vec<_>>>()?;
        while numbers.last().is_some_and(Number::is_zero) {
            numbers.pop();
        }
        let (stability, counts, finished) = stage(rest)?;
        Some(Self::Release { numbers, stability, counts, finished })
    }
}

fn number(text: &str) -> Option<Number> {
    let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| Number::new(text))
}

/// `-beta.2-dev` and its like.
fn stage(text: &str) -> Option<(Stability, Vec<Number>, bool)> {
    let separators = ['.', '-', '_'];
    let text = text.trim_start_matches(separators);
    let (text, finished) = match text.strip_suffix("dev") {
        Some("") => return Some((Stability::Dev, Vec::new(), true)),
        Some(rest) => (rest.trim_end_matches(separators), false),
        None => (text, true),
    };
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let stability = match word {
        "" if rest.is_empty() => Stability::Stable,
        "stable" => Stability::Stable,
        "alpha" | "a" => Stability::Alpha,
        "beta" | "b" => Stability::Beta,
        "rc" | "c" => Stability::Candidate,
        "patch" | "pl" | "p" => Stability::Patch,
        _ => return None,
    };
    let rest = rest.trim_start_matches(separators);
    let counts = match rest {
        "" => Vec::new(),
        _ => rest.split(['.', '-']).map(number).collect::<Option<Vec<_>>>()?,
    };
    Some((stability, counts, finished))
}
