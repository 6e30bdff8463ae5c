//! Keys, in files and in the hands of others.

use std::os::unix::fs::PermissionsExt;

use kiln_attest::keys::{Algorithm, Folder, KeyError, PrivateKey, PublicKey, Signer};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::kit::{has_program, key, name, run, text, try_run};

const BOTH: [Algorithm; 2] = [Algorithm::EcdsaP256, Algorithm::Ed25519];

#[test]
fn a_key_survives_its_files_with_and_without_a_passphrase() {
    for algorithm in BOTH {
        let key = key(algorithm);
        let signature = key.sign(b"message").unwrap();
        for passphrase in [None, Some(&b"secret"[..]), Some(&b""[..])] {
            let pem = key.to_pem(passphrase).unwrap();
            let label = if passphrase.is_some() { "ENCRYPTED SIGSTORE PRIVATE KEY" } else { "PRIVATE KEY" };
            assert!(pem.starts_with(&format!("-----BEGIN {label}-----\n")), "{algorithm:?}");
            let again = PrivateKey::from_pem(&pem, passphrase).unwrap();
            assert_eq!(again.public(), key.public());
            again.public().verify(b"message", &signature).unwrap();
            assert_eq!(again.sign(b"message").unwrap(), signature, "signing is deterministic");
        }
        let public = PublicKey::from_pem(&key.public().to_pem()).unwrap();
        assert_eq!(public.id(), key.public().id());
        assert_eq!(public.id().len(), 64);
    }
}

#[test]
fn what_was_not_signed_does_not_verify() {
    for algorithm in BOTH {
        let (one, other) = (key(algorithm), key(algorithm));
        let signature = one.sign(b"message").unwrap();
        assert!(one.public().verify(b"massage", &signature).is_err());
        assert!(other.public().verify(b"message", &signature).is_err());
        for index in 0..signature.len() {
            let mut bad = signature.clone();
            bad[index] ^= 1;
            assert!(one.public().verify(b"message", &bad).is_err(), "{algorithm:?} byte {index}");
        }
        assert!(one.public().verify(b"message", b"").is_err());
    }
}

#[test]
fn a_box_opens_with_its_passphrase_alone() {
    let pem = key(Algorithm::EcdsaP256).to_pem(Some(b"secret")).unwrap();
    assert!(matches!(PrivateKey::from_pem(&pem, None), Err(KeyError::PassphraseNeeded)));
    assert!(matches!(PrivateKey::from_pem(&pem, Some(b"Secret")), Err(KeyError::Passphrase)));
    assert!(matches!(PrivateKey::from_pem("hello", None), Err(KeyError::Pem)));
    let public = key(Algorithm::Ed25519).public().to_pem();
    assert!(matches!(PrivateKey::from_pem(&public, None), Err(KeyError::Label { .. })));
}

#[test]
fn a_box_that_asks_for_too_much_memory_is_refused() {
    let json = r#"{"kdf":{"name":"scrypt","params":{"N":1073741824,"r":8,"p":1},"salt":"AAAA"},
        "cipher":{"name":"nacl/secretbox","nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},"ciphertext":"AAAA"}"#;
    let pem = pem_rfc7468::encode_string(
        "ENCRYPTED SIGSTORE PRIVATE KEY",
        pem_rfc7468::LineEnding::LF,
        json.as_bytes(),
    );
    let error = PrivateKey::from_pem(&pem.unwrap(), Some(b"x")).unwrap_err().to_string();
    assert!(error.contains("N=1073741824"), "{error}");
}

proptest! {
    #[test]
    fn no_text_is_too_strange_for_a_key_file(text in "(-----BEGIN (EC |ENCRYPTED SIGSTORE )?PRIVATE KEY-----\n)?[A-Za-z0-9+/=\n]{0,200}(\n-----END (EC |ENCRYPTED SIGSTORE )?PRIVATE KEY-----)?") {
        let _ = PrivateKey::from_pem(&text, Some(b"x"));
        let _ = PublicKey::from_pem(&text);
    }
}

#[test]
fn a_folder_keeps_private_keys_private_and_overwrites_none() {
    let place = TempDir::new().unwrap();
    let folder = Folder::open(&place.path().join("keys")).unwrap();
    let made = folder.create(&name("release"), Algorithm::EcdsaP256, Some(b"secret")).unwrap();
    let path = folder.private_path(&name("release"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = folder.create(&name("release"), Algorithm::Ed25519, None);
    assert!(matches!(again, Err(KeyError::Exists { .. })));
    assert_eq!(folder.load(&name("release"), Some(b"secret")).unwrap().public(), made.public());
    assert_eq!(folder.public(&name("release")).unwrap(), *made.public());
    assert!(matches!(folder.load(&name("other"), None), Err(KeyError::Unknown { .. })));
    let alone = key(Algorithm::Ed25519);
    folder.store_public(&name("ci"), alone.public()).unwrap();
    let all = folder.all_public().unwrap();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ci", "release"]);
    assert_eq!(all.verify(b"m", &alone.sign(b"m").unwrap()), [name("ci")]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = folder.load(&name("release"), Some(b"secret")).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

/// OpenSSL reads Kiln's keys, Kiln OpenSSL's, and each verifies what the other signed.
#[test]
fn openssl_and_kiln_understand_each_other() {
    if !has_program("openssl") {
        return;
    }
    let place = TempDir::new().unwrap();
    let at = |name: &str| place.path().join(name);
    let made: [(&str, &[&str]); 3] = [
        ("sec1", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]),
        ("pkcs8", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]),
        ("ed25519", &["genpkey", "-algorithm", "ED25519", "-out"]),
    ];
    std::fs::write(at("message"), b"message").unwrap();
    for (name, arguments) in made {
        let path = at(name);
        run("openssl", &[arguments, &[text(&path)]].concat());
        let key = PrivateKey::from_pem(&std::fs::read_to_string(&path).unwrap(), None).unwrap();
        std::fs::write(at("signature"), key.sign(b"message").unwrap()).unwrap();
        std::fs::write(at("public"), key.public().to_pem()).unwrap();
        let (message, signature, public) = (at("message"), at("signature"), at("public"));
        let raw: &[&str] = if name == "ed25519" { &["-rawin"] } else { &["-rawin", "-digest", "sha256"] };
        let verify = ["pkeyutl", "-verify", "-pubin", "-inkey", text(&public), "-in", text(&message)];
        let verify = [&verify[..], &["-sigfile", text(&signature)], raw].concat();
        run("openssl", &verify);
        std::fs::write(&message, b"massage").unwrap();
        assert!(!try_run("openssl", &verify).status.success(), "{name}");
        std::fs::write(&message, b"message").unwrap();
        std::fs::write(at("again"), key.to_pem(None).unwrap().as_bytes()).unwrap();
        let (again, theirs) = (at("again"), at("theirs"));
        let sign = ["pkeyutl", "-sign", "-inkey", text(&again), "-in", text(&message), "-out", text(&theirs)];
        run("openssl", &[&sign[..], raw].concat());
        key.public().verify(b"message", &std::fs::read(&theirs).unwrap()).unwrap();
    }
}
