//! What is read at most. Everything in an image is somebody else's.

/// A description of one package: npm's longest package.json is below 1 MiB, METADATA with a long README too.
pub(crate) const DOCUMENT: u64 = 8 << 20;
/// A text database of all packages: 60,000 packages of Debian are 50 MiB.
pub(crate) const TEXT: u64 = 64 << 20;
/// A binary database, a program or an archive, which are held in memory whole: a full Fedora's rpmdb is 200 MiB,
/// the largest Go programs (kubelet, Trivy) are below 200 MiB.
pub(crate) const BINARY: u64 = 512 << 20;
/// Packages that one file or layer may tell of: five times what Debian has in all.
pub(crate) const PACKAGES: u64 = 300_000;
/// Archives inside archives: an .ear with a .war with a .jar is three.
pub(crate) const NESTING: usize = 5;
/// Bytes that all the archives inside one archive may unpack to.
pub(crate) const UNPACKED: u64 = 1 << 30;
/// Problems that are listed; a broken image should not fill a screen a thousand times.
pub(crate) const PROBLEMS: usize = 200;
