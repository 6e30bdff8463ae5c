//! Python: `*.dist-info/METADATA` and `*.egg-info` (core metadata specification): mail-like headers, then a text.

use super::{Family, Finding, Findings};

/// A longer `License` field is a licence's text, not its name.
const LICENSE_NAME: usize = 100;

pub(crate) fn metadata(text: &str) -> Findings {
    let mut found = Finding::new(Family::PyPi, "", "");
    let (mut expression, mut license, mut classified) = (None, None, Vec::new());
    let mut lines = text.lines().take_while(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key.to_ascii_lowercase().as_str() {
            "name" => found.name = value.into(),
            "version" => found.version = value.into(),
            "license-expression" => expression = Some(value.to_owned()),
            "license" => {
                let folded = lines.peek().is_some_and(|next| next.starts_with([' ', '\t']));
                let name = !folded && value.len() <= LICENSE_NAME && !value.is_empty() && value != "UNKNOWN";
                license = name.then(|| value.to_owned());
            }
            "classifier" => classified.extend(classifier(value)),
            "requires-dist" if !value.contains("extra ==") && !value.contains("extra==") => {
                found.needs.push(vec![normal(value)]);
            }
            _ => {}
        }
    }
    if found.name.is_empty() || found.version.is_empty() {
        return Findings::problem("it has no Name or Version");
    }
    found.offers = vec![normal(&found.name)];
    found.licenses = expression.or(license).map_or(classified, |one| vec![one]);
    Findings::of(vec![found])
}

/// `License :: OSI Approved :: MIT License`; the bare `License :: OSI Approved` says nothing.
fn classifier(value: &str) -> Option<String> {
    let rest = value.strip_prefix("License :: ")?;
    let name = rest.rsplit(" :: ").next()?;
    (name != "OSI Approved").then(|| name.to_owned())
}

/// The name at the start of a requirement, normalised (PEP 503).
fn normal(requirement: &str) -> String {
    let end = requirement.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'));
    let mut name = String::new();
    for character in requirement[..end.unwrap_or(requirement.len())].chars() {
        let character = if matches!(character, '_' | '.') { '-' } else { character.to_ascii_lowercase() };
        if character != '-' || !name.ends_with('-') {
            name.push(character);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_give_name_licence_and_needs() {
        let text = "Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\nLicense: UNKNOWN\n\
            Classifier: License :: OSI Approved :: MIT License\nRequires-Dist: Zope.Interface (>=5)\n\
            Requires-Dist: pytest ; extra == 'test'\n\nName: not this\n";
        let found = &metadata(text).packages[0];
        assert_eq!((found.name.as_str(), found.version.as_str()), ("Foo_Bar", "1.0"));
        assert_eq!(found.licenses, ["MIT License"]);
        assert_eq!(found.needs, [["zope-interface"]]);
        assert_eq!(metadata("Name: x\n").problems.len(), 1);
    }
}
