//! Each rule fires on a valid secret, wherever it stands, and not on what is nearly one.

use std::collections::BTreeSet;

use kiln_scan::Severity;
use kiln_scan::secrets::{Confidence, rules};
use proptest::prelude::*;

use crate::kit::in_file;
use crate::samples::{self, Dice, private_key};

#[test]
fn every_rule_has_a_sample_and_finds_it() {
    let mut found_by = BTreeSet::new();
    for sample in samples::all(1) {
        let found = in_file(sample.path, sample.text.as_bytes());
        let rules: Vec<&str> = found.iter().map(|finding| finding.rule.as_str()).collect();
        assert_eq!(rules, [sample.rule], "{}", sample.text);
        found_by.insert(sample.rule);
    }
    let all: BTreeSet<&str> = rules().iter().map(|rule| rule.id).collect();
    assert_eq!(found_by, all);
}

#[test]
fn what_is_nearly_a_secret_is_none() {
    for sample in samples::all(2) {
        let found = in_file(sample.path, sample.miss.as_bytes());
        let hit = found
            .iter()
            .find(|finding| finding.rule == sample.rule && finding.confidence > Confidence::Possible);
        assert!(hit.is_none(), "{}: {}", sample.rule, sample.miss);
    }
}

#[test]
fn secrets_in_programs_are_found_and_words_in_programs_are_not() {
    for sample in samples::all(3) {
        let mut binary = b"\x7fELF\0\0\0\x01".to_vec();
        binary.extend(sample.text.bytes());
        binary.push(0);
        let found = in_file("srv/app/server", &binary);
        let peculiar = found.iter().any(|finding| finding.rule == sample.rule);
        let by_words = ["generic-secret", "url-password", "docker-auth", "netrc", "npmrc", "pgpass"];
        assert!(!(peculiar && by_words.contains(&sample.rule)), "{}", sample.rule);
    }
    let github = samples::all(3).into_iter().find(|sample| sample.rule == "github-token").unwrap();
    let found = in_file("srv/app/server", format!("\0\0{}\0", github.secret).as_bytes());
    assert_eq!((found[0].confidence, found[0].severity), (Confidence::Proven, Severity::Critical));
}

#[test]
fn keys_are_read_as_json_and_programs_write_them() {
    let key = private_key(&mut Dice(4));
    let json = serde_json::json!({"type": "service_account", "private_key": format!("{key}\n")});
    let google = in_file("srv/app/account.json", json.to_string().as_bytes());
    assert_eq!(google[0].title, "Google service account key");
    let twice = serde_json::json!({ "inner": json.to_string() }).to_string();
    assert_eq!(in_file("srv/app/account.json", twice.as_bytes()).len(), 1);
    let source: String = key.lines().map(|line| format!("    \"{line}\\n\"\n")).collect();
    assert_eq!(in_file("srv/app/key.py", source.as_bytes())[0].rule, "private-key");
}

#[test]
fn an_encrypted_key_is_less_bad_and_a_key_among_tests_is_hardly_one() {
    let key = private_key(&mut Dice(5));
    let encrypted = key.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1);
    // The body of an encrypted key is whole blocks.
    let found = in_file("etc/a.key", encrypted.as_bytes());
    assert!(found.iter().all(|finding| finding.severity == Severity::Medium), "{found:?}");
    let specimen = &in_file("srv/app/tests/a.key", key.as_bytes())[0];
    assert_eq!((specimen.confidence, specimen.severity), (Confidence::Possible, Severity::Low));
}

#[test]
fn an_aws_key_without_its_secret_is_an_identifier() {
    let sample = samples::all(6).into_iter().find(|sample| sample.rule == "aws-access-key").unwrap();
    let both = &in_file("a/credentials", sample.text.as_bytes())[0];
    assert_eq!((both.confidence, both.severity), (Confidence::Proven, Severity::Critical));
    assert!(
        both.note.as_ref().is_some_and(|note| note.starts_with("of AWS account ")) || both.note.is_none()
    );
    let alone = &in_file("a/credentials", sample.text.lines().next().unwrap().as_bytes())[0];
    assert_eq!((alone.confidence, alone.severity), (Confidence::Possible, Severity::Low));
}

#[test]
fn lines_are_counted_beyond_the_first_window() {
    let sample = samples::all(7).into_iter().find(|sample| sample.rule == "github-token").unwrap();
    let mut content = "a line of text that says nothing at all\n".repeat(70_000);
    content.push_str(&sample.text);
    let found = in_file("var/log/app.log", content.as_bytes());
    assert_eq!(found.len(), 1);
    assert!(found[0].place.to_string().ends_with("app.log:70001"), "{}", found[0].place);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_planted_secret_is_found_whatever_surrounds_it_and_never_told(
        seed in any::<u64>(),
        which in any::<proptest::sample::Index>(),
        before in proptest::collection::vec(any::<u8>(), 0..300),
        after in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let by_words = ["generic-secret", "url-password", "docker-auth", "netrc", "npmrc", "pgpass"];
        let samples = samples::all(seed);
        let sample = which.get(&samples);
        // Rules by words look at text alone.
        let text = |bytes: &[u8]| bytes.iter().map(|b| b % 95 + 32).collect::<Vec<u8>>();
        let words = by_words.contains(&sample.rule) || rules_that_look_at_text(sample.rule);
        let (before, after) = if words { (text(&before), text(&after)) } else { (before, after) };
        let content = [&before[..], b"\n", sample.text.as_bytes(), b"\n", &after].concat();
        let found = in_file(sample.path, &content);
        prop_assert!(found.iter().any(|finding| finding.rule == sample.rule), "{} in {:?}", sample.rule, sample.text);
        let told = serde_json::to_string(&found).unwrap() + &format!("{found:?}");
        prop_assert!(!told.contains(&sample.secret), "{}", sample.rule);
    }

    #[test]
    fn any_bytes_are_searched(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        in_file("a", &bytes);
    }

    #[test]
    fn any_words_are_searched(words in proptest::collection::vec(prop_oneof![
        Just("-----BEGIN "), Just("RSA PRIVATE KEY-----"), Just("-----END "), Just("eyJ"), Just("."), Just("AKIA"),
        Just("://"), Just(":"), Just("@"), Just("password"), Just("="), Just("\""), Just("\\n"), Just("client-key-data: "),
        Just("pypi-AgEIcHlwaS5vcmc"), Just("AGE-SECRET-KEY-1"), Just("Q~"), Just(":AA"), Just(":*:"), Just("sig="), Just("\n"),
        Just("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Just("q7Zk2LmX9v"), Just("é"), Just("\0"),
    ], 0..60)) {
        in_file("root/.pgpass", words.concat().as_bytes());
    }
}

/// Short keywords are too common in programs, so these look at text alone.
fn rules_that_look_at_text(rule: &str) -> bool {
    matches!(
        rule,
        "jwt"
            | "slack-token"
            | "telegram-token"
            | "azure-client-secret"
            | "azure-sas"
            | "airtable-token"
            | "discord-token"
            | "twilio-key"
            | "mailgun-key"
            | "heroku-legacy-key"
            | "azure-storage-key"
    )
}
