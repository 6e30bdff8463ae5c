//! What a person sees when something is wrong. The texts are a product: read them when they change.

use kiln_spec::{Inputs, load};

use crate::support::{errors_of, folder, shorten};

/// A snapshot of the errors of one text.
macro_rules! errors {
    ($($name:ident: $text:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(errors_of(&[("kiln.hcl", $text)]));
        })*
    };
}

/// An image and a service that hold, with more attributes in each.
fn with(image: &str, service: &str) -> String {
    format!(
        "image \"web\" {{\n  base       = debian(\"bookworm\")\n  entrypoint = [\"/srv/app\"]\n  port \"http\" {{\n    \
         number = 8080\n  }}\n{image}}}\n\nservice \"web\" {{\n  image = image.web\n{service}}}\n"
    )
}

errors! {
    syntax_bracket_not_closed: "image \"web\" {\n  base = scratch\n";
    syntax_text_not_closed: "image \"web\" {\n  user = \"www-data\n}\n";
    syntax_several_attributes_on_a_line: "image \"web\" {\n  base = scratch\n  stop { signal = \"SIGTERM\" grace = \"10s\" }\n}\n";
    syntax_attribute_given_twice: "image \"web\" {\n  base = scratch\n  user = \"a\"\n  user = \"b\"\n}\n";
    syntax_value_missing: "image \"web\" {\n  base =\n}\n";
    syntax_colon: "image \"web\" {\n  base: scratch\n}\n";
    syntax_wrong_bracket: "locals {\n  a = [1, 2)\n}\n";
    syntax_bracket_too_many: "locals {\n  a = 1\n}\n}\n";
    syntax_escape: "locals {\n  a = \"C:\\files\"\n}\n";
    syntax_heredoc_not_closed: "locals {\n  a = <<EOT\n  text\n}\n";
    syntax_nesting: &format!("locals {{\n  a = {}1{}\n}}\n", "[".repeat(80), "]".repeat(80));

    unknown_block: "imag \"web\" {\n  base = scratch\n}\n";
    unknown_attribute: &with("  package = [\"curl\"]\n", "");
    unknown_attribute_of_the_file: "projekt = \"shop\"\n";
    unknown_nested_block: &with("  healt {\n    http = \"/\"\n  }\n", "");
    attribute_for_block: &with("  health = \"/healthz\"\n", "");
    block_for_attribute: &with("  env {\n    A = \"b\"\n  }\n", "");
    unknown_image: &with("", "").replace("image.web", "image.wbe");
    unknown_image_as_text: &with("", "").replace("image.web", "\"wbe\"");
    unknown_function: &with("  user = uper(\"a\")\n", "");
    unknown_local_and_variable: "locals {\n  port = 1\n}\nvariable \"tag\" {\n  default = 1\n}\nlocals {\n  a = local.prot\n  b = var.tagg\n  c = port\n  d = hello\n  e = var\n}\n";
    unknown_rollout: &with("", "  rollout \"bluegreen\" {}\n");
    rollout_attribute_of_another: &with("", "  rollout \"blue-green\" {\n    max_surge = 1\n  }\n");

    label_missing: "image {\n  base = scratch\n}\n";
    label_not_a_name: "image \"My App\" {\n  base = scratch\n}\n";
    label_too_many: "image \"web\" \"two\" {\n  base = scratch\n}\n";
    duplicate_names: &format!("{}image \"web\" {{\n  base = scratch\n}}\n", with("", ""));
    second_health: &with("  health {\n    tcp = true\n  }\n  health {\n    http = \"/\"\n  }\n", "");
    required_missing: "image \"web\" {}\n";

    type_number_for_text: &with("  user = 33\n", "");
    type_text_for_number: &with("", "  replicas = \"three\"\n");
    type_number_out_of_range: &with("  port \"admin\" {\n    number = 70000\n  }\n", "");
    type_entrypoint_text: &with("", "").replace("[\"/srv/app\"]", "\"python3 /srv/app/main.py\"");
    type_item_of_a_list: &with("  packages = [\"curl\", 7, \"Bad Name\"]\n", "");
    type_env_value: &with("", "  env = {\n    PORT = 8080\n  }\n");
    type_env_name: &with("", "  env = { \"MY-PORT\" = \"1\" }\n");
    type_duration: &with("  stop {\n    grace = \"10 seconds\"\n  }\n", "");
    type_size: &with("", "  limits {\n    memory = \"256 megs\"\n  }\n");
    type_mode_and_signal: &with("  copy \"a\" {\n    to = \"/a\"\n    mode = \"rwx\"\n  }\n  stop {\n    signal = \"TERM\"\n  }\n", "");
    type_base_text: &with("", "").replace("debian(\"bookworm\")", "\"bookworm\"");
    type_variable: "variable \"count\" {\n  type = number\n  default = \"three\"\n}\nvariable \"a\" {\n  type = text\n}\n";
    debian_options: &with("", "").replace("(\"bookworm\")", "(\"bookworm\", { mirorr = \"http://x\", scripts = \"yes\" })");
    dockerfile_base: &with("", "").replace("debian(\"bookworm\")", "dockerfile(\"Dockerfile\")");

    packages_on_scratch: "image \"web\" {\n  base     = scratch\n  packages = [\"curl\"]\n}\n";
    run_on_scratch: "image \"web\" {\n  base = scratch\n  run  = \"make\"\n}\n";
    health_two_kinds: &with("  health {\n    http = \"/\"\n    tcp = true\n  }\n", "");
    health_no_kind: &with("  health {\n    interval = \"1s\"\n  }\n", "");
    health_unknown_port: &with("  health {\n    http = \"/\"\n    port = \"htp\"\n  }\n", "");
    health_without_ports: "image \"web\" {\n  base = scratch\n  health {\n    http = \"/\"\n  }\n}\n";
    copy_paths: &with("  copy \"../secret\" {\n    to = \"/a\"\n  }\n  copy \"b\" {\n    to = \"srv/b\"\n  }\n", "");
    expose_unknown_port: &with("", "  expose \"web\" {}\n");
    expose_conflicts: &format!("{}service \"two\" {{\n  image = image.web\n  expose \"http\" {{}}\n}}\n", with("", "  expose \"http\" {}\n"));
    expose_tls_files: &with("", "  expose \"http\" {\n    tls {\n      certificate = \"web.pem\"\n      key = \"web.key\"\n    }\n  }\n");
    volume_unknown: &with("  volume \"data\" {\n    path = \"/data\"\n  }\n", "  volume \"date\" {}\n");
    ports_with_one_number: &with("  port \"admin\" {\n    number = 8080\n  }\n", "");
    entrypoint_missing: &with("", "").replace("  entrypoint = [\"/srv/app\"]\n", "");
    rolling_without_room: &with("", "  rollout \"rolling\" {\n    max_surge = 0\n  }\n");
    canary_steps: &with("", "  rollout \"canary\" {\n    steps = [5, 50, 25]\n  }\n");
    circle_of_services: &format!("{}service \"b\" {{\n  image = image.web\n  depends_on = [service.web]\n}}\n", with("", "  depends_on = [\"b\"]\n"));
    circle_of_locals: "locals {\n  a = local.b\n  b = \"${local.c}\"\n  c = [local.a]\n  d = local.d\n}\n";
    circle_of_images: "image \"a\" {\n  base = scratch\n  copy \"/x\" {\n    image = image.b\n    to = \"/x\"\n  }\n}\nimage \"b\" {\n  base = scratch\n  copy \"/x\" {\n    image = image.a\n    to = \"/x\"\n  }\n}\n";
    check_without_probe: &format!("{}check \"home\" {{\n  image = image.web\n}}\n", with("", ""));
    evidence: "environment \"prod\" {\n  requires = [\"testet\", \"soaked(stage, 30m)\", \"approved\"]\n}\n";

    env_in_an_image: &with("  user = env(\"USER\")\n", "");
    env_in_an_image_through_a_local: &format!("locals {{\n  who = env(\"HOME_TOWN\")\n  me = \"${{local.who}}\"\n}}\n{}", with("  user = local.me\n", ""));
    file_outside: "locals {\n  a = file(\"../../etc/passwd\")\n  b = file(\"/etc/passwd\")\n  c = file(\"missing.txt\")\n}\n";
    variable_without_value: "variable \"tag\" {\n  type = string\n}\n";
    variable_default_not_constant: "locals {\n  a = 1\n}\nvariable \"tag\" {\n  default = local.a\n}\n";
    list_in_a_text: "locals {\n  a = [1, 2]\n  b = \"x${local.a}\"\n}\n";
    all_errors_at_once: &with("  user = 1\n  workdir = \"srv\"\n  nothing = nothing\n", "  replicas = -1\n  env = [local.x, var.y]\n");
}

