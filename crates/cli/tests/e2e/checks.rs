//! `kiln check`: images proved by instances that leave nothing behind.

use std::path::Path;
use std::time::{Duration, Instant};

use kiln_testkit::{TestEnvironment, signal};
use serde_json::Value;

use crate::support::{as_nobody, caller, has, is_root, program};

/// An environment whose spec has an image `web`, with these blocks beside it.
pub(crate) fn project(beside: &str) -> TestEnvironment {
    let env = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
    std::fs::copy(program(), env.work().join("program")).expect("the program can be copied");
    std::fs::copy(caller(), env.work().join("caller")).expect("the caller can be copied");
    env.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44::/srv:/bin/false\n");
    env.write("etc/group", "root:x:0:\nweb:x:44:\nssl:x:110:web\n");
    env.write("etc/motd", "welcome to 42\n");
    env.write("kiln.hcl", IMAGE.to_owned() + beside);
    env
}

const IMAGE: &str = r#"project = "demo"

image "web" {
  base = scratch

  copy "program" {
    to   = "/program"
    mode = "0755"
  }

  copy "caller" {
    to   = "/caller"
    mode = "0755"
  }

  copy "etc/" {
    to   = "/etc/"
    mode = "0640"
  }

  entrypoint = ["/program"]
  env        = { VERSION = "one" }
  labels     = { team = "shop" }

  port "http" {
    number = 8080
  }

  volume "data" {
    path = "/data"
  }

  health {
    http     = "/healthz"
    interval = "200ms"
  }

  stop {
    grace = "3s"
  }
}
"#;

/// Everything that can be expected of the image, and holds.
const GOOD: &str = r#"
check "all of it" {
  image  = image.web
  within = "10s"

  http {
    get      = "/"
    status   = [200, 204]
    contains = ["hello", "one"]
    matches  = "^hello [a-z]+ from"
    max_time = "5s"
    header "content-length" {
      matches = "^[0-9]+$"
    }
  }
  http {
    post = "/"
    body = "x"
  }
  tcp {
    send     = "GET / HTTP/1.0\r\n\r\n"
    contains = "hello"
  }
  command {
    run      = ["/caller", "say", "hi"]
    exit     = 3
    equals   = "hi"
    user     = "web"
    stderr {
      contains = "not hi uid 33"
    }
  }
  file "/etc/motd" {
    kind     = "file"
    mode     = "0640"
    owner    = "root"
    group    = "0"
    size     = 14
    contains = "welcome"
    matches  = "4.$"
    sha256   = "20b0614ce019742b1da7fbf81423d5b135d9cff1d5f71d4aae3837b228b39bf3"
  }
  file "/nowhere" {
    exists = false
  }
  file "/tmp" {
    kind = "folder"
    mode = "1777"
  }
  user "web" {
    uid    = 33
    gid    = 44
    groups = ["web", "ssl"]
    home   = "/srv"
    shell  = "/bin/false"
  }
  group "ssl" {
    gid = 110
  }
  package "tzdata" {
    installed = false
  }
  config {
    env        = { VERSION = "one" }
    labels     = { team = "shop" }
    entrypoint = ["/program"]
    ports      = ["8080/tcp"]
    volumes    = ["/data"]
  }
  listening {
    port    = 8080
    address = "0.0.0.0"
  }
  listening {
    port      = 9
    listening = false
  }
  process "program" {
    count = 1
    user  = "root"
  }
  log {
    excludes = "panic"
  }
  start {
    within = "60s"
  }
  load {
    get            = "/"
    rate           = 50
    duration       = "1s"
    connections    = 4
    max_error_rate = "1%"
    max_p99        = "8s"
  }
  memory {
    max = "512MiB"
  }
  read_only_root {
    writes = []
  }
  stop {
    within = "3s"
    exit   = 0
  }
}
"#;

/// What nobody may leave behind: processes, instances, networks, folders.
fn nothing_is_left(env: &TestEnvironment) {
    let left = env.processes();
    assert!(left.is_empty(), "processes {left:?} are left");
    let folder = std::fs::read_dir(env.kiln_home().join("checks")).expect("the folder of checks");
    let left: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?} are left");
}

fn results(report: &Value) -> Vec<Value> {
    report[0]["report"]["results"].as_array().expect("results").clone()
}

