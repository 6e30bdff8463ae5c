//! The table of the language, its schema and its reference are one.

use std::path::Path;

use kiln_spec::{json_schema, reference_markdown};
use serde_json::Value;

use crate::support::load_text;

/// The attributes and blocks of a block, by the schema.
fn fields(body: &Value) -> Vec<(&String, &Value)> {
    body["properties"].as_object().unwrap().iter().collect()
}

#[test]
fn the_fixture_of_the_language_holds() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/language.hcl"));
    let loaded = load_text(&text.unwrap()).unwrap_or_else(|errors| panic!("{errors}"));
    insta::assert_json_snapshot!(loaded.project);
}

#[test]
fn schema_and_reference_have_the_same_words() {
    let schema = json_schema();
    let reference = reference_markdown();
    let bodies = schema["$defs"].as_object().unwrap().iter().map(|(name, body)| (name.as_str(), body));
    for (address, body) in bodies {
        assert!(reference.contains(&format!("`{address}`\n")), "no section {address}");
        for (name, _) in fields(body) {
            let attribute = reference.contains(&format!("| `{name}` |"));
            let block = reference.contains(&format!("`{address}.{name}`"));
            assert!(attribute || block, "{address}.{name} is not in the reference");
        }
    }
}

#[test]
fn the_reader_knows_every_word_of_the_schema() {
    let schema = json_schema();
    for (address, body) in schema["$defs"].as_object().unwrap() {
        if address == "locals" {
            continue;
        }
        let path: Vec<&str> = address.split('.').collect();
        for (name, _) in fields(body) {
            let mut text = format!("{name} = null\n");
            for block in path.iter().rev() {
                let label = match *block {
                    "rollout"
                        if ROLLING.contains(&name.as_str()) || path.contains(&"rolling_upgrade_policy") =>
                    {
                        "rolling"
                    }
                    "rollout" => "canary",
                    _ => "x",
                };
                let label =
                    if NO_LABEL.contains(block) || address.starts_with("check.") && *block == "command" {
                        String::new()
                    } else {
                        format!(" \"{label}\"")
                    };
                text = format!("{block}{label} {{\n{text}}}\n");
            }
            let errors = load_text(&text).err().map(|errors| errors.to_string()).unwrap_or_default();
            let unknown = format!("has no attribute `{name}`");
            let is_block = errors.contains("this is a block");
            assert!(!errors.contains(&unknown) || is_block, "{address}.{name}:\n{errors}");
            assert!(!errors.contains("has no block"), "{address}.{name}:\n{errors}");
            let label = ["needs a label", "takes no label", "takes only one label"];
            assert!(!label.iter().any(|l| errors.contains(l)), "{address}.{name}:\n{errors}");
        }
    }
}

/// What stands in no other rollout.
const ROLLING: [&str; 5] = ["max_surge", "max_unavailable", "batch", "pause", "rolling_upgrade_policy"];

const NO_LABEL: [&str; 29] = [
    "licenses",
    "variables",
    "config",
    "listening",
    "load",
    "log",
    "memory",
    "read_only_root",
    "start",
    "tcp",
    "stderr",
    "health",
    "stop",
    "http",
    "vulnerabilities",
    "limits",
    "tls",
    "traffic",
    "analyse",
    "locals",
    "check.command",
    "checkpoint",
    "approval",
    "probe",
    "prometheus",
    "webhook",
    "sticky",
    "tester",
    "rolling_upgrade_policy",
];

#[test]
fn the_schema_is_the_one_that_was_reviewed() {
    insta::assert_json_snapshot!(json_schema());
}

#[test]
fn the_reference_is_the_one_that_was_reviewed() {
    insta::assert_snapshot!(reference_markdown());
}
