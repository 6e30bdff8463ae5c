//! Orders of versions: examples of each ecosystem's own specification, and the laws of a total order.

use std::cmp::Ordering;

use kiln_scan::version::Scheme;
use proptest::prelude::*;

/// Each line rises from left to right; texts between bars are one version.
fn rises(scheme: Scheme, line: &str) {
    let groups: Vec<Vec<&str>> = line.split(" < ").map(|group| group.split(" = ").collect()).collect();
    for (at, group) in groups.iter().enumerate() {
        for left in group {
            for (other, right) in
                groups.iter().enumerate().flat_map(|(i, group)| group.iter().map(move |v| (i, v)))
            {
                let order = scheme.compare(left, right).unwrap();
                assert_eq!(order, at.cmp(&other), "{scheme:?}: {left} and {right}");
            }
        }
    }
}

#[test]
fn dpkg() {
    rises(Scheme::Dpkg, "1.0~~ < 1.0~~a < 1.0~ < 1.0 = 1.0-0 < 1.0a < 1.0+b1 < 1.0.1 < 1.2 < 1.10 < 1:0.1");
    rises(Scheme::Dpkg, "3.0.14-1~deb12u1 < 3.0.14-1~deb12u2 < 3.0.14-1 < 3.0.15-1~deb12u1");
}

/// `apk version --test`: the forms of apk-package(5).
#[test]
fn apk() {
    rises(
        Scheme::Apk,
        "1.2_alpha < 1.2_alpha1 < 1.2_beta < 1.2_pre < 1.2_rc < 1.2_rc2 < 1.2 < 1.2-r0 < 1.2-r2 < 1.2-r10 < 1.2_cvs \
         < 1.2_svn < 1.2_git < 1.2_hg < 1.2_p < 1.2_p1 < 1.2a < 1.2b < 1.2.0 < 1.2.01 < 1.2.1 < 1.2.9 < 1.2.10 < 1.3",
    );
    rises(Scheme::Apk, "0.1 < 0.12.1 < 2.34 < 2.34.1 < 23");
    for bad in ["", "a", "1.", "1-2", "1_foo", "1.2-r", "1.2~", "1 2", "1.2abc"] {
        assert!(Scheme::Apk.parse(bad).is_err(), "{bad}");
    }
}

/// rpm-version(7), and rpm's own tests.
#[test]
fn rpm() {
    rises(Scheme::Rpm, "1.0~rc1 < 1.0 < 1.0^ < 1.0^git1 < 1.0.1 < 1.1 < 2.0 < 10.0 < 1:0.1");
    rises(Scheme::Rpm, "4.18.0-1.el9 < 4.18.0-1.el9_1 < 4.18.0-2.el9 < 4.18.0-10.el9");
    rises(Scheme::Rpm, "0:1.2-3 = 1.2-3 < 1:1.2-3");
}

/// Semantic Versioning 2.0, section 11.
#[test]
fn semantic() {
    rises(
        Scheme::Semantic,
        "1.0.0-alpha < 1.0.0-alpha.1 < 1.0.0-alpha.beta < 1.0.0-beta < 1.0.0-beta.2 < 1.0.0-beta.11 < 1.0.0-rc.1 \
         < 1.0.0 = 1.0.0+build = v1.0.0 = 1.0 = 1 < 2.0.0 < 2.1.0 < 2.1.1",
    );
}

/// Go modules reference, "Pseudo-versions", and the tool chain's own versions.
#[test]
fn go() {
    rises(
        Scheme::Go,
        "v0.0.0-20191109021931-daa7c04131f5 < v0.0.0-20220314234659-1baeb1ce4c0b < v1.2.3-pre < \
         v1.2.3-pre.0.20191109021931-daa7c04131f5 < v1.2.3 = v1.2.3+incompatible < \
         v1.2.4-0.20191109021931-daa7c04131f5 < v1.2.4",
    );
    rises(
        Scheme::Go,
        "go1.21 = 1.21.0 < go1.22beta1 < go1.22rc1 = 1.22.0-rc.1 < go1.22rc2 < go1.22.0 = go1.22 < go1.22.10",
    );
    assert_eq!(Scheme::Go.compare("go1.22.3 X:boringcrypto", "1.22.3"), Ok(Ordering::Equal));
    assert!(Scheme::Go.parse("(devel)").is_err());
}

/// PEP 440, "Summary of permitted suffixes and relative ordering".
#[test]
fn python() {
    rises(
        Scheme::Python,
        "1.dev0 < 1.0.dev456 < 1.0a1 = 1.0-alpha.1 < 1.0a2.dev456 < 1.0a12.dev456 < 1.0a12 < 1.0b1.dev456 < 1.0b2 < \
         1.0b2.post345.dev456 < 1.0b2.post345 < 1.0rc1.dev456 < 1.0rc1 = 1.0c1 < 1.0 = 1 = 1.0.0 = v1.0 < 1.0+abc.5 < \
         1.0+abc.7 < 1.0+5 < 1.0.post456.dev34 < 1.0.post456 < 1.0.15 < 1.1.dev1 < 1!0.1",
    );
}

