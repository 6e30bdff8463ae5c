//! Making .deb files, honest and other.

use std::collections::BTreeMap;
use std::io::Write;

/// A package in the making.
#[derive(Clone, Debug)]
pub(crate) struct Deb {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) arch: String,
    /// Fields beside those above, such as `Depends`.
    pub(crate) fields: Vec<(String, String)>,
    /// Members of the control archive beside `control`.
    pub(crate) control: BTreeMap<String, String>,
    pub(crate) data: Data,
    /// Ending of the data archive's name.
    pub(crate) compression: &'static str,
}

impl Deb {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: "amd64".to_owned(),
            fields: Vec::new(),
            control: BTreeMap::new(),
            data: Data::default(),
            compression: "xz",
        }
    }

    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn script(mut self, name: &str, text: &str) -> Self {
        self.control.insert(name.to_owned(), text.to_owned());
        self
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.data.add(b'0', path, "", text.as_bytes());
        self
    }

    pub(crate) fn folder(mut self, path: &str) -> Self {
        self.data.add(b'5', path, "", b"");
        self
    }

    pub(crate) fn symlink(mut self, path: &str, target: &str) -> Self {
        self.data.add(b'2', path, target, b"");
        self
    }

    /// An entry of any kind.
    pub(crate) fn raw(mut self, kind: u8, path: &str, target: &str) -> Self {
        self.data.add(kind, path, target, b"");
        self
    }

    pub(crate) fn compression(mut self, ending: &'static str) -> Self {
        self.compression = ending;
        self
    }

    /// The control file.
    pub(crate) fn paragraph(&self) -> String {
        let mut text =
            format!("Package: {}\nVersion: {}\nArchitecture: {}\n", self.name, self.version, self.arch);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push_str("Maintainer: Nobody <nobody@example.test>\nDescription: made for a test\n");
        text
    }

    /// The bytes of the .deb.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut control = Data::default();
        control.add(b'0', "./control", "", self.paragraph().as_bytes());
        for (name, text) in &self.control {
            control.add(b'0', &format!("./{name}"), "", text.as_bytes());
        }
        let data = compress(self.compression, &self.data.finish());
        archive(&[
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar.gz", compress(".gz", &control.finish())),
            (&format!("data.tar{}", dot(self.compression)), data),
        ])
    }
}

fn dot(ending: &str) -> String {
    if ending.is_empty() { String::new() } else { format!(".{}", ending.trim_start_matches('.')) }
}

/// A tar archive written by hand, so that it can hold anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data(Vec<u8>);

impl Data {
    pub(crate) fn add(&mut self, kind: u8, path: &str, target: &str, bytes: &[u8]) {
        let mut header = [0u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, if kind == b'5' { "0000755" } else { "0000644" });
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", bytes.len()));
        put(136, &format!("{:011o}", 1_600_000_000));
        put(148, "        ");
        put(157, target);
        put(257, "ustar  ");
        header[156] = kind;
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.extend([0; 1024]);
        bytes
    }
}

/// An `ar` archive of these members.
pub(crate) fn archive(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, "100644", content.len()).unwrap();
        bytes.extend(content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

pub(crate) fn compress(ending: &str, bytes: &[u8]) -> Vec<u8> {
    match ending.trim_start_matches('.') {
        "xz" => {
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "gz" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}
