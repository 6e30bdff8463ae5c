//! Laying out packages as a file system.
//!
//! Without maintainer scripts, Kiln does what nearly every image needs of them, and nothing else:
//!
//! | what scripts do | how it is done here |
//! |---|---|
//! | merged `/usr` | [`merge`]: every path goes through `/bin -> usr/bin` and its kin |
//! | users and groups | [`users`]: base-passwd's, `sysusers.d`, and plain `adduser`-like lines |
//! | CA bundle | [`certificates`]: `/etc/ssl/certs` as `update-ca-certificates` makes it |
//! | `ld.so.cache` | [`loader`]: as `ldconfig` writes it |
//! | alternatives | [`alternatives`]: plain `update-alternatives --install` lines |
//! | base-files' folders and defaults | [`system`] |
//! | package database | [`database`]: `/var/lib/dpkg/status.d`, where scanners look |
//!
//! For scripts that will run in the sandbox, the tree holds what `dpkg --unpack` leaves behind: all files, and a
//! database in which every package is unpacked but not configured.

mod alternatives;
mod builder;
mod certificates;
mod database;
mod elf;
mod loader;
mod merge;
mod shell;
mod system;
mod users;

use kiln_model::Scripts;

use crate::{Error, Fetched, epoch};

/// Makes one tree of all packages. It is the same for the same lock, whatever the machine.
///
/// # Errors
/// When two packages hold the same file, and when the cache cannot be read.
pub fn tree(fetched: &Fetched, scripts: Scripts) -> Result<kiln_store::Tree, Error> {
    let mut builder = merge::merge(&fetched.packages, epoch(&fetched.lock))?;
    system::links_and_folders(&mut builder);
    match scripts {
        Scripts::None => {
            system::defaults(&mut builder)?;
            users::add(&mut builder, &fetched.packages)?;
            alternatives::add(&mut builder, &fetched.packages)?;
            certificates::add(&mut builder)?;
            loader::add(&mut builder, &fetched.lock.architecture)?;
            database::described(&mut builder, &fetched.packages)?;
        }
        Scripts::Run => {
            database::unpacked(&mut builder, &fetched.packages)?;
        }
    }
    Ok(builder.tree)
}
