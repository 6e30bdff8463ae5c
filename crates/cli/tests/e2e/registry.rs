//! The registry as people and their tools use it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use kiln_registry::digest::ContentDigest;
use kiln_testkit::{Running, TestEnvironment, signal, wait_for};
use serde_json::Value;

use crate::support::{Project, SOON, has, is_root};

/// A registry that runs on its own.
pub(crate) struct Served {
    running: Running,
    pub(crate) address: SocketAddr,
}

/// Starts `kiln registry serve` on a port of its own and waits for the address that it prints.
pub(crate) fn serve(env: &TestEnvironment, more: &[&str]) -> Served {
    let line = [&["registry", "serve", "--listen", "127.0.0.1:0", "--json"], more].concat();
    let mut running = env.spawn(line);
    let told = wait_for("the registry tells its address", SOON, || {
        assert!(running.ended().is_none(), "it ended: {}{}", running.stdout(), running.stderr());
        serde_json::from_str::<Value>(&running.stdout()).ok()
    });
    let address = told["address"].as_str().expect("an address").parse().expect("an address");
    Served { running, address }
}

impl Served {
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> (u16, String, Vec<u8>) {
        request(self.address, method, path, headers, body)
    }

    /// SIGTERM, and it ends well.
    pub(crate) fn stop(mut self) {
        signal(self.running.pid(), 15).expect("it runs");
        assert_eq!(self.running.wait(SOON), Some(0), "{}", self.running.stderr());
    }
}

/// One request on a connection of its own: status, head and body of the answer.
fn request(at: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(at).expect("the registry listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("the registry reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the registry answers");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
    (status, head, answer.split_off(end))
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
}

fn output(home: &Path, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).env("HOME", home).current_dir(home).output();
    output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
}

