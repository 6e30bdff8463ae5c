//! A small signed repository on disk, with keys made for it.

use std::fs;
use std::path::{Path, PathBuf};

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
    SubkeyParamsBuilder,
};
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, Password, Timestamp};
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

use super::deb::{Deb, compress};

/// The keys are from 1 January 2026.
pub(crate) const BORN: u32 = 1_767_225_600;

/// A repository with one suite, `testing-suite`.
pub(crate) struct Repository {
    folder: tempfile::TempDir,
    pub(crate) key: SignedSecretKey,
    /// Fields of the Release; changed fields count at the next [`Repository::write`].
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) packages: Vec<Deb>,
    /// Ending of the package list: `.xz`, `.gz` or nothing.
    pub(crate) list: &'static str,
}

/// A key whose subkey signs, as the archive's automatic keys do.
pub(crate) fn key() -> SignedSecretKey {
    let born = Timestamp::from_secs(BORN);
    let subkey = SubkeyParamsBuilder::default()
        .key_type(KeyType::Ed25519Legacy)
        .can_sign(true)
        .created_at(born)
        .build();
    let params = SecretKeyParamsBuilder::default()
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .created_at(born)
        .primary_user_id("Test Archive <archive@example.test>".into())
        .subkeys(vec![subkey.unwrap()])
        .build()
        .unwrap();
    params.generate(OsRng).unwrap()
}

/// How a Release is signed.
pub(crate) struct Signing {
    pub(crate) made: u32,
    pub(crate) subkey: bool,
    pub(crate) more: Vec<SubpacketData>,
}

impl Default for Signing {
    fn default() -> Self {
        Self { made: BORN + 86_400, subkey: true, more: Vec::new() }
    }
}

pub(crate) fn sign(key: &SignedSecretKey, text: &str, signing: Signing) -> String {
    let subkey = &key.secret_subkeys[0].key;
    let fingerprint = if signing.subkey { subkey.fingerprint() } else { key.primary_key.fingerprint() };
    let mut packets = vec![
        SubpacketData::SignatureCreationTime(Timestamp::from_secs(signing.made)),
        SubpacketData::IssuerFingerprint(fingerprint),
    ];
    packets.extend(signing.more);
    let packets = packets.into_iter().map(|data| Subpacket::regular(data).unwrap()).collect();
    let message = if signing.subkey {
        let mut config = SignatureConfig::from_key(OsRng, subkey, SignatureType::Text).unwrap();
        config.hashed_subpackets = packets;
        CleartextSignedMessage::new(text, config, subkey, &Password::empty())
    } else {
        let mut config = SignatureConfig::from_key(OsRng, &key.primary_key, SignatureType::Text).unwrap();
        config.hashed_subpackets = packets;
        CleartextSignedMessage::new(text, config, &key.primary_key, &Password::empty())
    };
    message.unwrap().to_armored_string(ArmorOptions::default()).unwrap()
}

impl Repository {
    /// A repository of these packages and the two that every image has.
    pub(crate) fn new(packages: Vec<Deb>) -> Self {
        let mut all = vec![
            Deb::new("base-files", "13")
                .folder("./")
                .folder("./etc/")
                .file("./etc/os-release", "ID=debian\n"),
            Deb::new("base-passwd", "4")
                .file("./usr/share/base-passwd/passwd.master", "root:*:0:0:root:/root:/bin/sh\n")
                .file("./usr/share/base-passwd/group.master", "root:*:0:\nshadow:*:42:\nnogroup:*:65534:\n"),
        ];
        all.extend(packages);
        let fields = [
            ("Origin", "Test"),
            ("Suite", "testing-suite"),
            ("Codename", "kiln"),
            ("Date", "Sat, 29 Aug 2026 10:00:00 UTC"),
            ("Valid-Until", "Sat, 05 Sep 2026 10:00:00 UTC"),
            ("Acquire-By-Hash", "yes"),
        ];
        let repository = Self {
            folder: tempfile::tempdir().unwrap(),
            key: key(),
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            packages: all,
            list: ".xz",
        };
        repository.write();
        repository
    }

    /// The folder that holds `debian` and the keyring.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The archive's root.
    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("debian")
    }

    pub(crate) fn url(&self) -> String {
        self.root().display().to_string()
    }

    pub(crate) fn set(&mut self, field: &str, value: &str) {
        self.fields.retain(|(name, _)| name != field);
        if !value.is_empty() {
            self.fields.push((field.to_owned(), value.to_owned()));
        }
    }

    /// The path of a package below the root.
    pub(crate) fn pool(deb: &Deb) -> String {
        format!("pool/main/{}/{}_{}_{}.deb", deb.name, deb.name, deb.version.replace(':', "%3a"), deb.arch)
    }

    /// Writes everything.
    pub(crate) fn write(&self) {
        let release = self.write_files();
        self.write_release(&sign(&self.key, &release, Signing::default()));
        let public = SignedPublicKey::from(self.key.clone());
        fs::write(self.path().join("keyring.gpg"), public.to_bytes().unwrap()).unwrap();
    }

    pub(crate) fn write_release(&self, text: &str) {
        fs::write(self.suite().join("InRelease"), text).unwrap();
    }

    pub(crate) fn suite(&self) -> PathBuf {
        self.root().join("dists/testing-suite")
    }

    /// Writes packages and lists; the text of the Release.
    pub(crate) fn write_files(&self) -> String {
        let mut list = String::new();
        for deb in &self.packages {
            let (bytes, path) = (deb.build(), Self::pool(deb));
            let file = self.root().join(&path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, &bytes).unwrap();
            list.push_str(&deb.paragraph());
            list.push_str(&format!(
                "Filename: {path}\nSize: {}\nSHA256: {}\n\n",
                bytes.len(),
                sha256(&bytes)
            ));
        }
        let bytes = compress(self.list, list.as_bytes());
        let folder = self.suite().join("main/binary-amd64");
        let hashed = folder.join("by-hash/SHA256");
        fs::create_dir_all(&hashed).unwrap();
        fs::write(folder.join(format!("Packages{}", self.list)), &bytes).unwrap();
        fs::write(hashed.join(sha256(&bytes)), &bytes).unwrap();
        let mut release: String =
            self.fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        release.push_str(&format!(
            "SHA256:\n {} {} main/binary-amd64/Packages{}\n",
            sha256(&bytes),
            bytes.len(),
            self.list
        ));
        release
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
