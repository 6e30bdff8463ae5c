//! Environments: order, variables, what they require, keys.

use kiln_model::{Name, Requirement};
use kiln_spec::load;

use crate::support::{errors_of, folder, inputs, load_text};

const PLACES: &str = r#"
variable "replicas" {
  type    = number
  default = 1
}
image "web" {
  base       = scratch
  entrypoint = ["/srv/app"]
}
service "web" {
  image    = image.web
  replicas = var.replicas
}
key "release" { file = "release.pub" }
environment "staging" {
  env = { LOG_LEVEL = "debug" }
}
environment "prod" {
  protected = true
  requires  = ["signed(release)", "soaked(staging, 30m)"]
  variables {
    replicas = 4
  }
}
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn images_are_promoted_in_the_order_of_the_spec() {
    let project = load_text(PLACES).unwrap_or_else(|errors| panic!("{errors}")).project;
    assert_eq!(project.promotion_order(), [&name("staging"), &name("prod")]);
    assert_eq!(project.promoted_from(&name("prod")), Some(&name("staging")));
    assert_eq!(project.promoted_from(&name("staging")), None);
    // The `dev` that nobody wrote is there, and beside the order.
    assert_eq!(project.promoted_from(&name("dev")), None);
    assert!(project.environments.contains_key(&name("dev")));
    let alone = PLACES.replace("environment \"staging\" {\n  env = { LOG_LEVEL = \"debug\" }\n}\n", "");
    let project = load_text(&alone.replace("staging, 30m", "dev, 30m")).unwrap().project;
    assert_eq!(project.promoted_from(&name("prod")), Some(&name("dev")));
}

#[test]
fn a_variable_has_the_value_of_the_environment() {
    let root = folder(&[("kiln.hcl", PLACES)]);
    let replicas = |environment: Option<&str>, given: Option<&str>| {
        let mut inputs = inputs();
        inputs.environment = environment.map(name);
        if let Some(value) = given {
            inputs = inputs.with_variable("replicas", value);
        }
        let loaded = load(root.path(), &inputs).unwrap_or_else(|errors| panic!("{errors}"));
        loaded.project.services[&name("web")].replicas
    };
    assert_eq!(replicas(None, None), 1);
    assert_eq!(replicas(Some("staging"), None), 1);
    assert_eq!(replicas(Some("prod"), None), 4);
    assert_eq!(replicas(Some("prod"), Some("9")), 9);
}

#[test]
fn a_protected_environment_requires_evidence_of_itself() {
    let project = load_text("environment \"prod\" { protected = true }\n").unwrap().project;
    let told: Vec<String> =
        project.environments[&name("prod")].requires.iter().map(Requirement::to_string).collect();
    assert_eq!(told, ["built-from", "tested", "scanned", "signed"]);
    let open = "environment \"prod\" {\n  protected = true\n  requires = []\n}\n";
    assert!(load_text(open).unwrap().project.environments[&name("prod")].requires.is_empty());
}

#[test]
fn what_cannot_hold_is_told() {
    let text = PLACES
        .replace("replicas = 4", "replicas = \"four\"\n    replica = 4")
        .replace("signed(release)", "signed(releas)")
        .replace("soaked(staging, 30m)", "soaked(prod, 30m)\", \"approved(2, alice)");
    insta::assert_snapshot!(errors_of(&[("kiln.hcl", &text)]));
}
