//! Capabilities: none for ordinary users; for an image's root the few that servers need to open a low port and step
//! down to their own user. Docker gives fourteen; `NET_RAW`, `MKNOD`, `AUDIT_WRITE`, `SETFCAP`, `SETPCAP`, `SYS_CHROOT`
//! and `FSETID` are not among ours.

use std::collections::HashSet;

use oci_spec::runtime::{Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};

const FOR_ROOT: [Capability; 7] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Kill,
    Capability::NetBindService,
    Capability::Setgid,
    Capability::Setuid,
];

/// The capability sets of a process that runs as `uid` in its instance.
pub(crate) fn sets(uid: u32) -> Result<LinuxCapabilities, oci_spec::OciSpecError> {
    let held: HashSet<Capability> = if uid == 0 { FOR_ROOT.into() } else { HashSet::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(held.clone())
        .effective(held.clone())
        .permitted(held)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
}
