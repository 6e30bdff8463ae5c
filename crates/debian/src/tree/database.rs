//! dpkg's database.
//!
//! Images without scripts have `/var/lib/dpkg/status.d/NAME` and `NAME.md5sums` for each package, the layout of
//! distroless images that scanners know. Images whose scripts will run have the whole of `/var/lib/dpkg`, as
//! `dpkg --unpack` leaves it.

use md5::{Digest, Md5};

use super::builder::Builder;
use super::merge;
use crate::Error;
use crate::deb::{EntryKind, Package};

const ROOT: &str = "var/lib/dpkg";

/// The database of an image without scripts.
pub(super) fn described(builder: &mut Builder, packages: &[Package]) -> Result<(), Error> {
    builder.folder(ROOT, 0o755);
    builder.folder(&format!("{ROOT}/status.d"), 0o755);
    for package in packages {
        let name = &package.locked.name;
        let control = package.control("control")?.unwrap_or_default();
        builder.file(&format!("{ROOT}/status.d/{name}"), 0o644, control);
        let sums = package.control("md5sums")?.unwrap_or_default();
        builder.file(&format!("{ROOT}/status.d/{name}.md5sums"), 0o644, sums);
    }
    Ok(())
}

/// The database after unpacking everything.
pub(super) fn unpacked(builder: &mut Builder, packages: &[Package]) -> Result<(), Error> {
    for folder in ["", "/alternatives", "/info", "/parts", "/triggers", "/updates"] {
        builder.folder(&format!("{ROOT}{folder}"), 0o755);
    }
    for file in [
        "available",
        "diversions",
        "statoverride",
        "lock",
        "lock-frontend",
        "triggers/Lock",
        "triggers/Unincorp",
    ] {
        let mode = if file.contains("ock") { 0o640 } else { 0o644 };
        builder.file(&format!("{ROOT}/{file}"), mode, &b""[..]);
    }
    builder.file(&format!("{ROOT}/info/format"), 0o644, &b"1\n"[..]);
    let mut packages: Vec<&Package> = packages.iter().collect();
    packages.sort_by_key(|package| &package.locked.name);
    let mut status = String::new();
    let mut triggers = Triggers::default();
    for package in packages {
        let control = package.control_text("control")?.unwrap_or_default();
        status.push_str(&paragraph(builder, package, &control)?);
        let same = merge::field(&control, "Multi-Arch").as_deref() == Some("same");
        let base = match same {
            true => format!("{}:{}", package.locked.name, package.locked.arch),
            false => package.locked.name.clone(),
        };
        for name in package.control_names().filter(|name| *name != "control") {
            let bytes = package.control(name)?.unwrap_or_default();
            let script = matches!(name, "preinst" | "postinst" | "prerm" | "postrm" | "config");
            let mode = if script { 0o755 } else { 0o644 };
            builder.file(&format!("{ROOT}/info/{base}.{name}"), mode, bytes);
        }
        builder.file(&format!("{ROOT}/info/{base}.list"), 0o644, list(package));
        triggers.add(&package.control_text("triggers")?.unwrap_or_default(), &base);
    }
    triggers.write(builder);
    builder.file(&format!("{ROOT}/status"), 0o644, status.into_bytes());
    Ok(())
}

/// A package's paragraph of the status file: its control file with a state and its conffiles.
fn paragraph(builder: &Builder, package: &Package, control: &str) -> Result<String, Error> {
    let mut lines = control.trim_end().lines();
    let mut text = String::new();
    for line in lines.by_ref() {
        text.push_str(line);
        text.push('\n');
        if line.starts_with("Package:") {
            text.push_str("Status: install ok unpacked\n");
        }
    }
    let conffiles = package.control_text("conffiles")?.unwrap_or_default();
    let mut sums = String::new();
    for path in conffiles.lines().map(str::trim).filter(|path| path.starts_with('/')) {
        if let Some(bytes) = builder.read(path.trim_start_matches('/'))? {
            sums.push_str(&format!(" {path} {}\n", hex::encode(Md5::digest(&bytes))));
        }
    }
    if !sums.is_empty() {
        text.push_str("Conffiles:\n");
        text.push_str(&sums);
    }
    text.push('\n');
    Ok(text)
}

/// All names of a package, as dpkg lists them.
fn list(package: &Package) -> Vec<u8> {
    let mut text = b"/.\n".to_vec();
    for entry in package.entries().iter().filter(|entry| !entry.path.is_empty()) {
        // A name with a line end cannot be listed; dpkg itself would break it in two.
        if entry.path.contains(&b'\n') {
            continue;
        }
        text.push(b'/');
        text.extend_from_slice(&entry.path);
        text.push(b'\n');
        debug_assert!(!matches!(&entry.kind, EntryKind::Hardlink(target) if target.is_empty()));
    }
    text
}

/// Who wants to be told of what.
#[derive(Default)]
struct Triggers {
    /// Lines of `triggers/File`.
    files: Vec<String>,
    named: std::collections::BTreeMap<String, Vec<String>>,
}

impl Triggers {
    fn add(&mut self, text: &str, package: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(directive), Some(name)) = (words.next(), words.next()) else { continue };
            let suffix = match directive {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => continue,
            };
            if name.starts_with('/') {
                self.files.push(format!("{name} {package}{suffix}\n"));
            } else if crate::deb::is_plain_name(name) {
                self.named.entry(name.to_owned()).or_default().push(format!("{package}{suffix}\n"));
            }
        }
    }

    fn write(self, builder: &mut Builder) {
        builder.file(&format!("{ROOT}/triggers/File"), 0o644, self.files.concat().into_bytes());
        for (name, lines) in self.named {
            builder.file(&format!("{ROOT}/triggers/{name}"), 0o644, lines.concat().into_bytes());
        }
    }
}
