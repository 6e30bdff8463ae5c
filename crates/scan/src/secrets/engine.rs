//! Finds secrets in one window: one pass of an automaton over all keywords, then the rules.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use sha2::{Digest as _, Sha256};

use super::paths;
use super::rules::{self, Context, Hit, Match, Rule};
use super::windows::Window;
use super::{Confidence, SecretFinding};
use crate::Severity;
use crate::secrets::Place;

/// As many findings of one stream are kept; a file with more is a list of them, and the first say so.
const MOST: usize = 1000;

/// A secret in a stream.
pub(crate) struct Found {
    rule: &'static Rule,
    /// Bytes of the stream.
    start: u64,
    end: u64,
    line: u64,
    confidence: Confidence,
    severity: Severity,
    title: &'static str,
    redacted: String,
    /// Of the secret; `None` where only the place may tell.
    hash: Option<String>,
    name: Option<String>,
    note: Option<String>,
}

/// The rules and the automaton of their keywords.
pub(crate) struct Engine {
    rules: Vec<Rule>,
    automaton: Option<AhoCorasick>,
    /// For each keyword: the rules that have it.
    uses: Vec<Vec<usize>>,
}

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::new);

/// The engine, made when it is first used.
pub(crate) fn engine() -> &'static Engine {
    &ENGINE
}

impl Engine {
    fn new() -> Self {
        let rules = rules::all();
        let mut keys: Vec<&'static str> = Vec::new();
        let mut uses: Vec<Vec<usize>> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for key in rule.keys {
                let at = keys.iter().position(|known| known == key).unwrap_or(keys.len());
                if at == keys.len() {
                    keys.push(key);
                    uses.push(Vec::new());
                }
                uses[at].push(index);
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&keys)
            .ok();
        Self { rules, automaton, uses }
    }

    /// The secrets whose keywords belong to a window.
    pub(crate) fn search(&'static self, window: &Window, context: Context<'_>) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let Some(automaton) = &self.automaton else { return found };
        for hit in automaton.find_overlapping_iter(&window.bytes) {
            if !window.own.contains(&hit.start()) {
                continue;
            }
            let here = Hit { text: &window.bytes, key: hit.start()..hit.end(), context };
            for rule in self.uses[hit.pattern().as_usize()].iter().map(|index| &self.rules[*index]) {
                if window.binary && !rule.binary {
                    continue;
                }
                if let Some(one) = rule.find(&here) {
                    found.push(told(rule, one, window));
                }
            }
            if found.len() >= MOST {
                break;
            }
        }
        found
    }
}

fn told(rule: &'static Rule, found: Match, window: &Window) -> Found {
    let text = &window.bytes[found.range.clone()];
    Found {
        rule,
        start: window.offset + found.range.start as u64,
        end: window.offset + found.range.end as u64,
        line: window.line_of(found.range.start),
        confidence: found.confidence,
        severity: found.severity.unwrap_or(rule.severity),
        title: found.title.unwrap_or(rule.title),
        redacted: redacted(rule, text),
        hash: rule.strong.then(|| short_hash(rule.id.as_bytes(), text)),
        name: found.name,
        note: found.note,
    }
}

/// The rule's own first letters, which are no secret, and the length of strong ones. The length of a password is worth
/// hiding.
fn redacted(rule: &Rule, text: &[u8]) -> String {
    if !rule.strong {
        return "(hidden)".into();
    }
    let key = rule.keys.iter().find(|key| text.starts_with(key.as_bytes()));
    let start: String = key.map(|key| key.chars().take(4).collect()).unwrap_or_default();
    format!("{start}… ({} characters)", text.len())
}

/// 16 hex digits of a digest of a text in a room of its own.
pub(crate) fn short_hash(room: &[u8], text: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"kiln secret 1\0");
    hash.update(room);
    hash.update(b"\0");
    hash.update(text);
    hex::encode(&hash.finalize()[..8])
}