#[test]
fn every_file_is_told() {
    insta::assert_snapshot!(errors_of(&[
        ("kiln.hcl", "service \"web\" {\n  image = image.in_the_broken_file\n  replicas = true\n}\n"),
        ("a.kiln.hcl", "image \"web\" {\n  base = \n}\n"),
        ("b.kiln.hcl", "image \"other\" {\n"),
    ]));
}

#[test]
fn names_are_unique_over_all_files() {
    insta::assert_snapshot!(errors_of(&[
        ("kiln.hcl", "project = \"a\"\nimage \"web\" {\n  base = scratch\n}\n"),
        ("more.kiln.hcl", "project = \"b\"\nimage \"web\" {\n  base = scratch\n}\n"),
    ]));
}

#[test]
fn no_spec_at_all() {
    insta::assert_snapshot!(errors_of(&[("readme.txt", "")]));
}

#[test]
fn a_variable_that_the_spec_does_not_have() {
    let root = folder(&[("kiln.hcl", "variable \"count\" {\n  type = number\n}\n")]);
    let inputs = Inputs::none().with_variable("cuont", "3").with_variable("count", "three");
    let errors = load(root.path(), &inputs).unwrap_err();
    insta::assert_snapshot!(shorten(&errors.render(false), root.path()));
}

#[test]
fn bytes_that_are_not_text() {
    let root = folder(&[]);
    std::fs::write(root.path().join("kiln.hcl"), b"a = \"\xff\"\n").unwrap();
    let errors = load(root.path(), &Inputs::none()).unwrap_err();
    insta::assert_snapshot!(shorten(&errors.render(false), root.path()));
}

#[test]
fn json_has_places_and_no_source_text() {
    let root = folder(&[("kiln.hcl", "imag \"web\" {}\n")]);
    let errors = load(root.path(), &Inputs::none()).unwrap_err();
    let json = serde_json::to_string_pretty(&errors).unwrap();
    insta::assert_snapshot!(shorten(&json, root.path()));
}

#[test]
fn warnings_render_too() {
    let loaded = crate::support::load_text("policy \"default\" {\n  secrets = \"deny\"\n}\n").unwrap();
    let text = loaded.warnings.render(false);
    assert!(text.contains("warning: `policy` has no effect yet") && text.ends_with("1 warning\n"), "{text}");
    assert!(loaded.warnings.render(true).contains('\u{1b}'), "colour when asked for");
}