#[test]
fn everything_that_holds_is_seen_to_hold_and_nothing_is_left() {
    let env = project(GOOD);
    let outcome = env.kiln(["check", "--json", "--junit", "out.xml"]);
    let report = outcome.success().json();
    assert_eq!(report[0]["report"]["passed"], true);
    let kinds: Vec<_> =
        results(&report).iter().map(|one| one["kind"].as_str().unwrap_or("").to_owned()).collect();
    for kind in ["http", "tcp", "file", "process", "load", "memory", "read_only_root", "stop"] {
        assert!(kinds.iter().any(|one| one == kind), "{kind} is missing among {kinds:?}");
    }
    let junit = std::fs::read_to_string(env.work().join("out.xml")).expect("the report");
    assert!(
        junit.contains(&format!("tests=\"{}\"", kinds.len())) && junit.contains("failures=\"0\""),
        "{junit}"
    );
    nothing_is_left(&env);
}

#[test]
fn ordinary_users_prove_images_too() {
    if !is_root() || !has("setpriv") {
        return;
    }
    // What a single mapped user cannot do is to become another one.
    let env = project(&GOOD.replace("    user     = \"web\"\n", "").replace("uid 33", "uid 0"));
    let kiln = as_nobody(&env);
    env.run(kiln(&["check"])).success().stdout_has("expectations hold");
    nothing_is_left(&env);
}

/// Expectations that do not hold, each with what must be said.
const BAD: [(&str, &str, &str); 19] = [
    ("http {\n get = \"/\"\n status = 404\n}", "expected status 404", "found    status 200"),
    ("http {\n get = \"/\"\n contains = \"bye\"\n}", "the body to contain \"bye\"", "hello one"),
    ("http {\n get = \"/\"\n json = { \"/a\" = \"b\" }\n}", "a body of JSON", "found "),
    ("http {\n get = \"/slow?ms=300\"\n max_time = \"100ms\"\n}", "an answer within 100ms", "found "),
    ("http {\n get = \"/\"\n header \"x-none\" {}\n}", "a header x-none", "found    none"),
    (
        "tcp {\n send = \"GET / HTTP/1.0\\r\\n\\r\\n\"\n contains = \"bye\"\n}",
        "the answer to contain \"bye\"",
        "hello",
    ),
    (
        "command {\n run = [\"/caller\", \"say\", \"hi\"]\n}",
        "expected exit status 0",
        "found    exit status 3",
    ),
    ("command {\n run = [\"/none\"]\n}", "exit status 0", "126"),
    ("file \"/etc/motd\" {\n mode = \"0644\"\n}", "mode 0644", "mode 0640"),
    ("user \"nobody\" {}", "to exist", "no such line in /etc/passwd"),
    ("group \"ssl\" {\n gid = 1\n}", "gid 1", "gid 110"),
    ("package \"tzdata\" {}", "to be installed", "no database of dpkg"),
    ("config {\n user = \"app\"\n}", "user app", "found    user"),
    ("listening {\n port = 81\n}", "somebody to listen", "only 8080"),
    ("process \"nginx\" {}", "to run", "only program"),
    ("log {\n contains = \"ready\"\n within = \"100ms\"\n}", "the log to contain \"ready\"", "found "),
    ("start {\n within = \"0s\"\n}", "healthy within 0s", "found "),
    ("memory {\n max = \"1KiB\"\n}", "at most 1KiB", "at the most"),
    (
        "load {\n get = \"/slow?ms=200\"\n rate = 10\n duration = \"500ms\"\n max_p99 = \"10ms\"\n}",
        "within 10ms",
        "found ",
    ),
];

#[test]
fn each_kind_fails_with_what_was_expected_and_found() {
    let blocks: String = BAD
        .iter()
        .enumerate()
        .map(|(number, (block, ..))| format!("check \"bad {number}\" {{\n image = image.web\n {block}\n}}\n"))
        .collect();
    let env = project(&blocks);
    let outcome = env.kiln(["check"]);
    outcome.code(9).stdout_has(&format!("{} of {} expectations do not hold", BAD.len(), BAD.len()));
    for (number, (_, expected, found)) in BAD.iter().enumerate() {
        let begin = outcome.stderr.find(&format!("✗ bad {number}: ")).expect("every check is told");
        let told = &outcome.stderr[begin..];
        let told = told.split("\n✗").next().unwrap_or_default();
        assert!(told.contains(expected) && told.contains(found), "{number}: {told}");
    }
    nothing_is_left(&env);
}

#[test]
fn a_program_that_does_not_start_is_told_with_its_log() {
    let env = project(
        "check \"home\" {\n image = image.web\n env = { EXIT = \"7\" }\n http {\n get = \"/\"\n }\n}\n",
    );
    let outcome = env.kiln(["check", "--junit", "out.xml"]);
    outcome.code(9).stderr_has("exited with status 7").stderr_has("cannot start: the database is missing");
    let junit = std::fs::read_to_string(env.work().join("out.xml")).expect("the report");
    assert!(junit.contains("the database is missing") && junit.contains("failures=\"1\""), "{junit}");
    nothing_is_left(&env);
}

