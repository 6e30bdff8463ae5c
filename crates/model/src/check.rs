//! Checks: what must hold of an image, and of an instance of it, before anybody depends on it.
//!
//! Everything is plain data; how each expectation is judged is the business of `kiln-check`. Fields that a person left
//! out are not written, so that a record of a check stays as short as the check.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Bytes, Command, Name, Span};

/// `check "home page" { image = image.web http { … } }`: expectations that must all hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The label of the block, any text.
    pub name: String,
    /// The image block it judges.
    pub image: Name,
    /// What the instance that is checked has around it.
    #[serde(default, skip_serializing_if = "Setup::is_usual")]
    pub setup: Setup,
    /// Time that one expectation may take each time it is tried. Default 10s.
    #[serde(default = "usual_timeout", skip_serializing_if = "is_usual_timeout")]
    pub timeout: Span,
    /// An expectation that does not hold is tried again until so much time has passed; none: it is tried once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// What is expected, in the order of the spec; at least one.
    // Records from before a check could hold several have one, called `probe`.
    #[serde(alias = "probe", deserialize_with = "one_or_many")]
    #[schemars(with = "Vec<CheckProbe>")]
    pub probes: Vec<CheckProbe>,
}

impl Check {
    /// A check of one expectation, with nothing else set.
    pub fn new(name: impl Into<String>, image: Name, probe: CheckProbe) -> Self {
        Self {
            name: name.into(),
            image,
            setup: Setup::default(),
            timeout: usual_timeout(),
            within: None,
            probes: vec![probe],
        }
    }
}

const fn usual_timeout() -> Span {
    // A page that takes longer than the usual time-outs of those who call it would not be served either.
    Span::from_secs(10)
}

fn is_usual_timeout(span: &Span) -> bool {
    *span == usual_timeout()
}

/// What the checked instance has around it. Checks with equal setups share one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Setup {
    /// Environment over the image's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Stand-ins for the services that the image calls, by the name it calls them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stand_ins: BTreeMap<Name, StandIn>,
}

impl Setup {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// `stand_in "db" { image = image.fakedb }`: an instance that takes the place of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct StandIn {
    /// The image block that plays the service.
    pub image: Name,
    /// Ports under which the checked instance reaches it; none: all ports of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Environment over the image's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// One expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum CheckProbe {
    /// An HTTP request to the instance.
    Http(Box<HttpCheck>),
    /// A conversation over TCP.
    Tcp(TcpCheck),
    /// A command in the instance.
    Command(CommandCheck),
    /// A file, folder or link.
    File(Box<FileCheck>),
    /// A user of the image.
    User(UserCheck),
    /// A group of the image.
    Group(GroupCheck),
    /// An installed Debian package.
    Package(PackageCheck),
    /// What the image says about how to run it.
    Config(Box<ConfigCheck>),
    /// A port somebody listens on inside the instance.
    Listening(ListeningCheck),
    /// Processes of the instance.
    Process(ProcessCheck),
    /// What the instance printed.
    Log(LogCheck),
    /// How long the instance took to be healthy.
    Start(StartCheck),
    /// Requests at a rate.
    Load(LoadCheck),
    /// The most memory the instance has used.
    Memory(MemoryCheck),
    /// Nothing outside of the writable places is, or can be, written.
    ReadOnlyRoot(ReadOnlyRootCheck),
    /// The instance ends in time when it is told to stop.
    Stop(StopCheck),
    /// A goss file.
    Goss {
        /// Path relative to the spec.
        file: String,
    },
    /// A file of container-structure-test.
    Structure {
        /// Path relative to the spec.
        file: String,
    },
}

impl CheckProbe {
    /// The kind's name: the word that begins its block.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Command(_) => "command",
            Self::File(_) => "file",
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Package(_) => "package",
            Self::Config(_) => "config",
            Self::Listening(_) => "listening",
            Self::Process(_) => "process",
            Self::Log(_) => "log",
            Self::Start(_) => "start",
            Self::Load(_) => "load",
            Self::Memory(_) => "memory",
            Self::ReadOnlyRoot(_) => "read_only_root",
            Self::Stop(_) => "stop",
            Self::Goss { .. } => "goss",
            Self::Structure { .. } => "structure",
        }
    }
}

