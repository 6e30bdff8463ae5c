//! Which signed indices count.

#![allow(clippy::unwrap_used, reason = "clippy does not take helpers for tests")]

mod common;

use common::deb::Deb;
use common::repository::{BORN, Repository, Signing, key, sign};
use common::{NOW, Wish};
use pgp::composed::SignedPublicKey;
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{Duration, KeyDetails, Password, Tag, Timestamp};
use rand::rngs::OsRng;

fn repository() -> Repository {
    Repository::new(vec![Deb::new("lib", "1")])
}

/// What locking says; empty when it works.
fn said(repository: &Repository) -> String {
    said_at(repository, NOW)
}

fn said_at(repository: &Repository, now: i64) -> String {
    let mut wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    wish.now = now;
    wish.lock().err().map(|error| error.to_string()).unwrap_or_default()
}

fn trust(repository: &Repository, key: &SignedPublicKey) {
    std::fs::write(repository.path().join("keyring.gpg"), key.to_bytes().unwrap()).unwrap();
}

#[test]
fn primary_keys_and_subkeys_sign_and_armour_is_read() {
    let repository = repository();
    assert_eq!(said(&repository), "");
    let release = repository.write_files();
    repository.write_release(&sign(
        &repository.key,
        &release,
        Signing { subkey: false, ..Signing::default() },
    ));
    assert_eq!(said(&repository), "");
    let public = SignedPublicKey::from(repository.key.clone());
    let armour = public.to_armored_string(pgp::composed::ArmorOptions::default()).unwrap();
    std::fs::write(repository.path().join("keyring.gpg"), armour).unwrap();
    assert_eq!(said(&repository), "");
}

#[test]
fn a_changed_text_or_another_key_does_not_count() {
    let repository = repository();
    let path = repository.suite().join("InRelease");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("Origin: Test", "Origin: Tesu")).unwrap();
    assert!(said(&repository).contains("the text is not what key"), "{}", said(&repository));
    let release = repository.write_files();
    repository.write_release(&sign(&key(), &release, Signing::default()));
    assert!(said(&repository).contains("is not in the keyring"), "{}", said(&repository));
}

#[test]
fn what_is_outside_the_signature_is_not_read() {
    let repository = repository();
    let path = repository.suite().join("InRelease");
    let text = std::fs::read_to_string(&path).unwrap();
    for changed in [
        format!("Suite: other\n{text}"),
        format!("{text}\nSuite: other\n"),
        text.replace("Hash: SHA256\n", "Hash: SHA256\nSuite: other\n"),
    ] {
        std::fs::write(&path, changed).unwrap();
        assert!(said(&repository).contains("is not a signed index"), "{}", said(&repository));
    }
    std::fs::write(&path, "<html>Please log in</html>").unwrap();
    assert!(said(&repository).contains("is not a signed index"), "{}", said(&repository));
}

#[test]
fn expired_and_future_signatures_do_not_count() {
    let repository = repository();
    let release = repository.write_files();
    let day = 86_400;
    let expired = Signing {
        more: vec![SubpacketData::SignatureExpirationTime(Duration::from_secs(day))],
        ..Signing::default()
    };
    repository.write_release(&sign(&repository.key, &release, expired));
    assert!(said(&repository).contains("a signature has expired"), "{}", said(&repository));
    let made = u32::try_from(NOW).unwrap() + 3 * day;
    repository.write_release(&sign(&repository.key, &release, Signing { made, ..Signing::default() }));
    assert!(said(&repository).contains("from the future"), "{}", said(&repository));
}

/// The public key with this self-certification in place of its own.
fn with_certification(repository: &Repository, more: Vec<SubpacketData>) -> SignedPublicKey {
    let primary = &repository.key.primary_key;
    let mut public = SignedPublicKey::from(repository.key.clone());
    let mut config = SignatureConfig::from_key(OsRng, primary, SignatureType::CertPositive).unwrap();
    let mut packets = vec![
        SubpacketData::SignatureCreationTime(Timestamp::from_secs(BORN + 60)),
        SubpacketData::IssuerFingerprint(primary.fingerprint()),
    ];
    packets.extend(more);
    config.hashed_subpackets = packets.into_iter().map(|data| Subpacket::regular(data).unwrap()).collect();
    let user = &mut public.details.users[0];
    let signature = config
        .sign_certification(primary, &public.primary_key, &Password::empty(), Tag::UserId, &user.id)
        .unwrap();
    user.signatures = vec![signature];
    public
}

