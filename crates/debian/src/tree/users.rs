//! Users and groups: Debian's static ones from base-passwd, and those that packages create.
//!
//! Packages say it in `sysusers.d` files (systemd's format) or in their `postinst` with adduser, addgroup, useradd
//! or groupadd. Only system accounts written out plainly are taken. Numbers are given from 100 upward, as adduser
//! does, in the order of package names: the same lock gives the same numbers.

mod accounts;
mod scripts;
mod sysusers;

use super::builder::Builder;
use crate::Error;
use crate::deb::Package;
use accounts::Accounts;

/// Writes `/etc/passwd` and its kin.
pub(super) fn add(builder: &mut Builder, packages: &[Package]) -> Result<(), Error> {
    let passwd = builder.text("usr/share/base-passwd/passwd.master")?.unwrap_or_default();
    let group = builder.text("usr/share/base-passwd/group.master")?.unwrap_or_default();
    if passwd.is_empty() || builder.exists("etc/passwd") {
        return Ok(());
    }
    let mut accounts = Accounts::parse(&passwd, &group);
    let mut packages: Vec<&Package> = packages.iter().collect();
    packages.sort_by_key(|package| &package.locked.name);
    for package in packages {
        for entry in package.entries() {
            let path = String::from_utf8_lossy(&entry.path);
            if path.starts_with("usr/lib/sysusers.d/") && path.ends_with(".conf") {
                sysusers::read(&builder.text(&path)?.unwrap_or_default(), &mut accounts);
            }
        }
        if let Some(script) = package.control_text("postinst")? {
            scripts::read(&script, &mut accounts);
        }
    }
    for user in accounts.new_users().filter(|user| user.make_home) {
        let home = user.home.trim_matches('/');
        if home.is_empty()
            || home.split('/').any(|part| matches!(part, "" | "." | ".."))
            || builder.exists(home)
        {
            continue;
        }
        builder.folder(home, 0o755);
        let place = builder.resolve(home.as_bytes());
        if let Some(node) = builder.tree.nodes.get_mut(&place) {
            (node.uid, node.gid) = (user.uid, user.gid);
        }
    }
    let day = builder.epoch.div_euclid(24 * 3600).max(0);
    let shadow = 42;
    for (path, mode, text) in [
        ("etc/passwd", 0o644, accounts.passwd()),
        ("etc/group", 0o644, accounts.group()),
        ("etc/shadow", 0o640, accounts.shadow(day)),
        ("etc/gshadow", 0o640, accounts.gshadow()),
    ] {
        builder.file(path, mode, text.into_bytes());
        if mode == 0o640
            && let Some(node) = builder.tree.nodes.get_mut(path.as_bytes())
        {
            node.gid = shadow;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
