//! The table that people read, and the same as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::machine;
use crate::{Error, root};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Millis,
    /// Requests, decisions, rollouts: whatever the row names, per second.
    PerSecond,
    /// A ratio.
    Times,
    /// Megabytes (10^6 bytes).
    Megabytes,
    /// So many of what the row names.
    Count,
}

/// What the number is to reach.
#[derive(Clone, Debug, PartialEq)]
pub enum Aim {
    /// At most so many times the peer's number.
    AtMost(f64, &'static str),
    /// At least so many times the peer's number.
    AtLeast(f64, &'static str),
    /// At most this number.
    Limit(f64),
    /// Told for the picture only.
    None,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What the numbers count.
    pub unit: Unit,
    /// Kiln's number, or why there is none.
    pub kiln: Result<f64, String>,
    /// The peers' numbers.
    pub peers: Vec<(&'static str, f64)>,
    /// What Kiln's number is to reach; every one of them.
    pub aims: Vec<Aim>,
    /// How it was measured, in a few words.
    pub how: String,
}

impl Row {
    /// A row that could not be measured.
    pub fn unmeasured(what: &str, why: &str) -> Self {
        Self {
            what: what.into(),
            unit: Unit::Millis,
            kiln: Err(why.into()),
            peers: Vec::new(),
            aims: Vec::new(),
            how: String::new(),
        }
    }

    /// One line for the terminal.
    pub fn line(&self) -> String {
        match &self.kiln {
            Err(why) => format!("{}: not measured: {why}", self.what),
            Ok(value) => {
                let peers: String = self
                    .peers
                    .iter()
                    .map(|(name, peer)| format!(", {name} {}", self.unit.show(*peer)))
                    .collect();
                format!("{}: kiln {}{peers}; {}", self.what, self.unit.show(*value), self.verdict())
            }
        }
    }

    /// `met`, `missed` with the reason, or nothing.
    fn verdict(&self) -> String {
        let Ok(kiln) = self.kiln else { return "not measured".into() };
        let judged: Vec<String> = self.aims.iter().filter_map(|aim| self.judge(kiln, aim)).collect();
        judged.join("; ")
    }

    fn judge(&self, kiln: f64, aim: &Aim) -> Option<String> {
        let word = |met| if met { "met" } else { "**missed**" };
        let peer = |name| self.peers.iter().find(|(peer, _)| *peer == name).map(|(_, value)| *value);
        Some(match aim {
            Aim::AtMost(factor, name) => match peer(*name) {
                Some(value) => {
                    let ratio = kiln / value;
                    format!("{ratio:.2} × {name}, aim ≤ {factor:.3}: {}", word(ratio <= *factor))
                }
                None => format!("aim ≤ {factor:.3} × {name}: {name} not measured"),
            },
            Aim::AtLeast(factor, name) => match peer(*name) {
                Some(value) => {
                    let ratio = kiln / value;
                    format!("{ratio:.2} × {name}, aim ≥ {factor:.2}: {}", word(ratio >= *factor))
                }
                None => format!("aim ≥ {factor:.2} × {name}: {name} not measured"),
            },
            Aim::Limit(limit) => format!("aim ≤ {}: {}", self.unit.show(*limit), word(kiln <= *limit)),
            Aim::None => return None,
        })
    }

    fn markdown(&self) -> String {
        let kiln = self.kiln.as_ref().map_or_else(|_| "–".into(), |value| self.unit.show(*value));
        let peers: Vec<String> =
            self.peers.iter().map(|(name, value)| format!("{name} {}", self.unit.show(*value))).collect();
        let verdict = match &self.kiln {
            Ok(_) => self.verdict(),
            Err(why) => format!("not measured: {}", why.lines().next().unwrap_or_default()),
        };
        format!("| {} | {kiln} | {} | {verdict} |\n", self.what, peers.join(", "))
    }

    fn json(&self) -> Value {
        let peers: serde_json::Map<String, Value> =
            self.peers.iter().map(|(name, value)| ((*name).to_string(), json!(value))).collect();
        json!({
            "what": self.what,
            "unit": self.unit.name(),
            "kiln": self.kiln.as_ref().ok(),
            "error": self.kiln.as_ref().err(),
            "peers": peers,
            "verdict": self.verdict(),
            "how": self.how,
        })
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::PerSecond => "1/s",
            Self::Times => "times",
            Self::Megabytes => "MB",
            Self::Count => "",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Millis if value >= 1000.0 => format!("{:.2} s", value / 1000.0),
            Self::Millis if value >= 100.0 => format!("{value:.0} ms"),
            Self::Millis => format!("{value:.1} ms"),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Times => format!("{value:.1} ×"),
            Self::Megabytes => format!("{value:.1} MB"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

/// Writes the JSON always, and the page when everything was measured thoroughly.
pub(super) fn write(rows: &[Row], whole: bool, target: &Path) -> Result<(), Error> {
    let facts = machine::facts();
    let document = json!({
        "machine": facts.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    let json_file = target.join("bench.json");
    super::write(&json_file, &format!("{document:#}\n"))?;
    println!("wrote {}", json_file.display());
    let text = page(rows, &facts);
    if whole {
        let file = root().join("docs/benchmarks.md");
        super::write(&file, &text)?;
        println!("wrote {}", file.display());
    } else {
        println!("{text}");
    }
    Ok(())
}

fn page(rows: &[Row], facts: &[(String, String)]) -> String {
    let mut text = String::from(HEAD);
    text.push_str("| what | Kiln | peers | against the aim |\n|---|---|---|---|\n");
    for row in rows {
        text.push_str(&row.markdown());
    }
    text.push_str("\n## How each was measured\n\n");
    let told: Vec<&Row> = rows.iter().filter(|row| !row.how.is_empty()).collect();
    for same in told.chunk_by(|one, next| one.how == next.how) {
        let names: Vec<&str> = same.iter().map(|row| row.what.as_str()).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- **{}**: {}", names.join("**, **"), same[0].how);
    }
    text.push_str("\n## Machine and versions\n\n| | |\n|---|---|\n");
    for (name, value) in facts {
        let _ = writeln!(text, "| {name} | {} |", value.replace('|', "/"));
    }
    text
}

const HEAD: &str = "\
# Benchmarks

Written by `cargo xtask bench`, which measures Kiln's release binary and its peers in the same run on the same machine.
All numbers are medians. Run it yourself: it installs the peers on Debian and Ubuntu, needs root, and takes about a
quarter of an hour. `cargo xtask bench proxy start` measures only some rows and prints them.

";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kiln: f64, aims: Vec<Aim>) -> Row {
        Row {
            what: "thing".into(),
            unit: Unit::Millis,
            kiln: Ok(kiln),
            peers: vec![("peer", 100.0)],
            aims,
            how: String::new(),
        }
    }

    #[test]
    fn aims_are_judged_by_ratio_and_limit() {
        assert!(row(24.0, vec![Aim::AtMost(0.25, "peer")]).verdict().ends_with(": met"));
        assert!(row(26.0, vec![Aim::AtMost(0.25, "peer")]).verdict().contains("missed"));
        assert!(row(100.0, vec![Aim::AtLeast(1.0, "peer")]).verdict().ends_with(": met"));
        assert!(row(99.0, vec![Aim::AtLeast(1.0, "peer")]).verdict().contains("missed"));
        assert!(row(50.0, vec![Aim::Limit(50.0)]).verdict().ends_with(": met"));
        assert!(row(50.0, vec![Aim::AtMost(1.0, "other")]).verdict().contains("not measured"));
    }

    #[test]
    fn a_row_that_failed_stays_in_the_table() {
        let text = Row::unmeasured("thing", "no such\nverb").markdown();
        assert_eq!(text, "| thing | – |  | not measured: no such |\n");
    }
}
