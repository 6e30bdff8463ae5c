//! The recipe: one `image` block, fully resolved. Everything in it is an input of the bake; nothing outside
//! it (but the lock and the bytes of the source files it names) may change the image.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Bytes, Name, Span};

/// One image to bake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recipe {
    /// The label of the `image` block.
    pub name: Name,
    /// What the image starts from.
    pub base: Base,
    /// Debian packages to install on a `debian(…)` base; with `=version` where the person pinned one.
    pub packages: Vec<String>,
    /// `copy` and `run` steps in the order they stand in the spec.
    pub steps: Vec<Step>,
    /// What the image says about how to run it.
    pub config: ImageConfig,
    /// Seconds since the Unix epoch for every file time in the image; `None` takes `SOURCE_DATE_EPOCH`, then
    /// the lock's time, then 0.
    pub epoch: Option<i64>,
}

/// What an image starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Base {
    /// Nothing at all.
    Scratch,
    /// Packages of a Debian suite.
    Debian(DebianBase),
    /// Another image.
    Oci(OciBase),
}

/// `debian("bookworm", { … })`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DebianBase {
    /// Suite or code name, such as `bookworm`.
    pub suite: String,
    /// The mirror's URL when the spec names one; otherwise it is found on the machine.
    pub mirror: Option<String>,
    /// Archive components; `main` when the spec names none.
    pub components: Vec<String>,
    /// Whether `SUITE-updates` and `SUITE-security` are used too; true unless the spec says otherwise.
    pub updates: bool,
    /// Debian architecture such as `amd64`; `None` is the machine's own.
    pub architecture: Option<String>,
    /// How maintainer scripts are treated.
    pub scripts: Scripts,
    /// Whether packages marked `Essential: yes` are installed too; always so with [`Scripts::Run`].
    pub essential: bool,
    /// Whether `Recommends` are followed.
    pub recommends: bool,
    /// An OpenPGP keyring file (relative to the spec) instead of the Debian archive keys that Kiln carries.
    pub keyring: Option<String>,
}

/// How maintainer scripts are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scripts {
    /// Not run; Kiln itself does what nearly every image needs.
    #[default]
    None,
    /// Run in the build sandbox by dpkg.
    Run,
}

/// `oci("ghcr.io/acme/base@sha256:…")`, `oci("./layout-folder:tag")`, `oci("base.tar")`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OciBase {
    /// A registry reference, or the path (relative to the spec) of an OCI layout, OCI archive or docker archive.
    pub reference: String,
}

/// One step that changes the image's tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Step {
    /// Files from the source folder.
    Copy(CopyStep),
    /// A command in the build sandbox.
    Run(RunStep),
}

/// `copy "app/" { to = "/srv/app" }`.
///
/// `from` is relative to the folder of the spec and cannot leave it. A folder's *content* is copied when
/// `from` ends in `/`, the folder itself (under its own name, when `to` ends in `/`) otherwise. A glob copies every match below `to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CopyStep {
    /// File, folder or glob (`**` crosses folders).
    pub from: String,
    /// Another image block of the same spec whose tree `from` (then absolute) is taken from: `image = image.build`.
    #[serde(default)]
    pub image: Option<Name>,
    /// Absolute path in the image; with a trailing `/` the target is a folder.
    pub to: String,
    /// Octal mode for files (`"0644"`); `None`: 0755 where the source is executable, 0644 elsewhere. Folders are 0755.
    pub mode: Option<String>,
    /// `user`, `user:group` or `uid:gid`, names looked up in the image; `None` is root.
    pub owner: Option<String>,
    /// Globs, relative to `from`, that are left out in addition to `.kilnignore`.
    pub exclude: Vec<String>,
}

/// `run = ["…"]` or `run "name" { command = … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunStep {
    /// What to execute.
    pub command: Command,
    /// Whether the step may use the machine's network; false unless asked for.
    pub network: bool,
    /// Environment for this step only, over the image's own.
    pub env: BTreeMap<String, String>,
    /// Working folder, absolute; `/` unless given.
    pub workdir: Option<String>,
    /// Time limit.
    pub timeout: Option<Span>,
}