#[test]
fn a_program_that_does_not_stop_or_writes_about_is_found_out() {
    let env = project(
        "check \"stop\" {\n image = image.web\n env = { IGNORE_TERM = \"1\" }\n stop {}\n}\n\
         check \"writes\" {\n image = image.web\n command {\n run = [\"/caller\", \"write\", \"/run/left\"]\n }\n \
         read_only_root {\n writes = [\"/tmp\"]\n }\n}\n",
    );
    let outcome = env.kiln(["check"]);
    outcome.code(9).stderr_has("killed with SIGKILL (137)").stderr_has("/run/left");
    outcome.stdout_has("2 of 3 expectations do not hold");
    nothing_is_left(&env);
}

const STAND_IN: &str = r#"
check "with a database" {
  image = image.web
  env   = { VERSION = "two" }

  stand_in "db" {
    image = image.db
    env   = { VERSION = "of-the-stand-in" }
  }

  command {
    run      = ["/caller", "db", "5432"]
    contains = "hello of-the-stand-in"
  }
  http {
    get      = "/"
    contains = "hello two"
  }
}

check "alone" {
  image = image.web

  command {
    run  = ["/caller", "db", "5432"]
    exit = 2
    stderr {
      contains = "no such name"
    }
  }
}

image "db" {
  base = scratch

  copy "program" {
    to   = "/program"
    mode = "0755"
  }

  entrypoint = ["/program"]
  env        = { PORT = "5432" }

  port "http" {
    number = 5432
  }
}
"#;

#[test]
fn stand_ins_are_reached_by_name_and_only_by_whom_they_are_for() {
    let env = project(STAND_IN);
    env.kiln(["check"]).success().stdout_has("all 3 expectations hold");
    nothing_is_left(&env);
    if is_root() && has("setpriv") {
        let env = project(STAND_IN);
        let kiln = as_nobody(&env);
        env.run(kiln(&["check"])).success().stdout_has("all 3 expectations hold");
        nothing_is_left(&env);
    }
}

/// Waits until something is so.
fn until(what: &str, mut wanted: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < crate::support::SOON, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const LONG: &str =
    "check \"long\" {\n image = image.web\n load {\n get = \"/\"\n rate = 1\n duration = \"10m\"\n }\n}\n";

fn bridges(env: &TestEnvironment) -> Vec<String> {
    let places = std::fs::read_dir(env.kiln_home().join("checks")).into_iter().flatten().flatten();
    let networks = places.filter_map(|place| std::fs::read(place.path().join("network.json")).ok());
    let network = networks.filter_map(|text| serde_json::from_slice::<Value>(&text).ok());
    network.filter_map(|network| network["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_run_that_was_killed_is_cleared_by_the_next_one() {
    let env = project(LONG);
    let mut running = env.spawn(["check"]);
    let place = |path: &Path| path.join("instances").is_dir();
    let checks = env.kiln_home().join("checks");
    until("an instance that runs", || {
        let places = std::fs::read_dir(&checks).into_iter().flatten().flatten();
        places.filter(|entry| place(&entry.path())).any(|entry| {
            let instances = std::fs::read_dir(entry.path().join("instances")).into_iter().flatten().flatten();
            instances.into_iter().any(|instance| instance.path().join("ready").exists())
        })
    });
    let bridges = bridges(&env);
    signal(running.pid(), 9).expect("a signal");
    running.wait(crate::support::SOON);
    assert!(!env.processes().is_empty(), "the instance outlives its run until somebody clears it");
    env.write(
        "kiln.hcl",
        IMAGE.to_owned() + "check \"quick\" {\n image = image.web\n http {\n get = \"/\"\n }\n}\n",
    );
    env.kiln(["check"]).success();
    nothing_is_left(&env);
    for bridge in bridges {
        assert!(!Path::new("/sys/class/net").join(&bridge).exists(), "{bridge} is left");
    }
}

#[test]
fn a_run_that_is_interrupted_clears_up_itself() {
    let env = project(LONG);
    let mut running = env.spawn(["check"]);
    until("an instance", || !env.processes().iter().all(|pid| *pid == running.pid()));
    signal(running.pid(), 2).expect("a signal");
    let outcome = running.wait(crate::support::SOON);
    assert_eq!(outcome, Some(130));
    nothing_is_left(&env);
}

#[test]
fn what_cannot_be_checked_is_said() {
    let env = project("");
    env.kiln(["check"]).code(8).stderr_has("nothing to check").stderr_has("--goss");
    env.kiln(["check", "nothing"]).code(8).stderr_has("kiln image list");
    env.write("goss.yaml", "service:\n  nginx:\n    enabled: true\n");
    env.kiln(["check", "web", "--goss", "goss.yaml"]).failure().stderr_has("service is not supported");
}
