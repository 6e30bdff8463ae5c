//! How maintainer scripts are run: the commands for the build sandbox, in order, as root of the image.
//!
//! Packages are already unpacked there. First come the `preinst` scripts, which dpkg runs before unpacking: nearly
//! all of them only move what older versions left behind, but some create users. Then dpkg configures everything in
//! the order of dependencies. Daemons are not started: `policy-rc.d` forbids it. At the end goes what differs from
//! run to run (logs, caches, backups).

use crate::lock::{Lock, epoch};

/// What the scripts see: nothing asks, nothing depends on the language or the day.
const ENVIRONMENT: [&str; 7] = [
    "DEBIAN_FRONTEND=noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN=true",
    "DEBCONF_NOWARNINGS=yes",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TZ=UTC0",
];

const FORBID_DAEMONS: &str =
    "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod 0755 /usr/sbin/policy-rc.d";

/// Runs the `preinst` of the packages named as arguments, where they have one.
const PREINST: &str = "\
set -e
for package in \"$@\"; do
  name=${package%%:*}
  for script in /var/lib/dpkg/info/$package.preinst /var/lib/dpkg/info/$name.preinst; do
    if [ -x \"$script\" ]; then
      DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE=$name DPKG_MAINTSCRIPT_ARCH=${package##*:} \
DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_RUNNING_VERSION=1.21.0 \
\"$script\" install
      break
    fi
  done
done";

/// Removes what the time of the run is written in.
const CLEAN: &str = "\
rm -f /usr/sbin/policy-rc.d /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log \
/var/log/apt/history.log /var/log/apt/term.log /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old \
/var/lib/dpkg/*-old /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock \
/var/lib/dpkg/lock /var/lib/dpkg/lock-frontend /var/lib/dpkg/triggers/Lock
if [ -f /etc/machine-id ]; then : >/etc/machine-id; fi";

/// The commands that configure the packages of a lock, each an argument list for the sandbox.
pub fn configure_command(lock: &Lock) -> Vec<Vec<String>> {
    let mut names: Vec<String> =
        lock.packages.iter().map(|package| format!("{}:{}", package.name, package.arch)).collect();
    // What the other scripts need comes first.
    let rank = |name: &String| {
        let first = ["base-passwd:", "base-files:", "libc6:", "perl-base:", "debconf:", "mawk:", "dpkg:"];
        first.iter().position(|start| name.starts_with(start)).unwrap_or(first.len())
    };
    names.sort_by_key(|name| (rank(name), name.clone()));
    let shell = |script: &str, arguments: &[String]| {
        let mut words = vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned(), "sh".to_owned()];
        words.extend_from_slice(arguments);
        words
    };
    let dpkg = |arguments: &[&str]| {
        let words = ["/usr/bin/dpkg", "--force-confnew", "--force-depends"];
        words.iter().chain(arguments).map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let commands = vec![
        shell(FORBID_DAEMONS, &[]),
        shell(PREINST, &names),
        dpkg(&["--configure", "base-passwd", "base-files"]),
        vec![
            "/usr/bin/dpkg".to_owned(),
            "--force-confnew".to_owned(),
            "--configure".to_owned(),
            "-a".to_owned(),
        ],
        shell(CLEAN, &[]),
    ];
    let epoch = format!("SOURCE_DATE_EPOCH={}", epoch(lock));
    commands
        .into_iter()
        .map(|command| {
            let mut words = vec!["/usr/bin/env".to_owned(), "-i".to_owned()];
            words.extend(ENVIRONMENT.iter().map(|setting| (*setting).to_owned()));
            words.push(epoch.clone());
            words.extend(command);
            words
        })
        .collect()
}
