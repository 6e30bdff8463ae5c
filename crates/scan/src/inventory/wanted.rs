//! Which files tell about packages, by their path. Paths are relative to the root, without a leading slash.

use super::limits;

/// What a file is to the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    OsRelease,
    /// dpkg's database, or one stanza of it in a file of its own, as distroless images have it.
    DpkgStatus,
    /// The files of one dpkg package.
    DpkgFiles,
    /// `usr/share/doc/PACKAGE/copyright`.
    Copyright,
    ApkInstalled,
    RpmSqlite,
    RpmNdb,
    RpmBdb,
    /// What SQLite has not yet written into the database.
    RpmSqliteLog,
    Python,
    Node,
    /// npm's record of what it installed, for the digests.
    NodeLock,
    Java,
    Gem,
    DotNet,
    Composer,
    /// An executable file; whether it is an ELF program is told by its bytes.
    Program,
}

impl Kind {
    /// Bytes that are read at most.
    pub(crate) const fn limit(self) -> u64 {
        match self {
            Self::OsRelease | Self::Copyright | Self::Python | Self::Node | Self::Gem | Self::DpkgFiles => {
                limits::DOCUMENT
            }
            Self::DpkgStatus | Self::ApkInstalled | Self::NodeLock | Self::DotNet | Self::Composer => {
                limits::TEXT
            }
            Self::RpmSqlite
            | Self::RpmNdb
            | Self::RpmBdb
            | Self::RpmSqliteLog
            | Self::Java
            | Self::Program => limits::BINARY,
        }
    }
}

/// Folders where RPM keeps its database: as of old, as Fedora and openSUSE do now, as OSTree systems do.
const RPM: [&str; 3] = ["var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/"];

/// What the path alone says. Programs are not known by their path.
pub(crate) fn by_path(path: &[u8]) -> Option<Kind> {
    let path = std::str::from_utf8(path).ok()?;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    by_name(folder, name).or_else(|| system(path, folder, name))
}

fn by_name(folder: &str, name: &str) -> Option<Kind> {
    let parent = folder.rsplit('/').next().unwrap_or_default();
    match name {
        "METADATA" if parent.ends_with(".dist-info") => Some(Kind::Python),
        "PKG-INFO" if parent.ends_with(".egg-info") || parent == "EGG-INFO" => Some(Kind::Python),
        "package.json" if installed_node_package(folder) => Some(Kind::Node),
        ".package-lock.json" if parent == "node_modules" => Some(Kind::NodeLock),
        "installed.json" if folder == "vendor/composer" || folder.ends_with("/vendor/composer") => {
            Some(Kind::Composer)
        }
        _ => match name.rsplit_once('.')?.1 {
            "egg-info" => Some(Kind::Python),
            "jar" | "war" | "ear" | "par" | "sar" | "kar" | "hpi" | "jpi" | "lpkg" => Some(Kind::Java),
            "json" if name.ends_with(".deps.json") => Some(Kind::DotNet),
            "gemspec" if gem_folder(folder) => Some(Kind::Gem),
            _ => None,
        },
    }
}

/// Inside `node_modules` only the root of a package counts: further package.json files below it are its own
/// fixtures and module markers. Elsewhere every package.json counts (Debian installs below usr/share/nodejs, an
/// application has one of its own); without name and version it is nothing.
fn installed_node_package(folder: &str) -> bool {
    let inside = match folder.rfind("/node_modules/") {
        Some(at) => &folder[at + "/node_modules/".len()..],
        None => match folder.strip_prefix("node_modules/") {
            Some(rest) => rest,
            None => return true,
        },
    };
    let parts = inside.split('/').count();
    if inside.starts_with('@') { parts == 2 } else { parts == 1 }
}

fn gem_folder(folder: &str) -> bool {
    let folder = folder.strip_suffix("/default").unwrap_or(folder);
    folder == "specifications" || folder.ends_with("/specifications")
}

fn system(path: &str, folder: &str, name: &str) -> Option<Kind> {
    match path {
        "etc/os-release" | "usr/lib/os-release" => return Some(Kind::OsRelease),
        "var/lib/dpkg/status" => return Some(Kind::DpkgStatus),
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" => return Some(Kind::ApkInstalled),
        _ => {}
    }
    if folder == "var/lib/dpkg/status.d" {
        let kind = if name.ends_with(".md5sums") { Kind::DpkgFiles } else { Kind::DpkgStatus };
        return Some(kind);
    }
    if folder == "var/lib/dpkg/info" && name.ends_with(".list") {
        return Some(Kind::DpkgFiles);
    }
    if name == "copyright" && folder.strip_prefix("usr/share/doc/").is_some_and(|rest| !rest.contains('/')) {
        return Some(Kind::Copyright);
    }
    RPM.iter().find_map(|folder| match path.strip_prefix(folder)? {
        "rpmdb.sqlite" => Some(Kind::RpmSqlite),
        "rpmdb.sqlite-wal" => Some(Kind::RpmSqliteLog),
        "Packages.db" => Some(Kind::RpmNdb),
        "Packages" => Some(Kind::RpmBdb),
        _ => None,
    })
}

/// Whether a file of a package may tell of packages itself: by its name, or because it may be a program.
pub(crate) fn may_tell(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if by_name(folder, name).is_some() {
        return true;
    }
    let programs = folder.split('/').any(|part| matches!(part, "bin" | "sbin" | "libexec"));
    let plain = !name.contains('.') && !folder.starts_with("usr/share/") && !folder.starts_with("var/");
    programs || plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_what_a_file_is() {
        let cases = [
            ("var/lib/dpkg/status", Some(Kind::DpkgStatus)),
            ("var/lib/dpkg/status.d/base", Some(Kind::DpkgStatus)),
            ("var/lib/dpkg/status.d/base.md5sums", Some(Kind::DpkgFiles)),
            ("var/lib/dpkg/status-old", None),
            ("usr/share/doc/bash/copyright", Some(Kind::Copyright)),
            ("usr/share/doc/bash/examples/copyright", None),
            ("usr/lib/sysimage/rpm/rpmdb.sqlite", Some(Kind::RpmSqlite)),
            ("opt/v/lib/python3.11/site-packages/a-1.dist-info/METADATA", Some(Kind::Python)),
            ("opt/METADATA", None),
            ("app/node_modules/a/package.json", Some(Kind::Node)),
            ("node_modules/@s/a/package.json", Some(Kind::Node)),
            ("app/node_modules/a/test/package.json", None),
            ("app/node_modules/@s/package.json", None),
            ("app/node_modules/a/node_modules/b/package.json", Some(Kind::Node)),
            ("usr/share/nodejs/a/package.json", Some(Kind::Node)),
            ("app/app.war", Some(Kind::Java)),
            ("var/lib/gems/3.1.0/specifications/a-1.gemspec", Some(Kind::Gem)),
            ("usr/lib/ruby/gems/3.1.0/specifications/default/a-1.gemspec", Some(Kind::Gem)),
            ("var/lib/gems/3.1.0/gems/a-1/a.gemspec", None),
            ("app/app.deps.json", Some(Kind::DotNet)),
            ("app/vendor/composer/installed.json", Some(Kind::Composer)),
        ];
        for (path, kind) in cases {
            assert_eq!(by_path(path.as_bytes()), kind, "{path}");
        }
    }
}
