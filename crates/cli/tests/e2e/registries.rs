//! Images into Debian's registry and out of it, with the verbs that a person has.

use kiln_testkit::DockerRegistry;

use crate::support::{Project, has};

#[test]
fn an_image_is_pushed_pulled_and_copied() {
    if !has("docker-registry") {
        return;
    }
    let project = Project::new("rollout \"recreate\" {}");
    let registry = DockerRegistry::start();
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
