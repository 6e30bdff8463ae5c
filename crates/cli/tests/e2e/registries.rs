//! Images into Debian's registry and out of it, with the verbs that a person has.

use std::io::BufRead;
use std::process::{Child, Command, Stdio};

use kiln_testkit::TestEnvironment;

use crate::support::{Project, has};

/// Debian's registry on a port of the system's choice, which it prints.
struct Registry {
    child: Child,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn registry(env: &TestEnvironment) -> Registry {
    let data = env.work().join("registry");
    let text = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
        data.display()
    );
    let config = env.write("registry.yml", text);
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("docker-registry starts");
    let mut lines = std::io::BufReader::new(child.stderr.take().expect("standard error")).lines();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("listening on ")?;
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '.' | ':')).unwrap_or(rest.len());
        Some(rest[..end].to_owned())
    });
    let address = address.expect("the registry says where it listens");
    std::thread::spawn(move || lines.for_each(drop));
    Registry { child, address }
}

#[test]
fn an_image_is_pushed_pulled_and_copied() {
    if !has("docker-registry") {
        return;
    }
    let project = Project::new("rollout \"recreate\" {}");
    let registry = registry(&project.env);
    project.spec(&[("VERSION", "one")]);
    project.env.kiln(["bake"]).success();
    let name = format!("{}/acme/web:1", registry.address);
    let pushed = project.env.kiln(["push", "web", &name, "--json"]);
    let digest = pushed.success().json()["digest"].as_str().expect("a digest").to_owned();

    // The tag does not move unless it is told to.
    project.env.write("program", "another one");
    project.env.kiln(["bake"]).success();
    project.env.kiln(["push", "web", &name]).code(7).stderr_has("tags do not move");
    project.env.kiln(["copy", &name, &format!("{}/acme/release:1", registry.address)]).success();
    project.env.kiln(["push", "web", &name, "--force"]).success();

    // Another machine gets what was released, by name and by digest.
    let other = Project::new("rollout \"recreate\" {}");
    let release = format!("{}/acme/release:1", registry.address);
    let pulled = other.env.kiln(["pull", &release, "--json"]);
    let pulled = pulled.success().json();
    assert_eq!((pulled["digest"].as_str(), pulled["name"].as_str()), (Some(&*digest), Some(&*release)));
    other.env.kiln(["pull", &format!("{}/acme/web@{digest}", registry.address), "--name", "web"]).success();
    other.env.kiln(["image", "inspect", "web"]).success().stdout_has("/program");
    other.env.kiln(["pull", &format!("{}/acme/web:9", registry.address)]).code(8).stderr_has("404");

    // Onto disk and back.
    let archive = other.env.work().join("web.tar");
    let path = archive.to_str().expect("UTF-8");
    other.env.kiln(["copy", &release, path]).success();
    let back = format!("{}/acme/back:1", registry.address);
    let copied = other.env.kiln(["copy", path, &back, "--json"]);
    assert_eq!(copied.success().json()["digest"], *digest);
    other.env.kiln(["copy", path, &back, "--all-platforms"]).failure();
}
