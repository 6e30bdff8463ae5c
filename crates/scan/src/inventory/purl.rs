//! Package URLs: `pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS`, canonical. Source: purl-spec, PURL-SPECIFICATION.rst
//! and its types. The qualifier `upstream` (source package) is not in the specification but what Syft writes and
//! Grype reads.

use kiln_model::Digest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Distribution, Family, Finding};

/// What stays as it is in every part.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// The package URL of a finding.
pub(crate) fn of(found: &Finding, distribution: &Distribution) -> String {
    match found.family {
        Family::Dpkg => system("deb", found, distribution),
        Family::Apk => system("apk", found, distribution),
        Family::Rpm => system("rpm", found, distribution),
        Family::Cargo => build("cargo", "", &found.name, &found.version, &[]),
        Family::Go => go(found),
        Family::PyPi => {
            let name = found.name.to_lowercase().replace('_', "-");
            build("pypi", "", &name, &found.version, &[])
        }
        Family::Npm => split("npm", &found.name, '/', &found.version),
        Family::Maven => split("maven", &found.name, ':', &found.version),
        Family::Gem => gem(found),
        Family::NuGet => build("nuget", "", &found.name, &found.version, &[]),
        Family::Composer => split("composer", &found.name.to_lowercase(), '/', &found.version),
    }
}

fn system(kind: &str, found: &Finding, distribution: &Distribution) -> String {
    let (mut version, mut epoch) = (found.version.as_str(), None);
    let mut name = found.name.clone();
    if found.family == Family::Rpm {
        if let Some((number, rest)) = found.version.split_once(':') {
            (version, epoch) = (rest, Some(number));
        }
    } else {
        name = name.to_lowercase();
    }
    let upstream = match (&found.source_file, &found.source) {
        (Some(file), _) => Some(file.clone()),
        (None, Some((source, _))) if *source == found.name && same_version(found) => None,
        (None, Some((source, _))) if same_version(found) => Some(source.clone()),
        (None, Some((source, version))) => Some(format!("{source}@{version}")),
        (None, None) => None,
    };
    let distro = distribution.qualifier();
    let qualifiers = [
        ("arch", found.architecture.as_deref()),
        ("distro", Some(distro.as_str())),
        ("epoch", epoch),
        ("upstream", upstream.as_deref()),
    ];
    build(kind, &distribution.id, &name, version, &qualifiers)
}

fn same_version(found: &Finding) -> bool {
    found.source.as_ref().is_some_and(|(_, version)| *version == found.version)
}

/// Versions that name no release, `(devel)`, are no versions.
fn go(found: &Finding) -> String {
    let version = if found.version.starts_with('(') { "" } else { &found.version };
    let name = found.name.to_lowercase();
    let (namespace, name) = name.rsplit_once('/').unwrap_or(("", &name));
    build("golang", namespace, name, version, &[])
}

/// `1.15.0-x86_64-linux` is a version and a platform.
fn gem(found: &Finding) -> String {
    build("gem", "", &found.name, &found.version, &[("platform", found.architecture.as_deref())])
}

fn split(kind: &str, name: &str, between: char, version: &str) -> String {
    let (namespace, name) = name.split_once(between).unwrap_or(("", name));
    build(kind, namespace, name, version, &[])
}

/// The purl of an image: `pkg:oci/NAME@DIGEST`.
pub(crate) fn image(name: &str, digest: &Digest) -> String {
    build("oci", "", &name.to_lowercase(), &digest.to_string(), &[])
}

/// Qualifiers come in the order of their keys.
fn build(
    kind: &str,
    namespace: &str,
    name: &str,
    version: &str,
    qualifiers: &[(&str, Option<&str>)],
) -> String {
    let mut text = format!("pkg:{kind}/");
    for segment in namespace.split('/').filter(|segment| !segment.is_empty()) {
        text.extend(utf8_percent_encode(segment, ENCODED));
        text.push('/');
    }
    text.extend(utf8_percent_encode(name, ENCODED));
    if !version.is_empty() {
        text.push('@');
        text.extend(utf8_percent_encode(version, ENCODED));
    }
    let mut between = '?';
    for (key, value) in qualifiers {
        let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
        text.push(between);
        text.push_str(key);
        text.push('=');
        text.extend(utf8_percent_encode(value, ENCODED));
        between = '&';
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of the specification's own test suite, as far as their types are made here.
    #[test]
    fn canonical_forms_are_those_of_the_specification() {
        let none = Distribution::default();
        let cases = [
            (Family::Npm, "@angular/animation", "12.3.1", "pkg:npm/%40angular/animation@12.3.1"),
            (Family::PyPi, "Django_filter", "1.11.1.dev1", "pkg:pypi/django-filter@1.11.1.dev1"),
            (Family::Maven, "org.apache.commons:io", "1.3.4", "pkg:maven/org.apache.commons/io@1.3.4"),
            (Family::Composer, "Laravel/Laravel", "5.5.0", "pkg:composer/laravel/laravel@5.5.0"),
            (
                Family::Go,
                "google.golang.org/genproto",
                "v0.0.0+x",
                "pkg:golang/google.golang.org/genproto@v0.0.0%2Bx",
            ),
            (Family::Go, "example.com/m", "(devel)", "pkg:golang/example.com/m"),
            (
                Family::NuGet,
                "EnterpriseLibrary.Common",
                "6.0.1304",
                "pkg:nuget/EnterpriseLibrary.Common@6.0.1304",
            ),
            (Family::Cargo, "rand", "0.7.2", "pkg:cargo/rand@0.7.2"),
        ];
        for (family, name, version, purl) in cases {
            assert_eq!(of(&Finding::new(family, name, version), &none), purl);
        }
    }

    #[test]
    fn distributions_give_namespace_and_qualifiers() {
        let fedora = super::super::os_release::parse("ID=fedora\nVERSION_ID=25\n");
        let mut found = Finding::new(Family::Rpm, "curl", "1:7.50.3-1.fc25");
        found.architecture = Some("i386".into());
        assert_eq!(
            of(&found, &fedora),
            "pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386&distro=fedora-25&epoch=1"
        );
        let debian = super::super::os_release::parse("ID=debian\nVERSION_ID=12\n");
        let mut found = Finding::new(Family::Dpkg, "attr", "1:2.4.47-2+b1");
        found.source = Some(("attr".into(), "1:2.4.47-2".into()));
        let purl = "pkg:deb/debian/attr@1:2.4.47-2%2Bb1?distro=debian-12&upstream=attr%401:2.4.47-2";
        assert_eq!(of(&found, &debian), purl);
    }
}
