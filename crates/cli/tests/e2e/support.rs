//! A project with a small compiled service, and what the tests ask of it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use kiln_testkit::{Load, LoadPlan, Others, TestEnvironment, free_port, get};
use serde_json::Value;

/// How long anything that should happen soon may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// A service of three instances on a port of its own.
pub(crate) struct Project {
    /// Where it lives.
    pub(crate) env: TestEnvironment,
    /// Where it is reached.
    pub(crate) addr: SocketAddr,
    /// The rollout block.
    pub(crate) rollout: String,
    /// What else stands in the service's block.
    pub(crate) in_service: String,
    /// Blocks beside the image and the service.
    pub(crate) beside: String,
}

impl Project {
    /// A project with this rollout block; nothing runs yet.
    pub(crate) fn new(rollout: &str) -> Self {
        let env = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
        std::fs::copy(program(), env.work().join("program")).expect("the program can be copied");
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (in_service, beside) = (String::new(), String::new());
        Self { env, addr, rollout: rollout.to_owned(), in_service, beside }
    }

    /// Writes the spec with this environment for the program.
    pub(crate) fn spec(&self, variables: &[(&str, &str)]) {
        let lines: String =
            variables.iter().map(|(name, value)| format!("    {name} = \"{value}\"\n")).collect();
        let service = format!("{}\n\n  {}", self.rollout, self.in_service);
        self.env.write("kiln.hcl", spec(self.addr.port(), &service, &lines) + &self.beside);
    }

    /// Deploys the program with this environment and waits for the end of the rollout.
    pub(crate) fn up(&self, variables: &[(&str, &str)]) -> kiln_testkit::RunOutcome {
        self.spec(variables);
        self.env.kiln(["up", "-d"])
    }

    /// Constant load on keep-alive connections.
    pub(crate) fn load(&self) -> Load {
        LoadPlan::new(self.addr).start()
    }

    /// Requests of all kinds: kept connections and fresh ones, slow answers, WebSockets. As many requests as a debug
    /// build answers without being starved; a release build gets a few thousand a second.
    pub(crate) fn mixed(&self) -> LoadPlan {
        let (connections, rate) = if cfg!(debug_assertions) { (8, 400) } else { (64, 4_000) };
        let slow = vec!["/slow?ms=1000".to_owned(); 2];
        let others = Others { fresh: 2, slow, websockets: 3, messages: 0 };
        LoadPlan { connections, rate, others, ..LoadPlan::new(self.addr) }
    }

    /// One answer's body.
    pub(crate) fn body(&self) -> Option<String> {
        let answer = get(self.addr, "localhost", "/", &[]).ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    /// The only service's status.
    pub(crate) fn status(&self) -> Value {
        self.env.kiln(["status", "--json"]).success().json()["services"][0].clone()
    }
}

fn spec(port: u16, rollout: &str, variables: &str) -> String {
    format!(
        r#"project = "demo"

image "web" {{
  base = scratch

  copy "program" {{
    to   = "/program"
    mode = "0755"
  }}

  entrypoint = ["/program"]

  port "http" {{
    number = 8080
  }}

  health {{
    http     = "/healthz"
    interval = "200ms"
  }}

  stop {{
    grace = "3s"
  }}
}}

service "web" {{
  image    = image.web
  replicas = 3

  env = {{
{variables}  }}

  expose "http" {{
    listen = {port}
  }}

  {rollout}
}}
"#
    )
}

/// The service, compiled once for all tests of this process.
pub(crate) fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled("program")).clone()
}

/// A client to execute in instances.
pub(crate) fn caller() -> PathBuf {
    static CALLER: OnceLock<PathBuf> = OnceLock::new();
    CALLER.get_or_init(|| compiled("caller")).clone()
}

fn compiled(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let program = folder.join(name);
    let fresh = folder.join(format!("{name}-{}", std::process::id()));
    let source = format!("{}/tests/e2e/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-static", "-pthread", "-o"]).arg(&fresh).arg(source);
    let status = compiler.status().expect("a C compiler named cc");
    assert!(status.success(), "the test's program does not compile");
    // Tests run in many processes at once: each sees a whole program, whoever made it.
    std::fs::rename(&fresh, &program).expect("the program can be renamed");
    program
}

/// A folder of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A program of the set-up. In CI it must be there; elsewhere the test says why it does nothing.
pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(found || std::env::var_os("CI").is_none(), "{program} is missing: run `cargo xtask setup`");
    if !found {
        eprintln!("skipped: {program} is not installed (`cargo xtask setup` installs it)");
    }
    found
}

/// Whether these tests run as root. In CI they must.
pub(crate) fn is_root() -> bool {
    let root = Command::new("id").arg("-u").output().expect("id").stdout == b"0\n";
    assert!(root || std::env::var_os("CI").is_none(), "tests run as root in CI");
    if !root {
        eprintln!("skipped: only root can become somebody else");
    }
    root
}

/// Gives an environment to the user nobody, and returns what runs `kiln ARGS` as that user.
pub(crate) fn as_nobody(env: &TestEnvironment) -> impl Fn(&[&str]) -> Command + '_ {
    let root = env.work().parent().expect("a folder above").to_owned();
    // The binary must be reachable for the other user too.
    let binary = root.join("kiln-binary");
    std::fs::copy(env!("CARGO_BIN_EXE_kiln"), &binary).expect("the binary can be copied");
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    let status = Command::new("chown").args(["-R", "65534:65534"]).arg(&root).status().expect("chown");
    assert!(status.success());
    move |args| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&binary).args(args);
        command.env_clear().current_dir(env.work()).env("HOME", &root).env("KILN_HOME", env.kiln_home());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(std::process::Stdio::null());
        command
    }
}