/// What a text must be like; an expectation that is left out holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TextExpect {
    /// Exactly this; one final newline more or less makes no difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// Each of these is somewhere in it.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// Each of these regular expressions finds something in it; `^` and `$` are the ends of lines.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<String>,
}

impl TextExpect {
    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `http { get = "/" status = 200 contains = "hello" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpCheck {
    /// Such as GET.
    #[serde(skip_serializing_if = "is_get")]
    pub method: String,
    /// Path with an optional query.
    #[serde(alias = "get")]
    pub path: String,
    /// Named port; `None` is the first one that speaks HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Name>,
    /// Sent along.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Sent along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Any of these. Redirects are answers like others.
    #[serde(deserialize_with = "one_or_many")]
    pub status: Vec<u16>,
    /// Headers of the answer, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub expect_headers: BTreeMap<String, TextExpect>,
    /// What the body must be like.
    #[serde(flatten)]
    pub expect: TextExpect,
    /// JSON pointers (RFC 6901) into the body, and what is there: a text as it is, another value as JSON.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, String>,
    /// Longest time to the end of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Span>,
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            path: "/".into(),
            port: None,
            headers: BTreeMap::new(),
            body: None,
            status: vec![200],
            expect_headers: BTreeMap::new(),
            expect: TextExpect::default(),
            json: BTreeMap::new(),
            max_time: None,
        }
    }
}

fn is_get(method: &str) -> bool {
    method == "GET"
}

/// `tcp { port = "db" send = "PING\r\n" contains = "PONG" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TcpCheck {
    /// Named port; `None` is the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Name>,
    /// Sent after connecting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// What must arrive; nothing expected: accepting the connection is enough.
    #[serde(flatten)]
    pub expect: TextExpect,
}

/// `command { run = "app --version" exit = 0 contains = "2." }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandCheck {
    /// What to execute.
    pub command: Command,
    /// Expected exit status.
    #[serde(default)]
    pub exit: i32,
    /// What standard output must be like.
    #[serde(flatten)]
    pub stdout: TextExpect,
    /// What standard error must be like.
    #[serde(default, skip_serializing_if = "TextExpect::is_empty")]
    pub stderr: TextExpect,
    /// As whom, as an image's `user`; `None` is the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
}

/// `file "/etc/motd" { mode = "0644" contains = "welcome" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileCheck {
    /// Absolute path. A link at its end is looked at itself when `kind` or `target` ask for a link.
    pub path: String,
    /// Whether it is there.
    #[serde(default = "yes")]
    pub exists: bool,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FileKind>,
    /// Octal, with or without leading zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// Of the content, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where a link leads, as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What the content must be like.
    #[serde(flatten)]
    pub expect: TextExpect,
}

const fn yes() -> bool {
    true
}

/// `user "www-data" { uid = 33 }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserCheck {
    /// Who.
    pub name: String,
    /// Whether the image knows it.
    #[serde(default = "yes")]
    pub exists: bool,
    /// Number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Number of the primary group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Groups it is in, the primary one included; others are no failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Home folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
}

/// `group "ssl" { gid = 110 }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupCheck {
    /// Which.
    pub name: String,
    /// Whether the image knows it.
    #[serde(default = "yes")]
    pub exists: bool,
    /// Number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// `package "tzdata" { installed = true }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageCheck {
    /// Which, as dpkg calls it.
    pub name: String,
    /// Whether it is installed.
    #[serde(default = "yes")]
    pub installed: bool,
    /// Exactly this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// `config { user = "app" labels = { … } }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConfigCheck {
    /// Variables and their values; others are no failure.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Labels and their values; others are no failure.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Exactly this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Exactly this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Exactly this; the empty text is root by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Exactly this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Exposed ports such as `8080/tcp`; others are no failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Paths of volumes; others are no failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// `listening { port = 8080 address = "0.0.0.0" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListeningCheck {
    /// Number inside the instance.
    pub port: u16,
    /// Of which protocol.
    #[serde(default)]
    pub protocol: Transport,
    /// The address that is listened on; `None` is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether somebody listens.
    #[serde(default = "yes")]
    pub listening: bool,
}

