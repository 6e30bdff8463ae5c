//! Licences as SPDX expressions, where what is declared is one or has exactly one meaning.
//!
//! Ambiguous names (`BSD License`, `Apache Software License`) stay names: guessing a version is not Kiln's to do.

use spdx::{Expression, LicenseItem, ParseMode};

/// What one declaration is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Declared {
    /// A single identifier of the SPDX list.
    Id(String),
    /// A valid expression of several.
    Expression(String),
    /// Anything else, as it was declared.
    Name(String),
}

/// Deprecated identifiers are still in the list and in the field.
const MODE: ParseMode = ParseMode { allow_deprecated: true, ..ParseMode::STRICT };

/// Names with one meaning: Debian's (copyright-format 1.0) and the classifiers of Python.
const NAMES: [(&str, &str); 27] = [
    ("Expat", "MIT"),
    ("MIT License", "MIT"),
    ("The MIT License", "MIT"),
    ("The MIT License (MIT)", "MIT"),
    ("BSD-2-clause", "BSD-2-Clause"),
    ("BSD-3-clause", "BSD-3-Clause"),
    ("BSD-4-clause", "BSD-4-Clause"),
    ("zlib/libpng License", "Zlib"),
    ("Artistic", "Artistic-1.0-Perl"),
    ("CC0", "CC0-1.0"),
    ("Perl", "Artistic-1.0-Perl OR GPL-1.0-or-later"),
    ("ISC License (ISCL)", "ISC"),
    ("ISC License", "ISC"),
    ("The Unlicense (Unlicense)", "Unlicense"),
    ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
    ("Apache License 2.0", "Apache-2.0"),
    ("Apache License, Version 2.0", "Apache-2.0"),
    ("Apache 2.0", "Apache-2.0"),
    ("Python Software Foundation License", "PSF-2.0"),
    ("GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
    ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
    ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
    ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
    ("GNU Lesser General Public License v2 or later (LGPLv2+)", "LGPL-2.0-or-later"),
    ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"),
    ("GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"),
    ("GNU Affero General Public License v3", "AGPL-3.0-only"),
];

/// Families of the GNU licences, which have no identifier without `-only` or `-or-later`.
const GNU: [&str; 4] = ["AGPL-", "LGPL-", "GPL-", "GFDL-"];

/// What this declaration is.
pub(super) fn declared(text: &str) -> Declared {
    let text = text.trim();
    let found = expression(text).or_else(|| combined(text));
    match found {
        Some(found) if found.contains(' ') => Declared::Expression(found),
        Some(found) => Declared::Id(found),
        None => Declared::Name(text.to_owned()),
    }
}

/// All of them hold at once: sorted, each once.
pub(super) fn all(texts: &[String]) -> Vec<Declared> {
    let mut found: Vec<Declared> =
        texts.iter().filter(|text| !text.trim().is_empty()).map(|text| declared(text)).collect();
    found.sort();
    found.dedup();
    found
}

/// Several expressions as one.
pub(super) fn join(parts: &[String]) -> String {
    let several = parts.len() > 1;
    let wrap = |part: &String| if several && part.contains(' ') { format!("({part})") } else { part.clone() };
    parts.iter().map(wrap).collect::<Vec<_>>().join(" AND ")
}

/// A valid expression, with its operators in capitals. References to texts of some other document are none.
fn expression(text: &str) -> Option<String> {
    let parsed = Expression::parse_mode(text, MODE).ok()?;
    let listed = |item: &LicenseItem| matches!(item, LicenseItem::Spdx { .. });
    if !parsed.requirements().all(|one| listed(&one.req.license)) {
        return None;
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let words = spaced.split_whitespace().map(|word| match word.to_ascii_uppercase().as_str() {
        operator @ ("AND" | "OR" | "WITH") => operator.to_owned(),
        _ => gnu(word).unwrap_or_else(|| word.to_owned()),
    });
    Some(words.collect::<Vec<_>>().join(" ").replace("( ", "(").replace(" )", ")"))
}

/// Debian joins names with ` or ` and ` and `, the latter binding stronger; a comma changes that, and is left be.
fn combined(text: &str) -> Option<String> {
    if text.contains([',', '(']) && named(text).is_none() {
        return None;
    }
    if let Some(found) = named(text) {
        return Some(found);
    }
    let any: Option<Vec<String>> = text
        .split(" or ")
        .map(|all| all.split(" and ").map(named).collect::<Option<Vec<_>>>().map(|parts| join(&parts)))
        .collect();
    Some(any?.join(" OR "))
}

fn named(text: &str) -> Option<String> {
    let text = text.trim();
    let exact = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, found)) = exact {
        return Some((*found).to_owned());
    }
    gnu(text).or_else(|| {
        let listed = spdx::identifiers::LICENSES.iter().find(|one| one.name.eq_ignore_ascii_case(text))?;
        Some(listed.name.to_owned())
    })
}

/// `GPL-2+` and `GPL-2.0+` are `GPL-2.0-or-later`; `GPL-2` and `GPL-2.0` are `GPL-2.0-only`.
fn gnu(text: &str) -> Option<String> {
    let family = GNU.iter().find(|family| text.starts_with(**family))?;
    let version = &text[family.len()..];
    let (version, later) = match version.strip_suffix('+') {
        Some(version) => (version, "-or-later"),
        None => (version, "-only"),
    };
    let version = if version.contains('.') { version.to_owned() } else { format!("{version}.0") };
    let found = format!("{family}{version}{later}");
    spdx::license_id(&found).is_some().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_meaning_becomes_an_expression() {
        let id = |text: &str| Declared::Id(text.into());
        let expression = |text: &str| Declared::Expression(text.into());
        let name = |text: &str| Declared::Name(text.into());
        let cases = [
            ("MIT", id("MIT")),
            ("mit", id("MIT")),
            ("Expat", id("MIT")),
            ("GPL-2+", id("GPL-2.0-or-later")),
            ("GPL-2", id("GPL-2.0-only")),
            ("GPL-2.0", id("GPL-2.0-only")),
            ("LGPL-2.1+", id("LGPL-2.1-or-later")),
            ("GFDL-1.3", id("GFDL-1.3-only")),
            ("(MIT or Apache-2.0)", expression("(MIT OR Apache-2.0)")),
            ("GPL-2+ or Expat and Artistic", expression("GPL-2.0-or-later OR MIT AND Artistic-1.0-Perl")),
            ("BSD License", name("BSD License")),
            ("LicenseRef-Fedora-Public-Domain", name("LicenseRef-Fedora-Public-Domain")),
            ("GPL-3+ with Bison exception", name("GPL-3+ with Bison exception")),
            ("SEE LICENSE IN x", name("SEE LICENSE IN x")),
        ];
        for (text, expected) in cases {
            assert_eq!(declared(text), expected, "{text}");
        }
    }
}