/// Maven's reference, "Version Order Specification".
#[test]
fn maven() {
    rises(
        Scheme::Maven,
        "1-alpha2 = 1-a2 < 1-alpha-123 < 1-beta-2 = 1-b2 < 1-m3 = 1-milestone-3 < 1-rc = 1-cr < 1-SNAPSHOT < \
         1 = 1.0 = 1.0.0 = 1-ga = 1-final = 1-release < 1-sp < 1-abc < 1-1 < 1.1 < 1.2 < 1.10",
    );
    // Where Maven itself runs in a circle, the pre-release is one.
    rises(Scheme::Maven, "1.0.alpha.1 < 1 < 1-sp");
    rises(Scheme::Maven, "2.0.0.RC1 < 2.0.0.RELEASE = 2.0 < 2.0.1");
}

/// `Gem::Version`'s documentation.
#[test]
fn gem() {
    rises(
        Scheme::Gem,
        "1.0.a.2 < 1.0.b1 < 1.0.0.rc1 < 1.0 = 1.0.0 = 1 < 1.0.1 < 1.8.2.b < 1.8.2 < 1.9 < 1.10",
    );
    rises(Scheme::Gem, "3.0.0-beta = 3.0.0.pre.beta < 3.0.0");
    assert!(Scheme::Gem.parse("junk").is_err());
}

/// NuGet, "Package versioning": a fourth number, labels without case, metadata without meaning.
#[test]
fn nuget() {
    rises(
        Scheme::NuGet,
        "1.0.1-aaa < 1.0.1-alpha < 1.0.1-alpha.2 < 1.0.1-alpha.10 < 1.0.1-beta = 1.0.1-BETA+x < 1.0.1-open < \
         1.0.1-rc < 1.0.1-zzz < 1.0.1 = 1.0.1.0 = 1.0.1+meta = 01.0.1 < 1.0.1.1 < 1.0.2",
    );
}

/// Composer's documentation on stability, and `version_compare` of PHP's.
#[test]
fn composer() {
    rises(
        Scheme::Composer,
        "dev-main < 1.0.0-dev < 1.0.0-alpha1 = 1.0a1 < 1.0.0-alpha2 < 1.0.0-beta1-dev < 1.0.0-beta1 < 1.0.0-RC1 = 1.0.0rc1 < \
         1.0.0 = v1.0 = 1 = 1.0.0.0 = 1.0.0-stable < 1.0.0-patch1 = 1.0.0-p1 < 1.0.1 < 1.2 < 1.10 < 20240101",
    );
    assert!(Scheme::Composer.parse("1.0.0-whatever").is_err());
}

#[test]
fn what_is_no_version_is_an_error() {
    let long = "1.".repeat(5_000) + "0";
    for scheme in ALL {
        for bad in ["", "  ", "1\n2", "1\u{0}", &long] {
            assert!(scheme.parse(bad).is_err(), "{scheme:?}: {bad:?}");
        }
    }
}

const ALL: [Scheme; 10] = [
    Scheme::Dpkg,
    Scheme::Apk,
    Scheme::Rpm,
    Scheme::Semantic,
    Scheme::Go,
    Scheme::Python,
    Scheme::Maven,
    Scheme::Gem,
    Scheme::NuGet,
    Scheme::Composer,
];

/// Texts of the kinds that versions are made of, so that many of them meet in their beginnings.
pub(crate) fn versions() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[0-3]",
        1 => "0[0-2]",
        1 => "10|4294967297|99999999999999999999",
        3 => "[.]",
        2 => "[-_~+^:]",
        2 => "alpha|beta|rc|a|b|p|dev|pre|post|sp|snapshot|final|ga|r1|_alpha|_rc|_p|-r",
    ];
    proptest::collection::vec(piece, 1..8).prop_map(|pieces| format!("1{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Total and transitive, and equal versions are equal to all others alike.
    #[test]
    fn orders_are_total(a in versions(), b in versions(), c in versions()) {
        for scheme in ALL {
            let (Ok(a), Ok(b), Ok(c)) = (scheme.parse(&a), scheme.parse(&b), scheme.parse(&c)) else { continue };
            prop_assert_eq!(a.cmp(&a), Ordering::Equal);
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            let mut three = [&a, &b, &c];
            three.sort();
            prop_assert!(three[0] <= three[1] && three[1] <= three[2] && three[0] <= three[2], "{:?}: {:?}", scheme, three);
            if a == b {
                prop_assert_eq!(a.cmp(&c), b.cmp(&c), "{:?}", scheme);
            }
        }
    }

    #[test]
    fn any_text_is_a_version_or_an_error(text in "\\PC{0,40}") {
        for scheme in ALL {
            if let Ok(version) = scheme.parse(&text) {
                prop_assert_eq!(version.cmp(&version), Ordering::Equal);
            }
        }
    }
}
