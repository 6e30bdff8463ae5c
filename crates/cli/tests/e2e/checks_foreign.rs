//! Goss files and structure tests: the same verdicts as the tools they were written for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_testkit::TestEnvironment;
use serde_json::Value;

use crate::checks::project;
use crate::support::{has, is_root};

const GOSS: &str = r#"
file:
  /etc/motd:
    exists: true
    mode: "0640"
    owner: root
    group: root
    uid: 0
    filetype: file
    size: {and: [{gt: 3}, {lt: 100}]}
    contents: ["welcome", "/^wel.*42$/", "!goodbye"]
    sha256: {have-prefix: "20b0"}
  /etc/group:
    exists: true
    contents: {have-prefix: "root"}
    mode: "0755"
  /etc:
    exists: true
    filetype: directory
  /nowhere:
    exists: false
  /missing:
    exists: true
    mode: "0644"
user:
  web:
    exists: true
    uid: 33
    gid: {le: 44}
    home: /srv
    shell: {match-regexp: "false$"}
    groups: [web]
  root:
    exists: true
    uid: 7
  nobody:
    exists: true
group:
  ssl:
    exists: true
    gid: 110
  web:
    exists: true
    gid: {not: 44}
matching:
  numbers:
    content: [1, 2, 3]
    matches: {contain-elements: [1, {gt: 2}]}
  texts:
    content: "some text"
    matches: {and: [{contain-substring: text}, {have-len: 4}]}
"#;

type Verdicts = BTreeMap<String, bool>;

/// Kiln's verdicts by `kind id: attribute`.
fn ours(env: &TestEnvironment, option: &str, file: &str) -> Verdicts {
    let outcome = env.kiln(["check", "web", "--json", option, file]);
    let report = outcome.json();
    let results = report[0]["report"]["results"].as_array().expect("results").clone();
    let what = |one: &Value| one["what"].as_str().expect("a text").to_owned();
    results.iter().map(|one| (what(one), one["passed"] == true)).collect()
}

/// A copy of the image's tree that another program may look at.
fn tree(env: &TestEnvironment, target: &Path) {
    let baked = env.kiln(["bake", "--json"]).success().json();
    let digest = baked[0]["digest"].as_str().expect("a digest").trim_start_matches("sha256:").to_owned();
    let tree = env.kiln_home().join("store/trees").join(digest);
    let status = Command::new("cp").args(["-a", "--"]).arg(tree).arg(target).status().expect("cp");
    assert!(status.success());
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a PATH");
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    std::fs::canonicalize(found.expect("the program was found before")).expect("a real file")
}

