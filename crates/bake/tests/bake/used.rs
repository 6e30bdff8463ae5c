//! Baked images in the hands of others.

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_store::Format;

use crate::kit::{Kitchen, has_program, is_root, recipe, run, steps};

fn sample() -> (Kitchen, kiln_model::Digest) {
    let kitchen = Kitchen::with_busybox();
    let mut recipe = recipe("web");
    recipe.steps = steps("copy bin /bin\n run mkdir /data; echo made > /data/file");
    recipe.config.entrypoint = vec!["/bin/cat".into()];
    recipe.config.cmd = vec!["/data/file".into()];
    recipe.config.labels.insert("org.example".into(), "yes".into());
    let digest = kitchen.try_recipe(recipe).unwrap().digest;
    (kitchen, digest)
}

#[test]
fn skopeo_and_the_validator_read_a_baked_image() {
    if !has_program("skopeo") || !has_program("oci-image-tool") {
        return;
    }
    let (kitchen, _) = sample();
    let store = kitchen.store.root();
    let text = run("skopeo", &["inspect", &format!("oci:{}:web", store.display())]);
    assert!(text.contains("\"org.example\": \"yes\"") && text.contains("dev.kiln.config"), "{text}");
    run("oci-image-tool", &["validate", "--type", "image", "--ref", "name=web", store.to_str().unwrap()]);
}

#[test]
fn crun_runs_a_baked_image() {
    if !has_program("crun") || !has_program("umoci") || !is_root() {
        return;
    }
    let (kitchen, digest) = sample();
    let layout = kitchen.folder.path().join("layout");
    kitchen.store.export(&digest, Format::OciLayout, &layout, Some("web")).unwrap();
    let bundle = kitchen.folder.path().join("bundle");
    run("umoci", &["unpack", "--image", &format!("{}:web", layout.display()), bundle.to_str().unwrap()]);
    let config = bundle.join("config.json");
    let text = fs::read_to_string(&config).unwrap().replace("\"terminal\": true", "\"terminal\": false");
    fs::write(&config, text).unwrap();
    // crun of Debian 12 does not understand a hybrid cgroup set-up; without the unified mount it does.
    let script = format!(
        "umount /sys/fs/cgroup/unified 2>/dev/null; crun run --bundle {} kiln-test-{}",
        bundle.display(),
        std::process::id()
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "made\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn docker_loads_and_runs_a_baked_image() {
    if !has_program("dockerd") || !is_root() {
        return;
    }
    let (kitchen, digest) = sample();
    let archive = kitchen.folder.path().join("web.tar");
    kitchen.store.export(&digest, Format::DockerArchive, &archive, Some("kiln-test-web")).unwrap();
    let docker = Docker::start(kitchen.folder.path());
    let text = docker.run(&["load", "-i", archive.to_str().unwrap()]);
    assert!(text.contains("kiln-test-web:latest"), "{text}");
    assert_eq!(docker.run(&["run", "--rm", "--network", "none", "kiln-test-web"]), "made\n");
    let text = docker.run(&["history", "--no-trunc", "kiln-test-web"]);
    assert!(text.contains("kiln: run mkdir /data"), "{text}");
}

/// A dockerd of the test's own.
struct Docker {
    daemon: std::process::Child,
    socket: String,
}

impl Docker {
    fn start(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let socket = format!("unix://{}", path("docker.sock"));
        let log = fs::File::create(folder.join("dockerd.log")).unwrap();
        let daemon = Command::new("dockerd")
            .args([
                "--data-root",
                &path("docker"),
                "--exec-root",
                &path("docker-exec"),
                "--pidfile",
                &path("docker.pid"),
            ])
            .args([
                "-H",
                &socket,
                "--bridge",
                "none",
                "--iptables=false",
                "--ip6tables=false",
                "--storage-driver",
                "vfs",
            ])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Self { daemon, socket };
        let begun = std::time::Instant::now();
        while !docker.command(&["version"]).status.success() {
            let log = || fs::read_to_string(folder.join("dockerd.log")).unwrap_or_default();
            assert!(begun.elapsed().as_secs() < 120, "dockerd does not come up: {}", log());
            std::thread::yield_now();
        }
        docker
    }

    fn command(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("docker").args(["-H", &self.socket]).args(arguments).output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Asked to end, it ends its containerd too.
        let pid = self.daemon.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.daemon.wait();
    }
}
