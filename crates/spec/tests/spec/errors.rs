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

/// A service with one rollout.
fn rollout(strategy: &str, body: &str) -> String {
    with("", &format!("  rollout \"{strategy}\" {{\n    {body}\n  }}\n"))
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

    preset_unknown: &rollout("rolling", "preset = \"kubernets\"");
    preset_far_off: &rollout("canary", "preset = \"slowly\"");
    preset_of_another_strategy: &rollout("canary", "preset = \"CodeDeployDefault.HalfAtATime\"");
    preset_where_there_are_none: &rollout("blue-green", "preset = \"AllAtOnce\"");
    preset_that_takes_the_service_down: &rollout("rolling", "preset = \"AllAtOnce\"").replace("  rollout", "  replicas = 4\n  rollout");
    preset_that_takes_the_only_instance: &rollout("rolling", "preset = \"OneAtATime\"");
    preset_half_of_one: &rollout("rolling", "preset = \"HalfAtATime\"");
    rolling_that_takes_the_service_down: &rollout("rolling", "max_surge = 0\n    max_unavailable = \"50%\"");
    rolling_batch_of_none: &rollout("rolling", "batch = \"0%\"");
    policy_ranges: &rollout("rolling", "rolling_upgrade_policy {\n      maxBatchInstancePercent = 4\n      maxUnhealthyInstancePercent = 101\n      pauseTimeBetweenBatches = \"2s\"\n      maxSurge = \"yes\"\n      maxBatchSize = 3\n    }");
    policy_batch_above_unhealthy: &rollout("rolling", "rolling_upgrade_policy {\n      maxBatchInstancePercent = 30\n      maxUnhealthyInstancePercent = 20\n      maxSurge = true\n    }");
    policy_in_place_with_one_instance: &rollout("rolling", "rolling_upgrade_policy {}");
    policy_and_preset: &rollout("rolling", "preset = \"kubernetes\"\n    rolling_upgrade_policy {\n      maxSurge = true\n    }");
    policy_outside_of_rolling: &rollout("canary", "rolling_upgrade_policy {\n      maxSurge = true\n    }");
    words_of_peers: &rollout("rolling", "maxSurge = 1\n    minReadySeconds = 10\n    progressDeadlineSeconds = 600\n    max_parallel = 1\n    auto_revert = true\n    MinHealthyPercentage = 90\n    maxBatchInstancePercent = 20\n    autoPromotionEnabled = false\n    analysis {}");
    words_of_peers_in_a_service: &with("", "  strategy {\n    type = \"RollingUpdate\"\n  }\n  minAvailable = 1\n");

    deadlines_under_min_healthy: &rollout("canary", "min_healthy = \"10m\"\n    healthy_deadline = \"5m\"");
    deadline_of_nothing: &rollout("canary", "progress_deadline = \"0s\"");
    shares_are_percentages: &rollout("canary", "max_unhealthy = 20\n    max_unhealthy_new = \"120%\"\n    mirror = \"2.5%\"");
    mirror_without_a_canary: &rollout("rolling", "mirror = \"10%\"");
    checkpoint_outside_of_the_steps: &rollout("canary", "steps = [10, 50]\n    checkpoint {\n      at = 30\n      hold = \"1h\"\n    }");
    checkpoint_of_blue_green: &rollout("blue-green", "checkpoint {\n      at = \"50%\"\n      hold = \"1h\"\n    }");
    checkpoint_out_of_range: &rollout("rolling", "checkpoint {\n      at = \"0%\"\n      hold = \"1h\"\n    }\n    checkpoint {\n      at = 101\n      hold = \"0s\"\n    }");
    checkpoints_at_one_share: &rollout("rolling", "checkpoint {\n      at = 50\n      hold = \"1h\"\n    }\n    checkpoint {\n      at = \"50%\"\n      hold = \"0s\"\n    }");
    checkpoint_of_recreate: &rollout("recreate", "checkpoint {\n      at = 100\n      hold = \"1h\"\n    }");
    approval_of_nothing: &rollout("canary", "approval {\n      before = []\n      by = []\n    }");
    approval_outside_of_the_steps: &rollout("canary", "preset = \"Canary10Percent5Minutes\"\n    approval {\n      before = [20, 100]\n    }");
    approval_out_of_range: &rollout("rolling", "approval {\n      before = [0, 120]\n      by = [\"alice\", \"\"]\n    }");
    approval_descends: &rollout("rolling", "approval {\n      before = [50, 50]\n    }");

    analyse_of_nothing: &rollout("canary", "analyse {\n      interval = \"5s\"\n    }");
    analyse_of_recreate: &rollout("recreate", "analyse {\n      max_error_rate = \"1%\"\n    }");
    analyse_numbers: &rollout("canary", "analyse {\n      max_error_rate = 0.01\n      max_p50 = \"0s\"\n      max_p99 = \"PT0.3S\"\n      false_alarm = \"0%\"\n      min_requests = 0\n      interval = \"0s\"\n      against = \"basline\"\n    }");
    analyse_limits_the_wrong_way_round: &rollout("canary", "analyse {\n      max_p50 = \"500ms\"\n      max_p99 = \"300ms\"\n    }");
    analyse_probe: &rollout("canary", "analyse {\n      against = \"old\"\n      probe {\n        get = \"search\"\n        port = \"htp\"\n        headers = { \"x probe\" = \"a\", \"x-a\" = \"a\\nb\" }\n      }\n      probe {\n        get = \"/\"\n        headers = { X-A = \"1\", x-a = \"2\" }\n      }\n    }");
    metric_without_a_source: &rollout("canary", "analyse {\n      metric \"errors\" {\n        max = 1\n      }\n    }");
    metric_of_two_sources: &rollout("canary", "analyse {\n      metric \"errors\" {\n        command = [\"check\"]\n        webhook {\n          url = \"ftp://x\"\n        }\n      }\n    }");
    metric_without_a_measure: &rollout("canary", "analyse {\n      metric \"errors\" {\n        prometheus {\n          url = \"http://127.0.0.1:9090\"\n          query = \"up\"\n        }\n      }\n    }");
    metric_that_nothing_satisfies: &rollout("canary", "analyse {\n      metric \"errors\" {\n        max = 1\n        min = 2\n        failure_limit = -1\n        webhook {\n          url = \"http://127.0.0.1/\"\n        }\n      }\n    }");
    sticky_names: &rollout("canary", "sticky {\n      cookie = \"my cookie\"\n    }\n    tester {\n      header = \"x-tester:\"\n      value = \"a\\r\\nb\"\n    }\n    tester {\n      header = \"\"\n    }");
    sticky_by_two: &rollout("canary", "sticky {\n      cookie = \"fleet\"\n      header = \"x-user\"\n    }");
    sticky_ages: &rollout("canary", "sticky {\n      header = \"x-user\"\n      max_age = \"1h\"\n    }");
    sticky_cookie_of_no_age: &rollout("canary", "sticky {\n      cookie = \"fleet\"\n      max_age = \"0s\"\n    }");

    budget_of_none: &with("", "  max_disrupted = 0\n");
    freeze_texts: "environment \"prod\" {\n  freeze \"a\" {\n    begins = \"0 18 * FRI\"\n    lasts = \"62h\"\n    timezone = \"Berlin\"\n  }\n  freeze \"b\" {\n    begins = \"0 25 * * FRI\"\n    lasts = \"a while\"\n    timezone = \"Europe/Berln\"\n  }\n}\n";
    freeze_without_an_end: "environment \"prod\" {\n  freeze \"nights\" {\n    begins = \"0 18 * * *\"\n    lasts = \"24h\"\n  }\n}\n";
    freeze_that_never_comes: "environment \"prod\" {\n  freeze \"leap\" {\n    begins = \"0 0 30 2 *\"\n    lasts = \"24h\"\n  }\n  freeze \"short\" {\n    begins = \"0 0 1 2 *\"\n    lasts = \"0s\"\n  }\n  freeze \"short\" {\n    begins = \"0 0 1 2 *\"\n  }\n}\n";

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
    let loaded = crate::support::load_text(&with("", "  max_lifetime = \"1h\"\n")).unwrap();
    let text = loaded.warnings.render(false);
    assert!(
        text.contains("warning: `max_lifetime` has no effect yet") && text.ends_with("1 warning\n"),
        "{text}"
    );
    assert!(loaded.warnings.render(true).contains('\u{1b}'), "colour when asked for");
}