fn run(home: &Path, program: &str, arguments: &[&str]) -> String {
    let output = output(home, program, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(home: &Path, program: &str, arguments: &[&str]) -> String {
    let output = output(home, program, arguments);
    assert!(!output.status.success(), "{program} {arguments:?} was not refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A project whose image `web` is baked.
pub(crate) fn baked() -> Project {
    let project = Project::new("");
    project.spec(&[]);
    project.env.kiln(["bake"]).success();
    project
}

pub(crate) fn image(project: &Project) -> String {
    let images = project.env.kiln(["image", "list", "--json"]).success().json();
    images[0]["digest"].as_str().expect("a digest").to_owned()
}

fn records(env: &TestEnvironment, what: &str) -> Vec<Value> {
    let told = env.kiln(["ledger", "show", "--what", what, "--json"]).success().json();
    told.as_array().expect("a list").clone()
}

#[test]
fn a_linked_image_is_pulled_and_moved_by_everybodys_tools() {
    if !has("skopeo") || !has("crane") || !has("oras") || !has("podman") {
        return;
    }
    let project = baked();
    let (env, home) = (&project.env, project.env.work());
    let digest = image(&project);
    let served = serve(env, &[]);
    let linked = env.kiln(["registry", "link", "web", "team/web:1", "--json"]).success().json();
    assert_eq!(linked["reference"], served.name("team/web:1").as_str());
    assert_eq!(run(&home, "crane", &["digest", &served.name("team/web:1")]).trim(), digest);
    run(&home, "crane", &["validate", "--remote", &served.name("team/web:1")]);
    let (from, to) = (served.name("team/web:1"), served.name("team/copy:1"));
    let both = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
    let docker = |name: &str| format!("docker://{name}");
    run(&home, "skopeo", &[&both[..], &[&docker(&from), &docker(&to)]].concat());
    env.write("about.txt", "good");
    run(&home, "oras", &["attach", "--plain-http", "--artifact-type", "x/note", &to, "about.txt:text/plain"]);
    let found = run(&home, "oras", &["discover", "--plain-http", "--format", "json", &to]);
    assert!(found.contains("x/note"), "{found}");
    let (root, work) = (home.join("podman").display().to_string(), home.join("pr").display().to_string());
    let own = ["--root", &root, "--runroot", &work, "--storage-driver", "vfs"];
    run(&home, "podman", &[&own[..], &["pull", "--tls-verify=false", &to]].concat());

    // A tag that exists stays, and the person learns why.
    let other = served.name("team/other:1");
    env.write("more.txt", "more");
    run(&home, "tar", &["-cf", "more.tar", "more.txt"]);
    run(&home, "crane", &["append", "-b", &from, "-f", "more.tar", "-t", &other]);
    let said = refused(&home, "skopeo", &[&both[..], &[&docker(&other), &docker(&from)]].concat());
    assert!(said.contains("the tag 1 of team/web is immutable"), "{said}");
    let said = refused(&home, "crane", &["copy", &other, &from]);
    assert!(said.contains("push under a new tag"), "{said}");

    let listed = env.kiln(["registry", "list", "--json"]).success().json();
    let names: Vec<_> =
        listed["repositories"].as_array().expect("a list").iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["team/copy", "team/other", "team/web"]);
    let tags = env.kiln(["registry", "list", "team/web", "--json"]).success().json();
    assert_eq!(tags["tags"][0]["digest"], digest.as_str());
    // Who pushed is on the record, and so is who linked.
    let pushed = records(env, "registry.pushed");
    let by = |repository: &str| {
        let found = pushed.iter().find(|one| one["details"]["repository"] == repository);
        found.unwrap_or_else(|| panic!("{repository} is not in {pushed:?}"))["who"].clone()
    };
    assert_eq!(by("team/copy"), "127.0.0.1");
    assert_ne!(by("team/web"), "127.0.0.1");
    assert_eq!(records(env, "registry.tagged").len(), 3);
    // Another one on the same home is refused, with who has it.
    let pid = served.running.pid().to_string();
    env.kiln(["registry", "serve", "--listen", "127.0.0.1:0"]).code(7).stderr_has(&format!("process {pid}"));
    served.stop();
    env.kiln(["registry", "list"]).success().stdout_has("not served at present");
}

/// A Docker daemon of the test's own, with a containerd below it.
struct Docker {
    daemon: std::process::Child,
    folder: tempfile::TempDir,
}

impl Docker {
    fn start() -> Self {
        // Sockets have short paths.
        let folder = tempfile::TempDir::new_in("/tmp").expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("empty.json"), "{}").expect("a file");
        let log = std::fs::File::create(path("log")).expect("a file");
        let socket = format!("unix://{}", path("sock"));
        let mut command = Command::new("dockerd");
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command.args(["-H", &socket, "--config-file", &path("empty.json"), "--storage-driver", "vfs"]);
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false", "--userland-proxy=false"]);
        let daemon = command.stdout(log.try_clone().expect("a file")).stderr(log).spawn().expect("dockerd");
        let docker = Self { daemon, folder };
        wait_for("dockerd", SOON, || docker.command(&["version"]).status.success().then_some(()));
        docker
    }

    fn command(&self, arguments: &[&str]) -> Output {
        let socket = format!("unix://{}", self.folder.path().join("sock").display());
        output(self.folder.path(), "docker", &[&["-H", &socket], arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// containerd's own client, on the containerd that dockerd runs.
    fn ctr(&self, arguments: &[&str]) -> String {
        let socket = self.folder.path().join("exec/containerd/containerd.sock").display().to_string();
        run(self.folder.path(), "ctr", &[&["-a", &socket], arguments].concat())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Asked to end, it ends its containerd too.
        let _ = signal(self.daemon.id(), 15);
        let _ = self.daemon.wait();
    }
}

/// `ada` with the password `secret`, and `bob` with the same.
fn users(env: &TestEnvironment) -> String {
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    env.write("users", format!("ada:{hash}\nbob:{hash}\n")).display().to_string()
}

#[test]
fn users_log_in_with_docker_containerd_podman_crane_and_oras() {
    let programs = ["dockerd", "docker", "ctr", "podman", "crane", "oras"];
    if !programs.into_iter().all(has) || !is_root() {
        return;
    }
    let project = baked();
    let (env, home) = (&project.env, project.env.work());
    let users = users(env);
    let grants = ["--grant", "ada:team/**:pull,push", "--grant", "bob:team/**:pull"];
    let served = serve(env, &[&["--users", users.as_str()], &grants[..]].concat());
    env.kiln(["registry", "link", "web", "team/web:1"]).success();
    let (host, web) = (served.address.to_string(), served.name("team/web:1"));
    let ada = ["-u", "ada", "-p", "secret", host.as_str()];

    let docker = Docker::start();
    assert!(!docker.command(&["pull", &web]).status.success(), "nobody in particular may pull");
    let wrong = docker.command(&["login", "-u", "ada", "-p", "wrong", &host]);
    assert!(!wrong.status.success(), "a wrong password is refused");
    docker.run(&[&["login"], &ada[..]].concat());
    docker.run(&["pull", &web]);
    let copy = served.name("team/docker:1");
    docker.run(&["tag", &web, &copy]);
    docker.run(&["push", &copy]);
    docker.ctr(&["images", "pull", "--plain-http", "--user", "bob:secret", &copy]);

    let auth = home.join("auth.json").display().to_string();
    run(&home, "podman", &[&["login", "--tls-verify=false", "--authfile", &auth], &ada[..]].concat());
    run(&home, "crane", &["auth", "login", "-u", "ada", "-p", "secret", &host]);
    run(&home, "crane", &["copy", &web, &served.name("team/crane:1")]);
    let config = home.join("oras.json").display().to_string();
    let oras = ["login", "--plain-http", "--registry-config", &config];
    run(&home, "oras", &[&oras[..], &["-u", "bob", "-p", "secret", &host]].concat());
    env.write("a.txt", "a");
    let push = ["push", "--plain-http", "--registry-config", &config, &served.name("team/oras:1"), "a.txt"];
    // oras 1.2 tells of a refusal by breaking off.
    refused(&home, "oras", &push);
    let fetch = ["manifest", "fetch", "--plain-http", "--registry-config", &config, "--descriptor", &web];
    run(&home, "oras", &fetch);
    drop(docker);
    served.stop();
    let who = |repository: &str| {
        let found = records(env, "registry.pushed");
        let found = found.into_iter().find(|one| one["details"]["repository"] == repository);
        found.expect("a record")["who"].clone()
    };
    assert_eq!((who("team/docker"), who("team/crane")), ("ada".into(), "ada".into()));
    env.kiln(["ledger", "verify"]).success();
}

#[test]
fn a_push_goes_on_after_the_registry_was_killed_in_the_middle() {
    let env = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
    let bytes: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 249) as u8).collect();
    let digest = ContentDigest::sha256(&bytes);
    let mut served = serve(&env, &[]);
    let (status, head, _) = served.request("POST", "/v2/shop/blobs/uploads/", "", b"");
    assert_eq!(status, 202);
    let place = header(&head, "location");
    let (status, ..) = served.request("PATCH", &place, "content-range: 0-1999999\r\n", &bytes[..2_000_000]);
    assert_eq!(status, 202);
    // The rest is on its way when the registry is killed.
    let mut cut = TcpStream::connect(served.address).expect("a connection");
    let head = format!("PATCH {place} HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n");
    cut.write_all(&[head.as_bytes(), &bytes[2_000_000..3_000_000]].concat()).expect("it reads");
    signal(served.running.pid(), 9).expect("it runs");
    assert_eq!(served.running.wait(SOON), None);
    let _ = cut.shutdown(Shutdown::Both);

    let served = serve(&env, &[]);
    let (status, head, _) = served.request("GET", &place, "", b"");
    assert_eq!(status, 204);
    let last: usize = header(&head, "range").rsplit_once('-').expect("a range").1.parse().expect("a number");
    assert!((1_999_999..3_000_000).contains(&last), "what was acknowledged is there: {last}");
    let range = format!("content-range: {}-{}\r\n", last + 1, bytes.len() - 1);
    let (status, ..) = served.request("PATCH", &place, &range, &bytes[last + 1..]);
    assert_eq!(status, 202);
    let (status, ..) = served.request("PUT", &format!("{place}?digest={digest}"), "", b"");
    assert_eq!(status, 201);
    let (status, _, found) = served.request("GET", &format!("/v2/shop/blobs/{digest}"), "", b"");
    assert!(status == 200 && found == bytes);
}

/// Pushes an image of one layer over plain HTTP, and returns the digest of its manifest.
pub(crate) fn push(at: SocketAddr, repository: &str, tag: &str, layer: &[u8]) -> ContentDigest {
    let blob = |kind: &str, bytes: &[u8]| {
        let digest = ContentDigest::sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(request(at, "POST", &path, "", bytes).0, 201);
        serde_json::json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    };
    let config = blob("application/vnd.oci.image.config.v1+json", b"{}");
    let layer = blob("application/vnd.oci.image.layer.v1.tar", layer);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let manifest = manifest.to_string();
    let path = format!("/v2/{repository}/manifests/{tag}");
    let put = request(at, "PUT", &path, &format!("content-type: {kind}\r\n"), manifest.as_bytes());
    assert_eq!(put.0, 201, "{}", String::from_utf8_lossy(&put.2));
    ContentDigest::sha256(manifest.as_bytes())
}

#[test]
fn another_registry_is_cached_and_served_while_that_is_away() {
    let (far, near) =
        (TestEnvironment::new(env!("CARGO_BIN_EXE_kiln")), TestEnvironment::new(env!("CARGO_BIN_EXE_kiln")));
    let origin = serve(&far, &[]);
    let digest = push(origin.address, "team/shop", "1", b"from afar");
    let mirror = serve(&near, &["--mirror", &format!("hub=http://{}", origin.address)]);
    let layer = format!("/v2/hub/team/shop/blobs/{}", ContentDigest::sha256(b"from afar"));
    let pull = || {
        let (status, head, _) = mirror.request("GET", "/v2/hub/team/shop/manifests/1", "", b"");
        assert_eq!((status, header(&head, "docker-content-digest")), (200, digest.to_string()));
        assert_eq!(mirror.request("GET", &layer, "", b"").2, b"from afar");
    };
    pull();
    origin.stop();
    pull();
    assert_eq!(mirror.request("POST", "/v2/hub/team/shop/blobs/uploads/", "", b"").0, 405);
    near.kiln(["registry", "gc", "--grace", "0s"]).success();
    pull();
}

#[test]
fn prune_frees_images_and_leaves_what_only_the_registry_has() {
    let project = baked();
    let env = &project.env;
    // A second bake takes the tag, so that the first image has none.
    let first = image(&project);
    let spec = std::fs::read_to_string(env.work().join("kiln.hcl")).expect("a spec");
    env.write("spare.txt", "spare");
    env.write("kiln.hcl", spec.replace("entrypoint", "copy \"spare.txt\" { to = \"/spare\" }\n  entrypoint"));
    env.kiln(["bake"]).success();
    let served = serve(env, &["--mutable", "**:latest"]);
    let kept = push(served.address, "team/shop", "1", b"only here");
    let untagged = push(served.address, "team/shop", "latest", b"was latest");
    let latest = push(served.address, "team/shop", "latest", b"is latest");
    let prune = |more: &[&str]| {
        let line = [&["image", "prune", "--grace", "0s", "--json"], more].concat();
        env.kiln(line).success().json()
    };
    let would = prune(&["--dry-run"]);
    assert_eq!(would["images"], serde_json::json!([first]));
    assert!(would["blobs"].as_u64() >= Some(2), "its manifest and configuration at least: {would}");
    assert_eq!(prune(&[]), would, "through the registry that runs");
    let whole = |at: SocketAddr| {
        for manifest in [kept, untagged, latest] {
            assert_eq!(request(at, "GET", &format!("/v2/team/shop/manifests/{manifest}"), "", b"").0, 200);
        }
        for layer in [&b"only here"[..], b"was latest", b"is latest"] {
            let path = format!("/v2/team/shop/blobs/{}", ContentDigest::sha256(layer));
            assert_eq!(request(at, "GET", &path, "", b"").2, layer);
        }
    };
    whole(served.address);
    served.stop();
    assert_eq!(prune(&[])["blobs"], 0, "and through none");
    let served = serve(env, &[]);
    whole(served.address);
    env.kiln(["image", "inspect", "web"]).success();
    assert_eq!(records(env, "registry.collected").len(), 1);
}

#[test]
fn the_control_planes_registry_serves_and_never_collects_what_runs() {
    let mut project = Project::new("rollout \"blue-green\" {}");
    project.env.set_env("KILN_REGISTRY", "127.0.0.1:0");
    project.up(&[("VERSION", "one")]).success();
    let env = &project.env;
    let status = env.kiln(["status", "--json"]).success().json();
    let at: SocketAddr = status["registry"]["address"].as_str().expect("an address").parse().expect("one");
    env.kiln(["status"]).success().stdout_has(&format!("registry http://{at}"));
    let running = project.status()["image"].as_str().expect("an image").to_owned();
    // The next bake takes the tag; it is what is linked, so that nothing but the running service needs the first one.
    env.write("spare.txt", "spare");
    let spec = std::fs::read_to_string(env.work().join("kiln.hcl")).expect("a spec");
    env.write("kiln.hcl", spec.replace("entrypoint", "copy \"spare.txt\" { to = \"/spare\" }\n  entrypoint"));
    env.kiln(["bake"]).success();
    env.kiln(["registry", "link", "web", "team/web:1"]).success();
    let pulled = request(at, "GET", "/v2/team/web/manifests/1", "", b"");
    assert_ne!(header(&pulled.1, "docker-content-digest"), running);
    if has("skopeo") {
        let from = format!("docker://{at}/team/web:1");
        run(&env.work(), "skopeo", &["copy", "--src-tls-verify=false", &from, "oci:pulled"]);
    }
    let kept = push(at, "team/shop", "1", b"kept by its tag");
    for more in [&["--dry-run"][..], &[]] {
        env.kiln([&["image", "prune", "--grace", "0s"], more].concat()).success();
    }
    env.kiln(["image", "inspect", &running]).success();
    // Even a store that has lost its list of images loses nothing that runs.
    std::fs::remove_file(env.kiln_home().join("store/index.json")).expect("a list");
    for more in [&["--dry-run"][..], &[]] {
        env.kiln([&["registry", "gc", "--grace", "0s"], more].concat()).success();
    }
    let blob = |digest: &str| {
        let path = env.kiln_home().join("store/blobs/sha256").join(digest.trim_start_matches("sha256:"));
        std::fs::read(path).unwrap_or_else(|error| panic!("{digest}: {error}"))
    };
    let manifest: Value = serde_json::from_slice(&blob(&running)).expect("a manifest");
    for part in manifest["layers"].as_array().expect("layers").iter().chain([&manifest["config"]]) {
        blob(part["digest"].as_str().expect("a digest"));
    }
    assert_eq!(request(at, "GET", &format!("/v2/team/shop/manifests/{kept}"), "", b"").0, 200);
    // It can still be started anew.
    let instances = env.kiln(["ps", "--json"]).success().json();
    let id = instances["instances"][0]["id"].as_str().expect("an instance").to_owned();
    env.kiln(["stop", &id]).success();
    wait_for("a new instance", SOON, || (project.status()["ready"] == 3).then_some(()));
    // One that takes over takes the registry too; the verbs find it there.
    let pid = env.serve_pid().expect("a control plane");
    let _next = env.spawn(["serve", "--replace"]);
    wait_for("the next control plane", SOON, || env.serve_pid().filter(|next| *next != pid));
    env.kiln(["registry", "list"]).success().stdout_has("team/web");
}

#[test]
fn what_was_pushed_is_on_the_record_once_though_the_registry_was_killed_before_it_wrote() {
    let env = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
    let mut served = serve(&env, &[]);
    push(served.address, "team/shop", "1", b"one");
    let tagged = || records(&env, "registry.tagged").len();
    wait_for("the first is on the record", SOON, || (tagged() == 1).then_some(()));
    // While somebody else holds the ledger, the registry goes on, and dies before it could append.
    let lock = std::fs::File::create(env.kiln_home().join("ledger/lock")).expect("a file");
    lock.lock().expect("the ledger's lock");
    push(served.address, "team/shop", "2", b"two");
    signal(served.running.pid(), 9).expect("it runs");
    assert_eq!(served.running.wait(SOON), None);
    drop(lock);
    assert_eq!(tagged(), 1);
    let served = serve(&env, &[]);
    wait_for("the second is on the record", SOON, || (tagged() == 2).then_some(()));
    push(served.address, "team/shop", "3", b"three");
    served.stop();
    assert_eq!((records(&env, "registry.pushed").len(), tagged()), (3, 3));
    env.kiln(["ledger", "verify"]).success();
}

/// The certificate of an authority, and one for this machine with its key.
fn certificates(env: &TestEnvironment) -> [String; 3] {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let authority = rcgen::CertifiedIssuer::self_signed(authority, key).expect("an authority");
    let key = rcgen::KeyPair::generate().expect("a key");
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).expect("parameters");
    let own = own.signed_by(&key, &authority).expect("a certificate");
    let write = |name: &str, text: String| env.write(name, text).display().to_string();
    [write("ca.pem", authority.pem()), write("own.pem", own.pem()), write("key.pem", key.serialize_pem())]
}

#[test]
fn it_serves_https_keeps_quotas_and_lets_everybody_pull_as_its_flags_say() {
    let mut project = baked();
    let login = project.env.work().join("login");
    project.env.set_env("DOCKER_CONFIG", &login);
    let env = &project.env;
    let (users, [ca, own, key]) = (users(env), certificates(env));
    env.kiln(["registry", "serve", "--tls-cert", &own]).code(2).stderr_has("--tls-key");
    env.kiln(["registry", "serve", "--anonymous-pull"]).failure().stderr_has("--users");
    env.kiln(["registry", "serve", "--quota", "team/**:much"]).code(2).stderr_has("--quota");

    let far = env.work().join("far").display().to_string();
    let quotas = ["--quota", "small/**:64KiB", "--quota", "team/**:1GiB"];
    let flags =
        ["--data", &far, "--tls-cert", &own, "--tls-key", &key, "--users", &users, "--anonymous-pull"];
    let served = serve(env, &[&flags[..], &quotas[..]].concat());
    assert!(served.running.stdout().contains("https://"), "{}", served.running.stdout());
    let (web, small) = (served.name("team/web:1"), served.name("small/web:1"));
    env.kiln(["push", "web", &web]).failure();
    env.kiln(["push", "web", &web, "--ca", &own]).failure().stderr_has("certificate");
    // Everybody may pull, and nobody in particular may push.
    env.kiln(["push", "web", &web, "--ca", &ca]).failure().stderr_has("401");
    let auth =
        r#"{"auths": {"HOST": {"auth": "YWRhOnNlY3JldA=="}}}"#.replace("HOST", &served.address.to_string());
    env.write("login/config.json", auth);
    env.kiln(["push", "web", &web, "--ca", &ca]).success();
    env.kiln(["push", "web", &small, "--ca", &ca]).failure().stderr_has("quota");
    let listed = env.kiln(["registry", "list", "--data", &far, "--json"]).success().json();
    let names: Vec<_> =
        listed["repositories"].as_array().expect("a list").iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["team/web"], "nothing of what was refused has a manifest");
    std::fs::remove_file(login.join("config.json")).expect("a file");
    let digest = env.kiln(["pull", &web, "--ca", &ca, "--json"]).success().json()["digest"].clone();
    assert_eq!(digest, image(&project).as_str());
    served.stop();
}
