//! Images leave Kiln in the field's formats, and other programs read and run them.

use std::process::Command;

use crate::support::{Project, has};

fn baked() -> Project {
    let project = Project::new("rollout \"recreate\" {}");
    project.spec(&[("VERSION", "one")]);
    project.env.kiln(["bake"]).success();
    project
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{errors}");
    text
}

#[test]
fn skopeo_reads_what_is_exported() {
    if !has("skopeo") {
        return;
    }
    let project = baked();
    for (format, transport) in
        [("oci-layout", "oci"), ("oci-archive", "oci-archive"), ("docker-archive", "docker-archive")]
    {
        let path = project.env.work().join(format);
        project.env.kiln(["image", "export", "web", path.to_str().unwrap(), "--format", format]).success();
        let text = run(Command::new("skopeo").arg("inspect").arg(format!("{transport}:{}", path.display())));
        let inspected: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(inspected["Os"], "linux", "{inspected}");
        assert_eq!(inspected["Layers"].as_array().expect("layers").len(), 1, "{inspected}");
    }
}

#[test]
fn an_export_comes_back_as_the_same_image() {
    let project = baked();
    let images = project.env.kiln(["image", "list", "--json"]).success().json();
    let digest = images[0]["digest"].as_str().expect("a digest").to_owned();
    let archive = project.env.work().join("web.tar");
    project.env.kiln(["image", "export", "web", archive.to_str().unwrap()]).success();
    let back = project.env.kiln(["image", "import", archive.to_str().unwrap(), "--name", "again", "--json"]);
    assert_eq!(back.success().json()["digest"], digest.as_str());
    project.env.kiln(["image", "diff", "web", "again"]).success();
    project.env.kiln(["image", "inspect", "again"]).success().stdout_has("/program");
    project.env.kiln(["image", "history", "again"]).success().stdout_has("copy");
}

#[test]
fn crun_runs_what_is_exported() {
    if !has("umoci") || !has("runc") {
        return;
    }
    let project = baked();
    let (layout, bundle) = (project.env.work().join("layout"), project.env.work().join("bundle"));
    project
        .env
        .kiln(["image", "export", "web", layout.to_str().unwrap(), "--format", "oci-layout"])
        .success();
    let image = format!("{}:web", layout.display());
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
    let config = bundle.join("config.json");
    let text = std::fs::read_to_string(&config).expect("a bundle's configuration");
    let mut spec: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(spec["process"]["args"][0], "/program");
    // The program says why it ends, which is all that is to be seen here.
    spec["process"]["terminal"] = false.into();
    spec["process"]["env"].as_array_mut().expect("an environment").push("EXIT=7".into());
    std::fs::write(&config, spec.to_string()).expect("the configuration can be written");
    let runtime = if has("crun") && hybrid_hidden() { "crun" } else { "runc" };
    let name = format!("kiln-test-{}", std::process::id());
    let mut command = Command::new(runtime);
    command
        .arg("--root")
        .arg(project.env.work().join("state"))
        .arg("run")
        .arg("--bundle")
        .arg(&bundle)
        .arg(name);
    let output = command.output().expect("the runtime starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{runtime}: {said}");
    assert!(said.contains("the database is missing"), "{said}");
}

/// crun 1.8 refuses a cgroup v1 host that has the v2 hierarchy mounted beside it.
fn hybrid_hidden() -> bool {
    !std::path::Path::new("/sys/fs/cgroup/unified").exists()
}

#[test]
fn prune_keeps_what_could_be_gone_back_to() {
    let project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "one")]).success();
    let spare = project.env.write("spare.txt", "not deployed");
    let spec = std::fs::read_to_string(project.env.work().join("kiln.hcl")).expect("a spec");
    for number in 0..2 {
        std::fs::write(&spare, format!("content {number}")).expect("a file");
        project.env.write(
            "kiln.hcl",
            spec.replace("entrypoint", "copy \"spare.txt\" { to = \"/spare\" }\n  entrypoint"),
        );
        project.env.kiln(["bake"]).success();
    }
    let before = project.env.kiln(["image", "list", "--json"]).success().json();
    let would = project.env.kiln(["image", "prune", "--grace", "0s", "--dry-run", "--json"]).success().json();
    assert_eq!(
        project.env.kiln(["image", "list", "--json"]).success().json(),
        before,
        "a dry run removed something"
    );
    let gone = project.env.kiln(["image", "prune", "--grace", "0s", "--json"]).success().json();
    assert_eq!(gone["images"], would["images"]);
    assert_eq!(
        gone["images"].as_array().expect("a list").len(),
        1,
        "one bake was replaced by the next: {gone}"
    );
    // The running release's image has lost its tag to the later bakes and is still there.
    let instances = project.env.kiln(["ps", "--json"]).success().json();
    let digest = instances["instances"][0]["image"].as_str().expect("a digest").to_owned();
    project.env.kiln(["image", "inspect", &digest]).success();
}