/// Copies a program and the libraries it needs to where it finds them in another root.
fn move_in(program: &Path, root: &Path) {
    let needed = Command::new("ldd").arg(program).output().expect("ldd");
    let text = String::from_utf8_lossy(&needed.stdout).into_owned();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    for file in libraries.chain([program.to_owned()]) {
        let target = root.join(file.strip_prefix("/").expect("an absolute path"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder in the tree");
        std::fs::copy(&file, target).expect("a file can be copied");
    }
}

#[test]
fn goss_files_get_the_verdicts_that_goss_gives() {
    if !has("goss") || !is_root() {
        return;
    }
    let env = project("");
    let file = env.write("goss.yaml", GOSS);
    let verdicts = ours(&env, "--goss", "goss.yaml");
    let root = env.work().join("root");
    tree(&env, &root);
    move_in(&which("goss"), &root);
    std::fs::copy(file, root.join("goss.yaml")).expect("the file can be copied");
    let goss = Command::new("chroot")
        .arg(&root)
        .arg(which("goss"))
        .args(["-g", "/goss.yaml", "validate", "--format", "json"])
        .output()
        .expect("chroot");
    let said: Value = serde_json::from_slice(&goss.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", String::from_utf8_lossy(&goss.stdout), String::from_utf8_lossy(&goss.stderr))
    });
    let mut theirs = Verdicts::new();
    for one in said["results"].as_array().expect("results").iter().filter(|one| one["skipped"] != true) {
        let text = |key: &str| one[key].as_str().expect("a text").to_owned();
        let kind = text("resource-type").to_lowercase();
        theirs.insert(
            format!("{kind} {}: {}", text("resource-id"), text("property")),
            one["successful"] == true,
        );
    }
    assert!(theirs.values().any(|good| *good) && theirs.values().any(|good| !*good));
    assert_eq!(verdicts, theirs);
}

const LIVE: &str = r#"
port:
  tcp:8080:
    listening: true
    ip: ["0.0.0.0"]
  tcp:9:
    listening: false
process:
  program:
    running: true
  nginx:
    running: true
http:
  http://localhost:8080/:
    status: 200
    body: ["hello", "!goodbye"]
    headers: ["/^Content-Length: [0-9]+$/"]
addr:
  tcp://127.0.0.1:8080:
    reachable: true
  tcp://127.0.0.1:9:
    reachable: false
mount:
  /tmp:
    exists: true
    filesystem: tmpfs
    opts: [nosuid]
  /:
    exists: true
    opts: [ro]
file:
  /tmp:
    exists: true
    filetype: directory
"#;

#[test]
fn goss_files_look_into_the_instance() {
    let env = project("");
    env.write("goss.yaml", LIVE);
    let verdicts = ours(&env, "--goss", "goss.yaml");
    let failed: Vec<_> = verdicts.iter().filter(|(_, good)| !**good).map(|(what, _)| what.as_str()).collect();
    assert_eq!(failed, ["process nginx: running"]);
    assert!(verdicts.len() >= 15, "{verdicts:?}");
}

const STRUCTURE: &str = r#"
schemaVersion: "2.0.0"
fileExistenceTests:
  - name: motd is there
    path: /etc/motd
    shouldExist: true
    permissions: "-rw-r-----"
  - name: motd is not executable by others
    path: /etc/motd
    isExecutableBy: other
  - name: program is executable
    path: /program
    isExecutableBy: any
  - name: nothing is there
    path: /nowhere
    shouldExist: false
  - name: something is missing
    path: /missing
    shouldExist: true
fileContentTests:
  - name: motd welcomes
    path: /etc/motd
    expectedContents: ["welcome.*", "^wel"]
    excludedContents: ["goodbye"]
  - name: motd ends with a number
    path: /etc/motd
    expectedContents: ["42$"]
metadataTest:
  envVars:
    - key: VERSION
      value: one
  labels:
    - key: team
      value: "^sh"
      isRegex: true
  exposedPorts: ["8080"]
  volumes: ["/data"]
  entrypoint: ["/program"]
"#;

#[test]
fn structure_tests_get_the_verdicts_that_their_own_tool_gives() {
    if !has("container-structure-test") {
        return;
    }
    let env = project("");
    env.write("cst.yaml", STRUCTURE);
    let verdicts = ours(&env, "--structure", "cst.yaml");
    env.kiln(["image", "export", "web", "web.tar", "--format", "docker-archive"]).success();
    let said = Command::new("container-structure-test")
        .args(["test", "--driver", "tar", "--image", "web.tar", "--config", "cst.yaml", "--output", "json"])
        .current_dir(env.work())
        .env("HOME", env.work())
        .output()
        .expect("container-structure-test");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let json: Value = serde_json::from_str(text.trim())
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&said.stderr)));
    let mut theirs = Verdicts::new();
    for one in json["Results"].as_array().expect("results") {
        let name = one["Name"].as_str().expect("a name");
        let name = name.rsplit_once(": ").map_or(name, |(_, name)| name);
        let name = if name.starts_with("Metadata") { "metadata" } else { name };
        theirs.insert(name.to_owned(), one["Pass"] == true);
    }
    assert!(theirs.values().any(|good| *good) && theirs.values().any(|good| !*good));
    assert_eq!(verdicts, theirs, "{text}");
}

const COMMANDS: &str = r#"
schemaVersion: "2.0.0"
globalEnvVars:
  - key: TOLD
    value: global
commandTests:
  - name: says it
    command: /caller
    args: ["say", "hi"]
    exitCode: 3
    expectedOutput: ["^hi\n$"]
    expectedError: ["not hi", "global"]
    excludedOutput: ["not"]
  - name: cannot write
    command: /caller
    args: ["write", "/etc/changed"]
    exitCode: 0
  - name: is not there
    command: /nowhere
fileExistenceTests:
  # The tar driver of their own tool knows no owners, so this cannot be compared.
  - name: belongs to root
    path: /etc/motd
    uid: 0
    gid: 0
  - name: belongs to web
    path: /etc/motd
    uid: 33
licenseTests:
  - debian: false
    files: ["/etc/motd"]
"#;

#[test]
fn commands_of_structure_tests_have_an_instance_of_their_own() {
    let env = project("");
    env.write("cst.yaml", COMMANDS);
    let verdicts = ours(&env, "--structure", "cst.yaml");
    let wanted = [
        ("says it", true),
        ("cannot write", false),
        ("is not there", false),
        ("licenses", true),
        ("belongs to root", true),
        ("belongs to web", false),
    ];
    assert_eq!(verdicts, wanted.map(|(name, good)| (name.to_owned(), good)).into());
}
