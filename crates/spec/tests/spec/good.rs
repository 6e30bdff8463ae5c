//! Specs that hold.

use std::path::Path;

use kiln_model::{Base, Command, Name, Probe, Step, Strategy};
use kiln_spec::{Inputs, load};

use crate::support::{inputs, load_files, load_text};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn design() -> kiln_spec::Loaded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/design");
    load(&folder, &Inputs::none()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_example_of_the_design_holds() {
    let loaded = design();
    insta::assert_json_snapshot!(loaded.project);
}

#[test]
fn what_has_no_effect_yet_is_said() {
    let warnings: Vec<_> = design().warnings.into_iter().map(|w| w.message).collect();
    assert_eq!(warnings, ["`max_lifetime` has no effect yet"]);
}

#[test]
fn steps_keep_the_order_of_the_text() {
    let text = r#"
image "web" {
  base = debian("bookworm")
  run "first" {
    command = ["true"]
    network = true
  }
  copy "a" {
    to = "/a"
  }
  run = ["one", "two"]
  copy "b" {
    to = "/b"
  }
}
"#;
    let loaded = load_text(text).unwrap();
    let steps = &loaded.project.images[&name("web")].steps;
    let words: Vec<_> = steps
        .iter()
        .map(|step| match step {
            Step::Copy(copy) => copy.from.clone(),
            Step::Run(run) => match &run.command {
                Command::Line(line) => line.clone(),
                Command::Argv(argv) => argv.join(" "),
            },
        })
        .collect();
    assert_eq!(words, ["true", "a", "one", "two", "b"]);
    let lines: Vec<_> = (0..5).map(|n| loaded.place(&format!("image.web.step.{n}")).unwrap().line).collect();
    assert_eq!(lines, [4, 8, 11, 11, 12]);
}

#[test]
fn a_folder_is_one_spec() {
    let loaded = load_files(&[
        ("kiln.hcl", "project = \"shop\"\nservice \"web\" { image = image.web }\n"),
        ("images.kiln.hcl", "image \"web\" {\n  base = oci(\"busybox\")\n}\n"),
        ("notes.txt", "not a spec {"),
    ])
    .unwrap();
    assert_eq!(loaded.project.name, name("shop"));
    assert_eq!(loaded.files.len(), 2);
    assert!(matches!(loaded.project.images[&name("web")].base, Base::Oci(_)));
    assert!(loaded.project.environments.contains_key(&name("dev")));
}

#[test]
fn the_digest_follows_the_text_and_the_files_it_reads() {
    let spec = "locals { a = file(\"a.txt\") }\n";
    let digest = |files: &[(&str, &str)]| load_files(files).unwrap().digest;
    let first = digest(&[("kiln.hcl", spec), ("a.txt", "1")]);
    assert_eq!(first, digest(&[("kiln.hcl", spec), ("a.txt", "1"), ("b.txt", "2")]));
    assert_ne!(first, digest(&[("kiln.hcl", spec), ("a.txt", "2")]));
    assert_ne!(first, digest(&[("kiln.hcl", "# more\nlocals { a = file(\"a.txt\") }\n"), ("a.txt", "1")]));
}

#[test]
fn variables_come_from_outside_first() {
    let text = r#"
variable "town" {
  type    = string
  default = "Bruges"
}
variable "count" {
  type    = number
  default = 1
}
image "web" {
  base       = scratch
  entrypoint = ["/x"]
}
service "web" {
  image    = image.web
  replicas = var.count
  env      = { TOWN = var.town }
}
"#;
    let root = crate::support::folder(&[("kiln.hcl", text)]);
    let service = |inputs: &Inputs| {
        let loaded = load(root.path(), inputs).unwrap();
        let service = loaded.project.services[&name("web")].clone();
        (service.replicas, service.env["TOWN"].clone())
    };
    assert_eq!(service(&Inputs::none()), (1, "Bruges".into()));
    let env = Inputs::none().with_env(|name| (name == "KILN_VAR_count").then(|| "4".into()));
    assert_eq!(service(&env), (4, "Bruges".into()));
    assert_eq!(service(&env.with_variable("count", "5").with_variable("town", "Lier")), (5, "Lier".into()));
}

#[test]
fn every_field_of_a_service_is_read() {
    let text = r#"
image "web" {
  base       = scratch
  entrypoint = ["/x"]
  port "http" {
    number = 8080
  }
  port "db" {
    number   = 5432
    protocol = "tcp"
  }
  health {
    tcp   = "db"
    grace = "1m30s"
  }
  volume "data" {
    path = "/data"
    size = "1GiB"
  }
}
service "api" {
  image = "web"
}
service "web" {
  image      = image.web
  args       = ["--fast"]
  depends_on = [service.api]
  expose "http" {
    listen  = 9000
    address = "0.0.0.0"
    host    = "*.Example.com"
    path    = "/shop"
  }
  expose "db" {}
  volume "data" {
    read_only = true
  }
  limits {
    memory = "256MiB"
    cpu    = 0.5
    pids   = 64
  }
  rollout "rolling" {
    max_surge       = 2
    max_unavailable = "50%"
    auto_rollback   = false
  }
  traffic {
    request_timeout = "0s"
    upgraded        = "close"
    hold            = "45s"
  }
  env = { TOWN = env("HOME_TOWN"), PEER = "http://${service.api}:8080/" }
}
"#;
    let root = crate::support::folder(&[("kiln.hcl", text)]);
    let loaded = load(root.path(), &inputs()).unwrap_or_else(|errors| panic!("{errors}"));
    insta::assert_json_snapshot!(loaded.project.services[&name("web")]);
    let health = loaded.project.images[&name("web")].config.health.clone().unwrap();
    assert_eq!(health.probe, Probe::Tcp { port: Some(name("db")) });
}

#[test]
fn a_canary_has_steps_and_a_file_may_be_given_alone() {
    let text = "image \"web\" {\n  base = oci(\"x\")\n}\nservice \"web\" {\n  image = image.web\n  rollout \"canary\" { hold = \"1m\" }\n}\n";
    let root = crate::support::folder(&[("other.hcl", text)]);
    let loaded = load(&root.path().join("other.hcl"), &inputs()).unwrap();
    let service = &loaded.project.services[&name("web")];
    let Strategy::Canary { steps, .. } = &service.rollout.strategy else { panic!("{service:?}") };
    assert_eq!(steps, &[5, 25, 75, 100]);
}

#[test]
fn every_example_of_the_repository_holds_and_is_formatted() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for entry in std::fs::read_dir(examples).unwrap().filter_map(Result::ok) {
        let spec = entry.path().join("kiln.hcl");
        let Ok(text) = std::fs::read_to_string(&spec) else { continue };
        load(&entry.path(), &Inputs::none()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(kiln_spec::format(&text).unwrap(), text, "kiln fmt {}", spec.display());
    }
}

#[test]
fn every_block_of_the_guide_holds() {
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec.md")).unwrap();
    let image = "image \"web\" {\n  base = oci(\"x\")\n  port \"http\" {\n    number = 8080\n  }\n}\n";
    let blocks: Vec<_> =
        guide.split("```hcl\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    for block in &blocks {
        let used = block.contains("image.web") && !block.contains("image \"web\"");
        let text = if used { format!("{image}{block}") } else { (*block).to_owned() };
        load_text(&text).unwrap_or_else(|errors| panic!("{errors}\n{block}"));
    }
    assert!(blocks.len() >= 5, "the guide moved");
}