/// What is told about the secrets of one stream, each once. `place` makes the place from the line.
pub(crate) fn findings(
    mut found: Vec<Found>,
    path: Option<&str>,
    place: &dyn Fn(u64) -> Place,
) -> Vec<SecretFinding> {
    found.sort_by(|a, b| {
        (a.start, std::cmp::Reverse(a.rule.strong)).cmp(&(b.start, std::cmp::Reverse(b.rule.strong)))
    });
    let mut kept: Vec<Found> = Vec::new();
    for one in found {
        let overlaps = |other: &Found| other.start < one.end && one.start < other.end;
        match kept.iter().rposition(overlaps) {
            // What has a form of its own says more than a name does.
            Some(at) if one.rule.strong && !kept[at].rule.strong => kept[at] = one,
            Some(_) => {}
            None => kept.push(one),
        }
    }
    kept.truncate(MOST);
    kept.into_iter().map(|one| finding(one, path, place)).collect()
}

fn finding(found: Found, path: Option<&str>, place: &dyn Fn(u64) -> Place) -> SecretFinding {
    let specimen = path.is_some_and(paths::specimen);
    let place = place(found.line);
    let fingerprint = found.hash.unwrap_or_else(|| {
        let mut text = match &place {
            Place::File { path, .. } => format!("file\0{path}"),
            other => other.to_string(),
        };
        text.push('\0');
        text.push_str(found.name.as_deref().unwrap_or_default());
        short_hash(found.rule.id.as_bytes(), text.as_bytes())
    });
    let note = if specimen {
        Some("it lies where tests, examples and documentation do".to_owned())
    } else {
        found.note
    };
    SecretFinding {
        fix: fix(found.rule, &place),
        place,
        rule: found.rule.id.into(),
        title: found.title.into(),
        severity: if specimen { found.severity.min(Severity::Low) } else { found.severity },
        confidence: if specimen { Confidence::Possible } else { found.confidence },
        redacted: found.redacted,
        fingerprint,
        note,
        allowed: None,
    }
}

fn fix(rule: &Rule, place: &Place) -> String {
    let out = match place {
        Place::File { path, visible: false, .. } => {
            format!("bake without /{path} (a later layer that deletes it does not take it out of the image)")
        }
        Place::File { path, .. } => format!("bake without it in /{path}"),
        Place::Environment { name } => {
            format!("take {name} out of the image and set it where the service is deployed")
        }
        Place::Label { name } => format!("take it out of the label {name}"),
        Place::Command { which } => format!("take it out of {which} and read it from the environment"),
        Place::History { .. } => {
            "build the image again without it in a command line or a build argument".into()
        }
    };
    format!("have {} revoke it, since whoever has the image has it; then {out}", rule.issuer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::windows::{Shape, Windows};
    use super::*;

    /// What is found in a stream that is cut like this: rule, place in the stream, line.
    fn found(content: &[u8], shape: Shape) -> Vec<(&'static str, u64, u64)> {
        let mut windows = Windows::new(content, shape, content.len() as u64);
        let mut all = Vec::new();
        while let Some(window) = windows.next().unwrap() {
            assert!(window.bytes.len() <= shape.size, "memory is bounded");
            all.extend(engine().search(&window, Context::File("srv/app/settings.py")));
        }
        let mut told: Vec<_> = all.iter().map(|one| (one.rule.id, one.start, one.line)).collect();
        told.sort_unstable();
        told
    }

    /// A secret of each way to look closer: a prefix, an expression before and after, code, a name.
    fn planted() -> String {
        let body = "q7Zk2LmX9vB4nT8wR1cY6dP3sH5jF0";
        let sum = "dGVzd";
        let secret = format!("{}{}", &body[..20], "aZ3xK9mQ4vT1wZ8nB3pL");
        format!(
            "glpat-{}\n1839274650:AA{}\nAKIA{} {secret}\ndb_password = \"{}\"\n{sum}",
            &body[..20],
            &format!("{body}abc")[..33],
            "QW7XK2PLMNB5TRZ3",
            &body[..20],
        )
    }

    proptest! {
        #[test]
        fn how_a_stream_is_cut_changes_nothing(
            before in "[a-z \n]{0,3000}",
            after in "[a-z \n]{0,3000}",
            size in 1700_usize..4000,
        ) {
            let content = format!("{before}\n{}\n{after}", planted());
            let whole = found(content.as_bytes(), super::super::windows::SHAPE);
            let cut = found(content.as_bytes(), Shape { size, lead: 700, tail: 800 });
            prop_assert_eq!(whole.len(), 4);
            prop_assert_eq!(whole, cut);
        }
    }
}
