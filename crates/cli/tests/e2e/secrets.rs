//! Secrets from end to end: references in spec, release and records; values in the running program alone.

use std::fs;
use std::path::Path;

use kiln_testkit::get;

use crate::support::Project;

/// A project whose service wants a token as variable.
fn project(beside: &str) -> Project {
    let mut project = Project::new("");
    project.in_service = "secret \"TOKEN\" { from = \"file:keys/token\" }".into();
    project.beside = beside.to_owned();
    project
}

fn token(project: &Project, value: &str) {
    project.env.write("keys/token", value);
}

/// What the program's own environment holds.
fn held(project: &Project) -> Option<String> {
    let answer = get(project.addr, "localhost", "/env?name=TOKEN", &[]).ok()?;
    (answer.status == 200).then(|| answer.text())
}

/// Files below a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(holding(&entry.path(), text)),
            Ok(kind) if kind.is_file() => {
                let bytes = fs::read(entry.path()).unwrap_or_default();
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(entry.path().display().to_string());
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn no_record_holds_a_secret_and_a_new_one_arrives_by_recycling() {
    let project = project("");
    // Without the secret nothing is begun, and the words say which and where.
    project
        .up(&[])
        .code(7)
        .stderr_has("service web is not deployed: its instances could not start")
        .stderr_has("cannot get the secret TOKEN from file:///")
        .stderr_has("keys/token");
    token(&project, "first-secret-of-this-shop\n");
    project.up(&[]).success();
    assert_eq!(held(&project).unwrap(), "first-secret-of-this-shop");
    let home = project.env.kiln_home();
    assert_eq!(holding(&home, "first-secret-of-this-shop"), [""; 0], "the home holds the secret");
    // What is on record is where it is.
    project.env.kiln(["history", "--json"]).success().stdout_has("web");
    assert!(!holding(&home, "keys/token").is_empty(), "the release says where it is");

    let before: Vec<String> = instances(&project);
    token(&project, "second-secret-of-this-shop\n");
    assert_eq!(held(&project).unwrap(), "first-secret-of-this-shop");
    let load = project.load();
    project
        .env
        .kiln(["recycle", "web", "-m", "rotated"])
        .success()
        .stdout_has("were replaced by fresh ones of the same release");
    assert_eq!(load.stop().failed, 0);
    assert_eq!(held(&project).unwrap(), "second-secret-of-this-shop");
    assert!(instances(&project).iter().all(|id| !before.contains(id)));
    assert_eq!(holding(&home, "second-secret-of-this-shop"), [""; 0], "the home holds the secret");
    project.env.kiln(["ledger", "show"]).success().stdout_has("rotated");
}

fn instances(project: &Project) -> Vec<String> {
    let listed = project.env.kiln(["ps", "--json"]).success().json();
    let all = listed["instances"].as_array().expect("instances").clone();
    let here = all.iter().filter(|it| it["phase"] == "ready");
    here.map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn environments_have_secrets_of_their_own() {
    let mut project = project("\nenvironment \"dev\" {}\n\nenvironment \"prod\" {}\n");
    project.in_service = "secret \"TOKEN\" {}".into();
    project.spec(&[]);
    project.env.kiln(["validate"]).code(3).stderr_has("neither this service nor any environment says where");
    project.beside =
        "\nenvironment \"dev\" {\n  secret \"TOKEN\" { from = \"file:keys/token\" }\n}\n\nenvironment \"prod\" {}\n"
            .into();
    token(&project, "s3cret-of-dev");
    project.up(&[]).success();
    assert_eq!(held(&project).unwrap(), "s3cret-of-dev");
    project
        .env
        .kiln(["deploy", "-e", "prod"])
        .stderr_has("nothing says where the secret TOKEN of service web is in prod")
        .stderr_has("environment \"prod\"");
}
