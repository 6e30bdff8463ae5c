//! os-release(5): `KEY=value` lines with a shell's quotes.

use serde::{Deserialize, Serialize};

/// Which distribution this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// `ID`, such as `debian`; `linux` when it is not said (os-release(5)).
    pub id: String,
    /// `VERSION_ID`, such as `12`; rolling distributions have none.
    pub version_id: Option<String>,
    /// `PRETTY_NAME`.
    pub pretty_name: Option<String>,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { id: "linux".into(), version_id: None, pretty_name: None }
    }
}

impl Distribution {
    /// `ID:VERSION_ID`, as ecosystems are named.
    pub fn ecosystem(&self) -> String {
        self.joined(':')
    }

    /// `ID-VERSION_ID`, as the `distro` qualifier of a purl has it.
    pub(crate) fn qualifier(&self) -> String {
        self.joined('-')
    }

    fn joined(&self, between: char) -> String {
        match &self.version_id {
            Some(version) => format!("{}{between}{version}", self.id),
            None => self.id.clone(),
        }
    }
}

pub(crate) fn parse(text: &str) -> Distribution {
    let mut found = Distribution::default();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once('=') else { continue };
        let value = unquote(value.trim());
        if value.is_empty() {
            continue;
        }
        match key {
            "ID" => found.id = value.to_lowercase(),
            "VERSION_ID" => found.version_id = Some(value),
            "PRETTY_NAME" => found.pretty_name = Some(value),
            _ => {}
        }
    }
    found
}

fn unquote(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.into();
    }
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_the_shells() {
        let text = "# c\nID=\"rocky\"\nVERSION_ID='9.3'\nPRETTY_NAME=\"A \\\"B\\\"\"\nbroken\n";
        let found = parse(text);
        assert_eq!(found.ecosystem(), "rocky:9.3");
        assert_eq!(found.pretty_name.as_deref(), Some("A \"B\""));
        assert_eq!(parse(""), Distribution::default());
    }
}
