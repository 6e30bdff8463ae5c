//! Alpine's `installed`: stanzas of one-letter fields (apk-package(5), apk-tools' db format).

use super::{Family, Finding, Findings, limits, wanted};

pub(crate) fn installed(text: &str) -> Findings {
    let mut findings = Findings::default();
    for (number, stanza) in text.split("\n\n").map(str::trim).filter(|text| !text.is_empty()).enumerate() {
        if findings.packages.len() as u64 >= limits::PACKAGES {
            findings.problems.push(format!("it tells of more than {} packages", limits::PACKAGES));
            break;
        }
        match package(stanza) {
            Some(found) => findings.packages.push(found),
            None => findings.problems.push(format!("stanza {} has no name (P:) or version (V:)", number + 1)),
        }
    }
    findings
}

fn package(stanza: &str) -> Option<Finding> {
    let mut found = Finding::new(Family::Apk, "", "");
    let (mut origin, mut folder) = (None, "");
    for (key, value) in stanza.lines().filter_map(|line| line.split_once(':')) {
        match key {
            "P" => found.name = value.into(),
            "V" => found.version = value.into(),
            "A" => found.architecture = Some(value.into()),
            "L" if !value.is_empty() => found.licenses = vec![value.into()],
            "o" if !value.is_empty() => origin = Some(value),
            "D" => {
                found.needs = names(value)
                    .filter(|name| !name.starts_with('!'))
                    .map(|name| vec![name.to_owned()])
                    .collect();
            }
            "p" => found.offers = names(value).map(str::to_owned).collect(),
            "F" => folder = value,
            "R" => {
                let path = if folder.is_empty() { value.to_owned() } else { format!("{folder}/{value}") };
                if wanted::may_tell(&path) {
                    found.files.push(path);
                }
            }
            _ => {}
        }
    }
    if found.name.is_empty() || found.version.is_empty() {
        return None;
    }
    // A package and its origin are always of one version.
    found.source = Some((origin.unwrap_or(&found.name).to_owned(), found.version.clone()));
    Some(found)
}

/// Names without their version conditions: `so:libc.musl-x86_64.so.1=1`, `busybox>1.2`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let bare = |one: &'_ str| one.find(['=', '<', '>', '~']).unwrap_or(one.len());
    text.split_whitespace().map(move |one| &one[..bare(one)]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_gives_origin_licence_files_and_needs() {
        let text = "C:Q1x\nP:ssl_client\nV:1.36.1-r29\nA:x86_64\nL:GPL-2.0-only\no:busybox\n\
            D:so:libc.musl-x86_64.so.1 !x busybox>1.3\np:cmd:ssl_client=1.36.1-r29\nF:usr/bin\nR:ssl_client\n\n\
            V:1\n";
        let found = installed(text);
        let one = &found.packages[0];
        assert_eq!(one.source, Some(("busybox".into(), "1.36.1-r29".into())));
        assert_eq!(one.needs, [vec!["so:libc.musl-x86_64.so.1"], vec!["busybox"]]);
        assert_eq!((one.offers.len(), one.files.as_slice()), (1, &["usr/bin/ssl_client".to_owned()][..]));
        assert_eq!(found.problems.len(), 1);
    }
}
