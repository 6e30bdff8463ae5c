//! dpkg: the database (`var/lib/dpkg/status`, or a stanza per file in `status.d` of distroless images), the
//! lists of files, and licences from machine-readable copyright files (DEP-5).
//!
//! Read line by line and only the fields that matter: one malformed stanza does not lose the others.

use std::collections::BTreeSet;

use super::{Family, Finding, Findings, limits, wanted};

#[derive(Default)]
struct Stanza<'a> {
    package: &'a str,
    version: &'a str,
    architecture: &'a str,
    status: &'a str,
    source: &'a str,
    depends: String,
    provides: String,
}

/// Which field the next lines may continue.
enum Folded {
    Nothing,
    Depends,
    Provides,
}

pub(crate) fn status(text: &str) -> Findings {
    let mut findings = Findings::default();
    for (number, stanza) in stanzas(text).enumerate() {
        if findings.packages.len() as u64 >= limits::PACKAGES {
            findings.problems.push(format!("it tells of more than {} packages", limits::PACKAGES));
            break;
        }
        let stanza = read_stanza(stanza);
        if !installed(stanza.status) {
            continue;
        }
        if stanza.package.is_empty() || stanza.version.is_empty() {
            findings.problems.push(format!("stanza {} has no Package or Version field", number + 1));
            continue;
        }
        findings.packages.push(finding(&stanza));
    }
    findings
}

/// Stanzas are separated by empty lines.
fn stanzas(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").map(str::trim).filter(|stanza| !stanza.is_empty())
}

fn read_stanza(text: &str) -> Stanza<'_> {
    let mut stanza = Stanza::default();
    let mut folded = Folded::Nothing;
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            match folded {
                Folded::Depends => stanza.depends.push_str(line),
                Folded::Provides => stanza.provides.push_str(line),
                Folded::Nothing => {}
            }
            continue;
        }
        folded = Folded::Nothing;
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key {
            "Package" => stanza.package = value,
            "Version" => stanza.version = value,
            "Architecture" => stanza.architecture = value,
            "Status" => stanza.status = value,
            "Source" => stanza.source = value,
            "Depends" | "Pre-Depends" => {
                stanza.depends.push(',');
                stanza.depends.push_str(value);
                folded = Folded::Depends;
            }
            "Provides" => {
                stanza.provides.push_str(value);
                folded = Folded::Provides;
            }
            _ => {}
        }
    }
    stanza
}

/// Whether its files are there. Distroless images give no status; `config-files` means removed but for its
/// configuration.
fn installed(status: &str) -> bool {
    !matches!(status.split_whitespace().nth(2), Some("config-files" | "not-installed"))
}

fn finding(stanza: &Stanza<'_>) -> Finding {
    let mut finding = Finding::new(Family::Dpkg, stanza.package, stanza.version);
    finding.architecture = (!stanza.architecture.is_empty()).then(|| stanza.architecture.to_owned());
    finding.source = Some(source(stanza));
    finding.needs = stanza.depends.split(',').map(alternatives).filter(|any| !any.is_empty()).collect();
    finding.offers = alternatives(&stanza.provides.replace(',', "|"));
    finding
}

/// `Source: NAME` or `NAME (VERSION)`; what is not said is as in the binary package.
fn source(stanza: &Stanza<'_>) -> (String, String) {
    let (name, rest) = stanza.source.split_once(' ').unwrap_or((stanza.source, ""));
    let version = rest.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let name = if name.is_empty() { stanza.package } else { name };
    (name.to_owned(), version.unwrap_or(stanza.version).trim().to_owned())
}

/// The names in `a (>= 1) | b:any`.
fn alternatives(text: &str) -> Vec<String> {
    let names = text.split('|').map(|one| one.trim().split([' ', '(', ':', '[']).next().unwrap_or_default());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// `info/PACKAGE.list`: one absolute path per line.
pub(crate) fn list(text: &str) -> Findings {
    files(text.lines().filter_map(|line| line.strip_prefix('/')))
}

/// `status.d/PACKAGE.md5sums`: a digest, two spaces, a relative path.
pub(crate) fn sums(text: &str) -> Findings {
    files(text.lines().filter_map(|line| Some(line.split_once("  ")?.1)))
}

fn files<'a>(paths: impl Iterator<Item = &'a str>) -> Findings {
    Findings {
        files: paths.filter(|path| wanted::may_tell(path)).map(str::to_owned).collect(),
        ..Findings::default()
    }
}

/// The licences that a machine-readable copyright file names. Free-form files say nothing.
pub(crate) fn copyright(text: &str) -> Findings {
    let start = text.get(..400).unwrap_or(text);
    if !start.contains("copyright-format/1.") && !start.contains("dep5") {
        return Findings::default();
    }
    let names = text.lines().filter_map(|line| line.strip_prefix("License:")).map(str::trim);
    let names: BTreeSet<&str> = names.filter(|name| !name.is_empty() && name.len() <= 200).collect();
    Findings { licenses: names.into_iter().map(str::to_owned).collect(), ..Findings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_gives_name_source_and_needs() {
        let text = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\n\
            Source: openssl (3.0.1-1)\nVersion: 3.0.1-1+b1\nDepends: libc6 (>= 2.34), a | b:any,\n c\n\
            Provides: libssl (= 3)\nDescription: x\n Package: no\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nStatus: install ok installed\n";
        let found = status(text);
        assert_eq!(found.packages.len(), 1);
        let one = &found.packages[0];
        assert_eq!((one.name.as_str(), one.version.as_str()), ("libssl3", "3.0.1-1+b1"));
        assert_eq!(one.source, Some(("openssl".into(), "3.0.1-1".into())));
        assert_eq!(one.needs, [vec!["libc6"], vec!["a", "b"], vec!["c"]]);
        assert_eq!(one.offers, ["libssl"]);
        assert_eq!(found.problems, ["stanza 3 has no Package or Version field"]);
    }

    #[test]
    fn only_machine_readable_copyright_counts() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
            Files: *\nLicense: Expat\n\nLicense: GPL-2+\n text\n";
        assert_eq!(copyright(text).licenses, ["Expat", "GPL-2+"]);
        assert!(copyright("License: MIT\n").is_empty());
    }
}
