//! Java archives: Maven's `pom.properties` inside them, else what the manifest and the file's name say, and the
//! archives inside archives (Spring Boot, .war, .ear).
//!
//! An archive without a pom.properties is attributed by its manifest; where that names no group, the artefact's
//! own name stands for it, as Maven's old artefacts did (`commons-io:commons-io`).

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use sha1::{Digest as _, Sha1};
use zip::ZipArchive;

use super::wanted::{self, Kind};
use super::{Algorithm, Checksum, Family, Finding, Findings, limits};

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

pub(crate) fn archive(path: &str, bytes: &[u8]) -> Findings {
    let mut reading = Reading { findings: Findings::default(), budget: limits::UNPACKED };
    reading.archive(path, "", bytes, 0);
    reading.findings
}

struct Reading {
    findings: Findings,
    /// Bytes that may still be unpacked.
    budget: u64,
}

#[derive(Default)]
struct Coordinates {
    group: String,
    artifact: String,
    version: String,
}

impl Reading {
    /// `inside` is the way from the outermost archive, empty for that itself.
    fn archive(&mut self, path: &str, inside: &str, bytes: &[u8], depth: usize) {
        let mut archive = match ZipArchive::new(Cursor::new(bytes)) {
            Ok(archive) => archive,
            Err(error) => return self.problem(inside, &format!("it is not a Java archive: {error}")),
        };
        let names: Vec<(usize, String)> = (0..archive.len())
            .filter_map(|index| Some((index, archive.name_for_index(index)?.ok()?.into_owned())))
            .collect();
        let mut poms = Vec::new();
        let mut manifest = BTreeMap::new();
        for (index, name) in &names {
            if name == "META-INF/MANIFEST.MF" {
                manifest = self
                    .member(&mut archive, *index, inside)
                    .map(|text| parse_manifest(&text))
                    .unwrap_or_default();
            } else if name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties") {
                poms.extend(self.member(&mut archive, *index, inside).and_then(|text| parse_pom(&text)));
            } else if wanted::by_path(name.as_bytes()) == Some(Kind::Java) {
                self.nested(&mut archive, *index, name, inside, depth);
            }
        }
        let archive = if inside.is_empty() { path } else { inside };
        let found =
            if poms.is_empty() { by_manifest(archive, &manifest).into_iter().collect() } else { poms };
        self.push(found, inside, bytes, &manifest);
    }

    fn push(
        &mut self,
        found: Vec<Coordinates>,
        inside: &str,
        bytes: &[u8],
        manifest: &BTreeMap<String, String>,
    ) {
        let single = found.len() == 1;
        for one in found {
            let mut finding =
                Finding::new(Family::Maven, format!("{}:{}", one.group, one.artifact), one.version);
            finding.inside = (!inside.is_empty()).then(|| inside.to_owned());
            if single {
                // Of several in one archive none is the archive.
                let value = hex::encode(Sha1::digest(bytes));
                finding.checksums = vec![Checksum { algorithm: Algorithm::Sha1, value }];
                finding.licenses =
                    manifest.get("Bundle-License").and_then(|text| license(text)).into_iter().collect();
            }
            self.findings.packages.push(finding);
        }
    }

    fn nested(&mut self, archive: &mut Archive<'_>, index: usize, name: &str, inside: &str, depth: usize) {
        let inside = if inside.is_empty() { name.to_owned() } else { format!("{inside}!/{name}") };
        if depth + 1 >= limits::NESTING {
            return self.problem(&inside, "it lies too deep inside other archives to be read");
        }
        match self.bytes(archive, index, limits::BINARY) {
            Ok(bytes) => self.archive(name, &inside, &bytes, depth + 1),
            Err(reason) => self.problem(&inside, &reason),
        }
    }

    fn member(&mut self, archive: &mut Archive<'_>, index: usize, inside: &str) -> Option<String> {
        match self.bytes(archive, index, limits::DOCUMENT) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(reason) => {
                self.problem(inside, &reason);
                None
            }
        }
    }

    fn bytes(&mut self, archive: &mut Archive<'_>, index: usize, limit: u64) -> Result<Vec<u8>, String> {
        let file =
            archive.by_index(index).map_err(|error| format!("a file in it cannot be read: {error}"))?;
        let limit = limit.min(self.budget);
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("a file in it cannot be read: {error}"))?;
        self.budget = self.budget.saturating_sub(bytes.len() as u64);
        if bytes.len() as u64 > limit {
            return Err(format!("a file in it unpacks to more than {limit} bytes"));
        }
        Ok(bytes)
    }

    fn problem(&mut self, inside: &str, reason: &str) {
        let text = if inside.is_empty() { reason.to_owned() } else { format!("{inside}: {reason}") };
        if self.findings.problems.len() < limits::PROBLEMS {
            self.findings.problems.push(text);
        }
    }
}

