//! Whether a package URL names another one (purl specification): type, namespace and name must be the same; a
//! version and qualifiers only where the pattern has them.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// A package URL in its parts, decoded.
#[derive(Debug, PartialEq, Eq)]
struct Purl {
    kind: String,
    path: String,
    version: Option<String>,
    qualifiers: BTreeMap<String, String>,
}

/// Whether `pattern` names the package `purl`.
pub(super) fn matches(pattern: &str, purl: &str) -> bool {
    let (Some(pattern), Some(purl)) = (parse(pattern), parse(purl)) else { return false };
    pattern.kind == purl.kind
        && pattern.path == purl.path
        && pattern.version.as_ref().is_none_or(|version| Some(version) == purl.version.as_ref())
        && pattern.qualifiers.iter().all(|(key, value)| purl.qualifiers.get(key) == Some(value))
}

fn parse(text: &str) -> Option<Purl> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let rest = text.strip_prefix("pkg:")?.trim_start_matches('/');
    let rest = rest.split('#').next()?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (kind, rest) = rest.split_once('/')?;
    // A scope of npm is written `%40`, so the last @ divides; the version of a path never has a slash.
    let (path, version) = match rest.rsplit_once('@') {
        Some((path, version)) if !path.is_empty() && !version.contains('/') => (path, Some(decode(version))),
        _ => (rest, None),
    };
    let kind = kind.to_ascii_lowercase();
    let mut path = decode(path.trim_matches('/'));
    // These types have names without case.
    if ["deb", "github", "bitbucket", "pypi", "nuget", "composer", "apk", "oci"].contains(&kind.as_str()) {
        path = path.to_lowercase();
    }
    if kind == "pypi" {
        path = path.replace(['_', '.'], "-");
    }
    let qualifiers = query.split('&').filter_map(|pair| pair.split_once('='));
    let qualifiers = qualifiers.map(|(key, value)| (key.to_ascii_lowercase(), decode(value))).collect();
    (!path.is_empty()).then_some(Purl { kind, path, version, qualifiers })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_names_what_it_says_and_no_more() {
        let openssl = "pkg:deb/debian/openssl@3.0.15-1~deb12u1?arch=amd64&distro=debian-12";
        for yes in [
            openssl,
            "pkg:deb/debian/openssl",
            "pkg:deb/debian/openssl?arch=amd64",
            "pkg:deb/debian/openssl@3.0.15-1~deb12u1",
            "pkg:deb/Debian/OpenSSL@3.0.15-1%7Edeb12u1",
        ] {
            assert!(matches(yes, openssl), "{yes}");
        }
        for no in [
            "pkg:deb/debian/openssl@3.0.14",
            "pkg:deb/debian/openssl?arch=arm64",
            "pkg:deb/ubuntu/openssl",
            "pkg:deb/debian/libssl3",
            "pkg:rpm/debian/openssl",
            "openssl",
            "",
            "pkg:",
            "pkg:deb/",
        ] {
            assert!(!matches(no, openssl), "{no}");
        }
        assert!(matches("pkg:npm/%40angular/core", "pkg:npm/%40angular/core@17.0.0"));
        assert!(matches("pkg:npm/@angular/core@17.0.0", "pkg:npm/%40angular/core@17.0.0"));
        assert!(!matches("pkg:npm/core", "pkg:npm/%40angular/core@17.0.0"));
        assert!(matches("pkg:pypi/Ruamel.Yaml", "pkg:pypi/ruamel-yaml@0.18"));
        assert!(!matches("pkg:cargo/Time", "pkg:cargo/time@0.1.0"));
    }
}
