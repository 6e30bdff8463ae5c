//! CVSS vectors with scores that others computed.

use kiln_scan::{Score, Severity};

fn check(examples: &[(&str, &str)]) {
    for (vector, score) in examples {
        assert_eq!(Score::of_vector(vector).unwrap().to_string(), *score, "{vector}");
    }
}

/// FIRST, "CVSS v3.1 Examples".
#[test]
fn examples_of_version_3_1() {
    check(&[
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", "6.1"),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", "6.4"),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", "3.1"),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", "9.9"),
        ("CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", "4.2"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", "7.5"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "9.8"),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:C/C:N/I:H/A:N", "6.8"),
        ("CVSS:3.1/AV:A/AC:L/PR:N/UI:N/S:C/C:H/I:N/A:H", "9.3"),
        ("CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", "0.0"),
    ]);
}

/// The places where rounding of 3.0 and 3.1 or binary fractions go wrong (specification 3.1, appendix A).
#[test]
fn roundings() {
    check(&[
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "9.8"),
        ("CVSS:3.0/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", "7.8"),
        ("CVSS:3.1/AV:L/AC:H/PR:L/UI:N/S:U/C:H/I:H/A:H", "7.0"),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:L/A:N", "4.8"),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", "10.0"),
    ]);
}

/// FIRST, "CVSS v4.0 Examples", and the extremes; Red Hat's implementation in Python agrees with each.
#[test]
fn examples_of_version_4_0() {
    check(&[
        ("CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "7.3"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:P/VC:N/VI:L/VA:N/SC:N/SI:N/SA:N", "5.3"),
        ("CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:P/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "7.7"),
        ("CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:P/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U", "5.2"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:L/VA:L/SC:N/SI:N/SA:N", "8.8"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", "10.0"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "9.3"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:N/VA:N/SC:N/SI:N/SA:N", "8.7"),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:A/VC:N/VI:N/VA:N/SC:L/SI:L/SA:N", "5.1"),
        ("CVSS:4.0/AV:P/AC:H/AT:P/PR:H/UI:A/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N", "0.0"),
    ]);
}

#[test]
fn version_2_has_no_prefix() {
    check(&[("AV:N/AC:L/Au:N/C:N/I:N/A:C", "7.8"), ("AV:L/AC:H/Au:N/C:C/I:C/A:C", "6.2")]);
}

#[test]
fn ratings_begin_where_the_scale_says() {
    let at = |tenths| Score::from_tenths(tenths).severity();
    assert_eq!(
        [at(0), at(1), at(39), at(40)],
        [Severity::None, Severity::Low, Severity::Low, Severity::Medium]
    );
    assert_eq!([at(69), at(70), at(89)], [Severity::Medium, Severity::High, Severity::High]);
    assert_eq!([at(90), at(100), at(255)], [Severity::Critical; 3]);
}

#[test]
fn words_of_the_databases() {
    for (word, severity) in [
        ("MODERATE", Severity::Medium),
        ("important", Severity::High),
        ("unimportant", Severity::None),
        ("low**", Severity::Low),
        ("not yet assigned", Severity::Unknown),
        ("end-of-life", Severity::Unknown),
    ] {
        assert_eq!(Severity::from_word(word), severity, "{word}");
    }
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        "9.8",
        "high",
        "CVSS:3.1/AV:N",
        "AV:N/AC:L",
        "CVSS:4.0/AV:N",
        "CVSS:9.0/AV:N/AC:L",
        &"CVSS:3.1/".repeat(1000),
    ] {
        assert!(Score::of_vector(text).is_err(), "{text}");
    }
}
