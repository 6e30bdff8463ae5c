//! What the provider is given.

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_model::Digest;

use crate::files;
use crate::intent::LogRule;

/// Where the root trees of images are.
pub trait Rootfs: Send + Sync + 'static {
    /// The extracted, read-only root tree of an image. It may take its time (the first use of an image extracts it)
    /// and must stay in place for as long as an instance of the image may exist.
    fn tree(&self, image: &Digest) -> Result<PathBuf, Box<dyn Error + Send + Sync>>;
}

impl<F> Rootfs for F
where
    F: Fn(&Digest) -> Result<PathBuf, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
{
    fn tree(&self, image: &Digest) -> Result<PathBuf, Box<dyn Error + Send + Sync>> {
        self(image)
    }
}

/// What the provider is given.
#[derive(Clone)]
pub struct LocalConfig {
    /// `$KILN_HOME`.
    pub home: PathBuf,
    /// The program to execute as supervisor; its `main` must begin with [`crate::shim::dispatch`].
    pub exe: PathBuf,
    /// Where the root trees of images are.
    pub rootfs: Arc<dyn Rootfs>,
    /// Reads the secrets of services when their instances start.
    pub secrets: kiln_secrets::Resolver,
    /// Whether instances run in user namespaces without a network of their own. True for everybody but root.
    pub rootless: bool,
    /// First three bytes of the instances' network as root; `None` takes one that the host does not route.
    pub subnet: Option<[u8; 3]>,
    /// What is kept of each instance's output.
    pub log: LogRule,
    /// Milliseconds since the Unix epoch.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Suffixes of instance identities: eight characters from `[0-9a-z]`, never the same twice.
    pub ids: Arc<dyn Fn() -> String + Send + Sync>,
}

impl LocalConfig {
    /// The usual: rootless unless run by root (or when `KILN_ROOTLESS=1` asks for it), the system's clock and random
    /// identities.
    pub fn new(home: impl Into<PathBuf>, exe: impl Into<PathBuf>, rootfs: Arc<dyn Rootfs>) -> Self {
        let asked = std::env::var_os("KILN_ROOTLESS").is_some_and(|value| value == "1");
        Self {
            home: home.into(),
            exe: exe.into(),
            rootfs,
            secrets: kiln_secrets::Resolver::default(),
            rootless: asked || !rustix::process::geteuid().is_root(),
            subnet: None,
            log: LogRule::default(),
            clock: Arc::new(files::now_ms),
            ids: Arc::new(random_suffix),
        }
    }
}

/// Eight random characters from `[0-9a-z]`.
fn random_suffix() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut bytes = [0_u8; 8];
    // The kernel always has eight bytes once it has booted; zeros would only make the name less random.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| char::from(DIGITS[usize::from(*byte) % DIGITS.len()])).collect()
}

/// The address of loopback, where peers are reached without a bridge.
pub(crate) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