#[test]
fn keys_that_expired_do_not_count() {
    let repository = repository();
    let life = Duration::from_secs(30 * 86_400);
    trust(&repository, &with_certification(&repository, vec![SubpacketData::KeyExpirationTime(life)]));
    assert!(said(&repository).contains("has expired"), "{}", said(&repository));
}

#[test]
fn keys_that_may_not_sign_do_not_count() {
    let repository = repository();
    let release = repository.write_files();
    repository.write_release(&sign(
        &repository.key,
        &release,
        Signing { subkey: false, ..Signing::default() },
    ));
    trust(&repository, &with_certification(&repository, Vec::new()));
    assert!(said(&repository).contains("may not sign"), "{}", said(&repository));
}

#[test]
fn revoked_keys_do_not_count() {
    let repository = repository();
    let primary = &repository.key.primary_key;
    let packets = || {
        let packets = [
            SubpacketData::SignatureCreationTime(Timestamp::from_secs(BORN + 60)),
            SubpacketData::IssuerFingerprint(primary.fingerprint()),
        ];
        packets.into_iter().map(|data| Subpacket::regular(data).unwrap()).collect::<Vec<_>>()
    };
    let original = SignedPublicKey::from(repository.key.clone());

    let mut revoked = original.clone();
    let mut config = SignatureConfig::from_key(OsRng, primary, SignatureType::KeyRevocation).unwrap();
    config.hashed_subpackets = packets();
    let signature = config.sign_key(primary, &Password::empty(), &original.primary_key).unwrap();
    revoked.details.revocation_signatures.push(signature);
    trust(&repository, &revoked);
    assert!(said(&repository).contains("is revoked"), "{}", said(&repository));

    let mut subkey_revoked = original.clone();
    let subkey = &mut subkey_revoked.public_subkeys[0];
    let mut config = SignatureConfig::from_key(OsRng, primary, SignatureType::SubkeyRevocation).unwrap();
    config.hashed_subpackets = packets();
    let signature =
        config.sign_subkey_binding(primary, &original.primary_key, &Password::empty(), &subkey.key).unwrap();
    subkey.signatures.push(signature);
    trust(&repository, &subkey_revoked);
    assert!(said(&repository).contains("is revoked"), "{}", said(&repository));
}

#[test]
fn indices_expire_unless_the_host_says_otherwise() {
    let mut repository = repository();
    let later = NOW + 30 * 86_400;
    assert!(said_at(&repository, later).contains("expired at 2026-09-05"), "{}", said_at(&repository, later));

    // apt's own switch, on a host whose sources are this repository.
    let etc = tempfile::tempdir().unwrap();
    std::fs::create_dir(etc.path().join("apt")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(etc.path().join("apt").join(name), text).unwrap();
    write("sources.list", &format!("deb file:{} testing-suite main\n", repository.url()));
    write("apt.conf", "Acquire::Check-Valid-Until \"false\";\n");
    let mut wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    wish.mirrors = kiln_debian::Mirrors::discover(|_| None, etc.path()).unwrap();
    wish.now = later;
    wish.lock().unwrap();

    repository.set("Valid-Until", "");
    repository.write();
    assert_eq!(said_at(&repository, later), "");
}

#[test]
fn another_suite_under_this_name_is_refused() {
    let mut repository = repository();
    repository.set("Suite", "stable");
    repository.write();
    let text = said(&repository);
    assert!(text.contains("is the index of kiln (stable), not of testing-suite"), "{text}");
}

#[test]
fn broken_releases_are_errors() {
    for (field, value) in [("Date", ""), ("Date", "yesterday"), ("SHA256", "twice")] {
        let mut repository = repository();
        repository.set(field, value);
        repository.write();
        assert!(said(&repository).contains("is broken"), "{field}: {}", said(&repository));
    }
}

#[test]
fn keyrings_that_are_none_are_named() {
    let repository = repository();
    for bytes in [&b""[..], b"nonsense", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n"] {
        std::fs::write(repository.path().join("keyring.gpg"), bytes).unwrap();
        assert!(said(&repository).contains("cannot use the keyring"), "{}", said(&repository));
    }
    std::fs::remove_file(repository.path().join("keyring.gpg")).unwrap();
    assert!(said(&repository).contains("cannot read keyring"), "{}", said(&repository));
}
