//! Images that travel: for several platforms, with evidence, through archives.

use kiln_registry::digest::ContentDigest;
use kiln_testkit::TestEnvironment;
use serde_json::Value;

use crate::registry::{baked, image, push, serve};

#[test]
fn an_image_for_several_platforms_is_listed_and_looked_into_as_this_machines() {
    let project = baked();
    let env = &project.env;
    let served = serve(env, &["--data", env.work().join("far").to_str().expect("UTF-8")]);
    let (name, own) = (served.name("team/web:own"), image(&project));
    env.kiln(["push", "web", &name]).success();
    let size = |digest: &str| {
        let head = served.request("GET", &format!("/v2/team/web/manifests/{digest}"), "", b"");
        head.2.len()
    };
    let other = push(served.address, "team/web", "other", b"for another machine").to_string();
    let architecture = if cfg!(target_arch = "aarch64") { ["arm64", "amd64"] } else { ["amd64", "arm64"] };
    let put = |tag: &str, entries: &[(&str, &str)]| {
        let kind = "application/vnd.oci.image.index.v1+json";
        let entry = |(digest, architecture): &(&str, &str)| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size(digest),
                "platform": { "os": "linux", "architecture": architecture },
            })
        };
        let manifests: Vec<Value> = entries.iter().map(entry).collect();
        let index =
            serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests }).to_string();
        let path = format!("/v2/team/web/manifests/{tag}");
        let put = served.request("PUT", &path, &format!("content-type: {kind}\r\n"), index.as_bytes());
        assert_eq!(put.0, 201, "{}", String::from_utf8_lossy(&put.2));
        ContentDigest::sha256(index.as_bytes()).to_string()
    };
    let both = put("both", &[(&own, architecture[0]), (&other, architecture[1])]);
    let foreign = put("foreign", &[(&other, architecture[1])]);

    let other_machine = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
    let kiln = |line: &[&str]| other_machine.kiln(line.to_vec());
    kiln(&["pull", &served.name("team/web:both"), "--all-platforms", "--name", "both"]).success();
    kiln(&["pull", &served.name("team/web:foreign"), "--all-platforms", "--name", "foreign"]).success();
    let listed = kiln(&["image", "list", "--json"]).success().json();
    let listed = |digest: &str| {
        let found = listed.as_array().expect("a list").iter().find(|one| one["digest"] == digest);
        found.unwrap_or_else(|| panic!("{digest} is not in {listed}")).clone()
    };
    let platforms = architecture.map(|it| format!("linux/{it}"));
    let one = listed(&both);
    assert_eq!((&one["platforms"], &one["problem"]), (&serde_json::json!(platforms), &Value::Null));
    assert!(one["layers"].as_u64() > Some(0) && one["size"].as_u64() > Some(0), "{one}");
    assert_eq!(listed(&foreign)["platforms"], serde_json::json!([platforms[1]]));
    kiln(&["image", "list"]).success().stdout_has(&platforms.join(","));

    // Where something is looked up in the image, it is this machine's; or there is none, and that is said.
    let found = kiln(&["image", "inspect", "both"]).success().json();
    assert_eq!(found["digest"], own.as_str());
    let folder = other_machine.work().join("out");
    for line in [&["image", "history"][..], &["image", "diff", "both"], &["sbom"], &["scan", "--offline"]] {
        if line != ["scan", "--offline"] {
            kiln(&[line, &["both"]].concat()).success();
        }
        kiln(&[line, &["foreign"]].concat()).code(8).stderr_has(&format!("no image for {}", platforms[0]));
    }
    kiln(&["image", "export", "both", folder.to_str().expect("UTF-8"), "-f", "oci-layout"]).success();
    kiln(&["image", "export", "foreign", "never"]).code(8).stderr_has(&platforms[1]);
    // Pushed it is whole, and it stays while it has a name.
    kiln(&["image", "prune", "--grace", "0s"]).success();
    let pushed = kiln(&["push", "both", &served.name("team/again:1"), "--json"]).success().json();
    assert_eq!(pushed["digest"], both.as_str());
}

#[test]
fn a_copy_says_how_much_it_carried() {
    let project = baked();
    let env = &project.env;
    let served = serve(env, &["--data", env.work().join("far").to_str().expect("UTF-8")]);
    let name = served.name("team/web:1");
    env.kiln(["sign", "web"]).success();
    env.kiln(["push", "web", &name]).success();

    let other = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
    let copy = |line: &[&str]| {
        let told = other.kiln([&["copy", "--json"], line].concat()).success().json();
        let count = |what: &str| told[what].as_u64().unwrap_or_else(|| panic!("no {what} in {told}"));
        (count("moved") > 0 && count("bytes") > 0, count("evidence"))
    };
    assert_eq!(copy(&[&name, "signed.tar"]), (true, 1));
    assert_eq!(copy(&["signed.tar", "./layout"]), (true, 1), "the store had it all, and the layout did not");
    assert_eq!(copy(&["./layout", &served.name("copied/web:1")]), (true, 1));
    assert_eq!(copy(&["signed.tar", "bare.tar", "--no-evidence"]), (true, 0));
    other.kiln(["copy", "signed.tar", "again.tar"]).success().stdout_has("1 documents of evidence");
    // What is said is what is there.
    let third = TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"));
    let take = |file: &str| {
        let path = other.work().join(file).display().to_string();
        let told = third.kiln(["copy", &path, "./out", "--json"]).success().json()["evidence"].as_u64();
        std::fs::remove_dir_all(third.work().join("out")).expect("a layout");
        told
    };
    assert_eq!(take("bare.tar"), Some(0));
    assert_eq!(take("again.tar"), Some(1));
}
