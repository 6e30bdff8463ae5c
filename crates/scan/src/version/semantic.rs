//! Semantic Versioning 2.0 (section 11), read a little more kindly than written: advisories say `1.2` and `v1.2.3`.

use std::cmp::Ordering;

/// A semantic version; build metadata has no part in the order.
#[derive(Debug)]
pub(super) struct Semantic(semver::Version);

impl Semantic {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V', '=']).unwrap_or(text);
        let parsed = semver::Version::parse(text).ok();
        parsed.or_else(|| semver::Version::parse(&padded(text)?).ok()).map(Self)
    }

    /// Go's tool chain writes `go1.22.3` and `go1.22rc1`; in the Go vulnerability database they are `1.22.3` and
    /// `1.22.0-rc.1`. What follows a blank (`go1.22 X:boringcrypto`) is not part of the version.
    pub(super) fn parse_go(text: &str) -> Option<Self> {
        let Some(chain) = text.strip_prefix("go") else { return Self::parse(text) };
        let chain = chain.split([' ', '+']).next().unwrap_or_default();
        for word in ["rc", "beta"] {
            if let Some((release, count)) = chain.split_once(word) {
                return Self::parse(&format!("{}-{word}.{count}", padded(release)?));
            }
        }
        Self::parse(chain)
    }
}

/// Up to two missing numbers are zero, and leading zeros of numbers are dropped.
fn padded(text: &str) -> Option<String> {
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let mut numbers: Vec<&str> = core
        .split('.')
        .map(|number| match number.trim_start_matches('0') {
            "" if !number.is_empty() => "0",
            trimmed => trimmed,
        })
        .collect();
    if numbers.len() > 3 {
        return None;
    }
    numbers.resize(3, "0");
    Some(format!("{}{rest}", numbers.join(".")))
}

impl Ord for Semantic {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }
}

impl PartialOrd for Semantic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Semantic {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Semantic {}
