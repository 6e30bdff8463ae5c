//! From a spec to staging with evidence, and from staging to prod because of it: the real binary, no network.

use std::fs;

use kiln_testkit::{free_port, get};
use serde_json::Value;

use crate::support::Project;

/// A project with a staging and a protected prod, each on a port of its own, and advisories for scans.
fn project(requires: &str) -> (Project, [u16; 2]) {
    let mut project = Project::new("");
    let ports = [free_port(), free_port()];
    project.beside = format!(
        r#"
variable "port" {{
  type    = number
  default = {}
}}

check "home page" {{
  image = image.web
  http {{
    get      = "/"
    contains = "hello"
  }}
}}

environment "staging" {{}}

environment "prod" {{
  protected = true
  requires  = [{requires}]
  env       = {{ PLACE = "prod" }}
  variables {{
    port = {}
  }}
}}
"#,
        ports[0], ports[1]
    );
    write(&project, "one");
    let advisory = r#"{"id":"RUSTSEC-2020-0001","modified":"2026-01-01T00:00:00Z","affected":[{"package":
        {"ecosystem":"crates.io","name":"leaky"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}"#;
    let folder = project.env.work().parent().expect("a folder above").join("advisories");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("RUSTSEC-2020-0001.json"), advisory).expect("an advisory");
    let folder = folder.to_str().expect("UTF-8").to_owned();
    project.env.kiln(["advisories", "update", "--from", &folder]).success();
    (project, ports)
}

fn write(project: &Project, version: &str) {
    project.spec(&[("VERSION", version)]);
    let path = project.env.work().join("kiln.hcl");
    let text = fs::read_to_string(&path).expect("the spec");
    let listen = format!("listen = {}", project.addr.port());
    assert!(text.contains(&listen));
    fs::write(&path, text.replace(&listen, "listen = var.port")).expect("the spec");
}

fn body(port: u16) -> String {
    get(([127, 0, 0, 1], port).into(), "localhost", "/", &[]).expect("an answer").text()
}

fn served(project: &Project, environment: &str) -> Value {
    let status = project.env.kiln(["status", "--json"]).success().json();
    let all = status["services"].as_array().expect("services");
    all.iter().find(|it| it["environment"] == environment).cloned().unwrap_or_default()
}