fn parse_pom(text: &str) -> Option<Coordinates> {
    let mut found = Coordinates::default();
    for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
        let value = value.trim().to_owned();
        match key.trim() {
            "groupId" => found.group = value,
            "artifactId" => found.artifact = value,
            "version" => found.version = value,
            _ => {}
        }
    }
    let whole = [&found.group, &found.artifact, &found.version];
    // `${project.version}` was never filled in.
    whole.iter().all(|part| !part.is_empty() && !part.contains("${")).then_some(found)
}

/// The main section: `Key: value`, continued on lines that begin with a space.
fn parse_manifest(text: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if line.is_empty() {
            break;
        }
        if let Some(more) = line.strip_prefix(' ') {
            if let Some(value) = found.get_mut(&last) {
                value.push_str(more);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            last = key.to_owned();
            found.insert(last.clone(), value.trim().to_owned());
        }
    }
    found
}

fn by_manifest(path: &str, manifest: &BTreeMap<String, String>) -> Option<Coordinates> {
    let get = |keys: &[&str]| {
        let values = keys.iter().filter_map(|key| manifest.get(*key));
        values.map(|value| value.trim()).find(|value| !value.is_empty()).map(str::to_owned)
    };
    let file = path.rsplit(['/', '!']).next().unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let (named, numbered) = split_name(stem);
    let version = numbered.map(str::to_owned);
    let version =
        version.or_else(|| get(&["Implementation-Version", "Bundle-Version", "Specification-Version"]))?;
    // Without a digit it is a word like "unspecified"; with a space it is prose.
    if !version.contains(|c: char| c.is_ascii_digit()) || version.contains(' ') {
        return None;
    }
    let symbolic =
        get(&["Bundle-SymbolicName"]).map(|name| name.split(';').next().unwrap_or_default().to_owned());
    let artifact = named.to_owned();
    if artifact.is_empty() {
        return None;
    }
    let vendor = get(&["Implementation-Vendor-Id"]).filter(|id| id.contains('.') && !id.contains(' '));
    let bundle = symbolic.and_then(|name| match name.strip_suffix(&artifact) {
        // `org.apache.commons.commons-io` is a group and an artefact, `com.google.inject` a group.
        Some(group) => Some(group.strip_suffix('.')?.to_owned()),
        None => name.contains('.').then_some(name),
    });
    let group = vendor.or(bundle).unwrap_or_else(|| artifact.clone());
    Some(Coordinates { group, artifact, version })
}

/// `NAME-VERSION`: at the first dash that a digit follows.
fn split_name(stem: &str) -> (&str, Option<&str>) {
    let dash =
        stem.match_indices('-').find(|(at, _)| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    dash.map_or((stem, None), |(at, _)| (&stem[..at], Some(&stem[at + 1..])))
}

/// `Bundle-License` is a name, an address, or either with attributes.
fn license(text: &str) -> Option<String> {
    let first = text.split([';', ',']).next()?.trim().trim_matches('"');
    (!first.is_empty() && !first.contains("://") && first.len() <= 100).then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_and_names_stand_in_for_poms() {
        let text = "Manifest-Version: 1.0\r\nBundle-SymbolicName: org.apache.commons.commo\r\n ns-io;x=y\r\n\
            Implementation-Version: 2.1\r\n\r\nName: x\r\nImplementation-Version: 9\r\n";
        let manifest = parse_manifest(text);
        let found = by_manifest("lib/commons-io.jar", &manifest).unwrap();
        assert_eq!((found.group.as_str(), found.version.as_str()), ("org.apache.commons", "2.1"));
        assert_eq!(found.artifact, "commons-io");
        let named = by_manifest("a!/lib/jsr305-3.0.2.jar", &BTreeMap::new()).unwrap();
        assert_eq!((named.group.as_str(), named.version.as_str()), ("jsr305", "3.0.2"));
        assert!(by_manifest("app.jar", &BTreeMap::new()).is_none());
    }
}