/// A command in one of the two usual forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Command {
    /// One line. Without shell metacharacters it is split into words and executed directly, so an image without
    /// a shell can run it; otherwise `/bin/sh -c` executes it.
    Line(String),
    /// Program and arguments, executed as they are.
    Argv(Vec<String>),
}

impl Command {
    /// Program and arguments as they are executed. A line without shell metacharacters is split at white space; any
    /// other goes to `/bin/sh -c`.
    ///
    /// ```
    /// use kiln_model::Command;
    /// let argv = |line: &str| Command::Line(line.into()).argv();
    /// assert_eq!(argv("app --check  now"), ["app", "--check", "now"]);
    /// assert_eq!(argv("app && echo ok"), ["/bin/sh", "-c", "app && echo ok"]);
    /// ```
    pub fn argv(&self) -> Vec<String> {
        /// Characters that mean something to sh(1) outside of quotes, and the quotes; `=` makes an assignment.
        const SHELL: &[char] = &[
            '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', ']', '#', '~', '=',
            '%', '!', '{', '}', '\n',
        ];
        match self {
            Self::Argv(argv) => argv.clone(),
            Self::Line(line) if line.contains(SHELL) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
            Self::Line(line) => line.split_whitespace().map(Into::into).collect(),
        }
    }
}

/// What the image says about how to run it. Ports, health, stop, and volumes travel in the image's OCI config and
/// in its `dev.kiln.config` label, so that another Kiln can run the image from its digest alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImageConfig {
    /// Program and fixed arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments, replaced by a service's `args`.
    pub cmd: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// `user`, `user:group` or numeric; `None` is root.
    pub user: Option<String>,
    /// Working folder; `/` unless given.
    pub workdir: Option<String>,
    /// Named ports.
    pub ports: BTreeMap<Name, Port>,
    /// How to tell that an instance is healthy; `None`: it is healthy while its process lives and, when it has
    /// a port, once the first port accepts a connection.
    pub health: Option<Health>,
    /// How to stop an instance.
    pub stop: Stop,
    /// Paths that are durable or at least writable: declared volumes.
    pub volumes: BTreeMap<Name, VolumeDecl>,
    /// OCI labels.
    pub labels: BTreeMap<String, String>,
}

/// `port "http" { number = 8080 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub number: u16,
    /// What is spoken there.
    #[serde(default)]
    pub protocol: Protocol,
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1 (WebSocket and server-sent events included).
    #[default]
    Http,
    /// HTTP/2 without TLS, as gRPC servers speak it.
    H2c,
    /// Bytes.
    Tcp,
}

/// `health { http = "/healthz" … }`: exactly one of `http`, `tcp`, `command`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// What is asked.
    pub probe: Probe,
    /// Time from the end of one probe to the beginning of the next. Default 1s.
    pub interval: Span,
    /// Time one probe may take. Default 1s.
    pub timeout: Span,
    /// Successes in a row that make an instance healthy. Default 1.
    pub rise: u32,
    /// Failures in a row that make a healthy instance unhealthy. Default 3.
    pub fall: u32,
    /// From its start an instance may fail probes for so long without being judged. Default 30s.
    pub grace: Span,
}

/// One kind of health probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Probe {
    /// GET of the path; any status from 200 to 399 is a success.
    Http {
        /// Absolute path with an optional query.
        path: String,
        /// Named port; `None` is the first one.
        port: Option<Name>,
    },
    /// The port accepts a connection.
    Tcp {
        /// Named port; `None` is the first one.
        port: Option<Name>,
    },
    /// The command, executed in the instance, exits 0.
    Command {
        /// What to execute.
        command: Command,
    },
}

/// `stop { signal = "SIGTERM" grace = "10s" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// Signal name with `SIG`.
    pub signal: String,
    /// Time from the signal to SIGKILL.
    pub grace: Span,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: "SIGTERM".into(), grace: Span::from_secs(10) }
    }
}

/// `volume "data" { path = "/var/lib/shop" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeDecl {
    /// Absolute path in the instance.
    pub path: String,
    /// Upper limit where the provider can keep one.
    pub size: Option<Bytes>,
}