#[test]
fn an_image_earns_its_way_to_production() {
    let (project, [staging, prod]) =
        project(r#""built-from", "tested", "scanned(12h)", "signed", "approved(1)""#);
    let shipped = project.env.kiln(["ship", "-m", "first"]);
    shipped.success().stderr_has("home page").stderr_has("scanned").stderr_has("signed with key home");
    assert!(body(staging).contains("hello one"), "{}", body(staging));

    // What is missing is named with the command that provides it, and nothing was begun.
    let refused = project.env.kiln(["promote", "prod"]);
    refused
        .code(7)
        .stderr_has("approved(1)")
        .stderr_has("`kiln approve prod")
        .stderr_has("environment prod requires");
    assert_eq!(served(&project, "prod"), Value::Null);
    project
        .env
        .kiln(["deploy", "-e", "prod"])
        .code(7)
        .stderr_has("protected")
        .stderr_has("kiln promote prod");
    project.env.kiln(["promote", "prod", "--plan"]).code(7).stdout_has("missing").stdout_has("approved(1)");

    project.env.kiln(["approve", "prod", "-m", "looks good"]).success().stdout_has("approved for prod");
    project.env.kiln(["promote", "prod"]).success();
    assert!(body(prod).contains("hello one"), "{}", body(prod));
    assert_eq!(served(&project, "prod")["image"], served(&project, "staging")["image"]);
    project
        .env
        .kiln(["diff", "staging", "prod"])
        .success()
        .stdout_has("the same image, other configuration")
        .stdout_has("PLACE");
    project.env.kiln(["env"]).success().stdout_has("prod (protected)").stdout_has("staging");
    let shown = project.env.kiln(["env", "show", "prod"]);
    shown
        .success()
        .stdout_has("✓ approved")
        .stdout_has("looks good")
        .stdout_has("✓ tested")
        .stdout_has("✓ scanned");

    // Another image has none of that evidence.
    fs::write(project.env.work().join("program"), b"#!/nothing\n").unwrap();
    project.env.kiln(["ship"]).code(9).stderr_has("does not pass its checks");
    assert!(body(staging).contains("hello one"));
}

#[test]
fn a_bypass_needs_a_reason_and_is_on_the_record() {
    let (project, [_, prod]) = project(r#""approved(2)""#);
    project.env.kiln(["ship"]).success();
    project.env.kiln(["promote", "prod"]).code(7).stderr_has("approved(2)");
    project.env.kiln(["promote", "prod", "--bypass", "the old one leaks memory"]).success();
    assert!(body(prod).contains("hello one"));
    let records =
        project.env.kiln(["ledger", "show", "--what", "rollout.bypassed", "--json"]).success().json();
    let bypass = &records[0];
    assert_eq!(bypass["why"], "the old one leaks memory");
    assert_eq!(bypass["environment"], "prod");
    assert!(bypass.to_string().contains("approved(2)"), "{bypass}");
    project.env.kiln(["history", "-e", "prod"]).success().stdout_has("went past what is missing");
}

#[test]
fn every_act_is_on_the_ledger_and_what_was_altered_is_named() {
    let (project, _) = project(r#""signed""#);
    project.env.kiln(["ship", "-m", "to be seen"]).success();
    project.env.kiln(["promote", "prod"]).success();
    let shown = project.env.kiln(["ledger", "show", "-n", "1000"]);
    for act in [
        "advisories.updated",
        "image.baked",
        "image.tested",
        "image.scanned",
        "image.signed",
        "release.released",
    ] {
        shown.success().stdout_has(act);
    }
    let only = project
        .env
        .kiln(["ledger", "show", "-e", "prod", "--what", "rollout.proven", "--json"])
        .success()
        .json();
    assert_eq!(only.as_array().map(Vec::len), Some(1), "{only}");
    assert!(!only[0]["evidence"].as_array().unwrap().is_empty(), "{only}");
    project.env.kiln(["ledger", "verify"]).success().stdout_has("the chain holds");
    let folder = project.env.kiln_home().join("ledger");
    let segment = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment
        .into_iter()
        .find(|path| {
            path.extension().is_some_and(|it| it == "jsonl")
                && path.file_name().unwrap().to_str().unwrap().starts_with("ledger-")
        })
        .unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    let altered = text.replacen("\"image.tested\"", "\"image.toasted\"", 1);
    assert_ne!(text, altered);
    let line = 1 + text.lines().position(|line| line.contains("\"image.tested\"")).unwrap();
    fs::write(&segment, altered).unwrap();
    project.env.kiln(["ledger", "verify"]).code(7).stdout_has("NOT hold").stdout_has(&format!("{line}"));
    fs::write(&segment, &text).unwrap();
    project.env.kiln(["ledger", "verify"]).success();
    // A tail that was cut off is seen by where the control plane last saw the end.
    let cut: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    fs::write(&segment, cut).unwrap();
    project.env.kiln(["ledger", "verify"]).code(7).stdout_has("NOT hold");
}

#[test]
fn a_damaged_end_of_the_ledger_is_acknowledged_and_never_forgotten() {
    let (project, _) = project(r#""signed""#);
    let env = &project.env;
    env.kiln(["key", "create", "first", "--no-passphrase"]).success();
    env.kiln(["key", "create", "second", "--no-passphrase"]).success();
    env.kiln(["ledger", "repair", "-m", "why not"]).success().stdout_has("nothing to repair");
    let folder = env.kiln_home().join("ledger");
    let segment = folder.join("ledger-0000000000000001.jsonl");
    let text = fs::read_to_string(&segment).unwrap();
    let count = text.lines().count();
    let altered = text.replace("\"second\"", "\"2nd\"");
    assert_ne!(text, altered);
    fs::write(&segment, &altered).unwrap();
    // Nothing is written after it, and what to do is said.
    env.kiln(["key", "create", "third", "--no-passphrase"]).failure().stderr_has("kiln ledger repair");
    env.kiln(["ledger", "repair"]).code(2).stderr_has("--reason");
    env.kiln(["ledger", "verify"]).code(7);
    assert_eq!(fs::read_to_string(&segment).unwrap(), altered);

    let repaired =
        env.kiln(["ledger", "repair", "--reason", "restored from tape", "--json"]).success().json();
    assert_eq!(
        (repaired["from"].as_u64(), repaired["to"].as_u64()),
        (Some(count as u64), Some(count as u64))
    );
    env.kiln(["key", "create", "fourth", "--no-passphrase"]).success();
    let told = env.kiln(["ledger", "verify"]);
    told.success().stdout_has("1 acknowledged damage").stdout_has("restored from tape");
    told.stdout_has(&format!("record {count} is missing"));
    env.kiln(["ledger", "show", "--what", "ledger.repaired"]).success().stdout_has("restored from tape");
    let kept = folder.join(repaired["aside"][0]["file"].as_str().unwrap());
    assert_eq!(fs::read_to_string(&kept).unwrap(), altered, "everything is still there");
    fs::write(&kept, &text).unwrap();
    env.kiln(["ledger", "verify"]).code(7).stdout_has("is not kept as it was");
    fs::write(&kept, &altered).unwrap();
    env.kiln(["ledger", "verify"]).success();
}

#[test]
fn an_image_is_verified_and_baked_again_elsewhere() {
    let (project, _) = project(r#""signed""#);
    project.env.kiln(["ship", "--no-deploy"]).success();
    project.env.kiln(["verify", "web", "-e", "prod"]).success().stdout_has("verified");
    project.env.kiln(["verify", "web", "--rebuild"]).success().stdout_has("rebuilt: the same digest");
    // The source is another one now: the first file that differs is named.
    fs::write(project.env.work().join("program"), b"#!/nothing\n").unwrap();
    let differs = project.env.kiln(["verify", "web", "--rebuild"]);
    differs.code(7).stdout_has("another digest").stdout_has("program").stdout_has("NOT verified");

    // Evidence travels with the image.
    let archive = project.env.work().join("web.tar");
    project.env.kiln(["image", "export", "web", archive.to_str().unwrap()]).success();
    let public = project.env.kiln(["key", "public"]).success().stdout.clone();
    let key = project.env.work().join("shop.pub");
    fs::write(&key, public).unwrap();
    let elsewhere = Project::new("");
    elsewhere.env.kiln(["image", "import", archive.to_str().unwrap(), "--name", "web"]).success();
    elsewhere.env.kiln(["verify", "web"]).code(7).stdout_has("NOT verified");
    elsewhere
        .env
        .kiln([
            "verify",
            "web",
            "--key",
            key.to_str().unwrap(),
            "--require",
            "tested",
            "--require",
            "built-from",
        ])
        .success()
        .stdout_has("by shop");
}
