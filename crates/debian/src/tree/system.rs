//! What base-files and libc-bin make when they are configured: folders, links and first versions of settings.

use kiln_store::Kind;

use super::builder::Builder;
use crate::Error;

/// Used when no package brings one.
const NSSWITCH: &str = "passwd:         files
group:          files
shadow:         files
gshadow:        files

hosts:          files dns
networks:       files

protocols:      db files
services:       db files
ethers:         db files
rpc:            db files
";

/// Where packages keep the first version of a setting, and where it goes.
const FIRST_VERSIONS: [(&str, &str); 6] = [
    ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
    ("usr/share/base-files/nsswitch.conf", "etc/nsswitch.conf"),
    ("usr/share/base-files/profile", "etc/profile"),
    ("usr/share/base-files/motd", "etc/motd"),
    ("usr/share/base-files/dot.bashrc", "root/.bashrc"),
    ("usr/share/base-files/dot.profile", "root/.profile"),
];

/// What a file system must have in any case.
pub(super) fn links_and_folders(builder: &mut Builder) {
    for (path, mode) in [
        ("", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("run", 0o755),
        ("run/lock", 0o1777),
        ("sys", 0o755),
        ("dev", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/local", 0o755),
        ("var", 0o755),
        ("var/cache", 0o755),
        ("var/lib", 0o755),
        ("var/log", 0o755),
        ("var/tmp", 0o1777),
    ] {
        builder.folder(path, mode);
    }
    for (path, target) in [("var/lock", "/run/lock"), ("var/run", "/run")] {
        // Nothing can be below them: names are resolved through these links before.
        if matches!(builder.tree.nodes.get(path.as_bytes()).map(|node| &node.kind), Some(Kind::Folder)) {
            builder.tree.nodes.remove(path.as_bytes());
        }
        builder.link(path, target);
    }
}

/// Settings, for images whose scripts do not run.
pub(super) fn defaults(builder: &mut Builder) -> Result<(), Error> {
    for folder in ["bin", "etc", "games", "include", "lib", "sbin", "share", "src"] {
        builder.folder(&format!("usr/local/{folder}"), 0o755);
    }
    for (from, to) in FIRST_VERSIONS {
        if !builder.exists(to)
            && let Some(bytes) = builder.read(from)?
        {
            builder.file(to, 0o644, bytes);
        }
    }
    if !builder.exists("etc/nsswitch.conf") {
        builder.file("etc/nsswitch.conf", 0o644, NSSWITCH.as_bytes());
    }
    if builder.exists("usr/share/zoneinfo/Etc/UTC") {
        builder.link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
        if !builder.exists("etc/timezone") {
            builder.file("etc/timezone", 0o644, &b"Etc/UTC\n"[..]);
        }
    }
    Ok(())
}