/// `process "nginx" { count = 2 user = "www-data" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessCheck {
    /// Name as the kernel has it: the program's file name, at most 15 bytes of it.
    pub name: String,
    /// Only those whose command line matches this regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// Whether there are any.
    #[serde(default = "yes")]
    pub running: bool,
    /// Exactly so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Whose all of them are: name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// `log { contains = "listening" within = "5s" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogCheck {
    /// What all lines together must be like.
    #[serde(flatten)]
    pub expect: TextExpect,
    /// Texts that must not be there.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
    /// Instead of the check's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

/// `start { within = "3s" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartCheck {
    /// From the program's first instruction to the first good health probe.
    pub within: Span,
}

/// `load { get = "/" rate = 100 duration = "10s" max_p99 = "50ms" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadCheck {
    /// Path of the GET requests.
    pub get: String,
    /// Named port; `None` is the first one that speaks HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Name>,
    /// Requests a second.
    pub rate: u32,
    /// How long.
    pub duration: Span,
    /// Connections that are kept open.
    pub connections: u32,
    /// Part of 1 that may fail: no answer in time, or a status of 500 and above.
    pub max_error_rate: f64,
    /// Of the time to the end of the answer, from when the request was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_p99: Option<Span>,
}

/// `memory { max = "64MiB" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryCheck {
    /// The most that the instance's control group, or where there is none its processes, may have used.
    pub max: Bytes,
}

/// `read_only_root { writes = ["/tmp"] }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReadOnlyRootCheck {
    /// Places beside volumes in which the program may leave files. None: everywhere it can, which is /tmp, /run and
    /// /dev/shm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<Vec<String>>,
}

/// `stop { within = "2s" exit = 0 }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StopCheck {
    /// Shorter than the image's grace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// Exactly this; `None`: 0, or the end by the signal itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
}

/// A list; one value in place of it, and nothing in place of an empty one.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given<T> {
        Many(Vec<T>),
        One(T),
    }
    Ok(match Option::<Given<T>>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Given::Many(many)) => many,
        Some(Given::One(one)) => vec![one],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_checks_of_one_probe_are_still_read() {
        let old = r#"{"name":"home","image":"web","probe":
            {"kind":"http","get":"/x","port":null,"status":204,"contains":"hello"}}"#;
        let check: Check = serde_json::from_str(old).unwrap();
        let wanted = HttpCheck {
            path: "/x".into(),
            status: vec![204],
            expect: TextExpect { contains: vec!["hello".into()], ..TextExpect::default() },
            ..HttpCheck::default()
        };
        let image = Name::new("web").unwrap();
        assert_eq!(check, Check::new("home", image, CheckProbe::Http(Box::new(wanted))));
        let old = r#"{"name":"v","image":"web","probe":
            {"kind":"command","command":"app --version","exit":3,"contains":null}}"#;
        let check: Check = serde_json::from_str(old).unwrap();
        assert!(matches!(&check.probes[0], CheckProbe::Command(it) if it.exit == 3 && it.stdout.is_empty()));
    }

    #[test]
    fn what_is_written_comes_back_and_is_short() {
        let probe = CheckProbe::Http(Box::default());
        let check = Check::new("home", Name::new("web").unwrap(), probe);
        let text = serde_json::to_string(&check).unwrap();
        assert_eq!(
            text,
            r#"{"name":"home","image":"web","probes":[{"kind":"http","path":"/","status":[200]}]}"#
        );
        assert_eq!(serde_json::from_str::<Check>(&text).unwrap(), check);
    }
}
