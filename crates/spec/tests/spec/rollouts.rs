//! What rollouts become, as `kiln show --json` prints them.

use std::collections::BTreeMap;

use kiln_model::{Amount, Name, RolloutSpec, Span, Strategy};
use serde_json::Value;

use crate::support::load_text;

/// A service of ten instances with one rollout.
fn spec(strategy: &str, body: &str) -> String {
    format!(
        "image \"web\" {{\n  base = oci(\"x\")\n  port \"http\" {{\n    number = 8080\n  }}\n}}\n\
         service \"web\" {{\n  image = image.web\n  replicas = 10\n  rollout \"{strategy}\" {{\n{body}\n  }}\n}}\n"
    )
}

fn rollout(strategy: &str, body: &str) -> RolloutSpec {
    let loaded = load_text(&spec(strategy, body)).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings.render(false));
    loaded.project.services[&Name::new("web").unwrap()].rollout.clone()
}

/// What a rollout has other than the default of its strategy.
fn shown(strategy: &str, body: &str) -> Value {
    let Value::Object(plain) = serde_json::to_value(RolloutSpec::default()).unwrap() else { panic!() };
    let Value::Object(all) = serde_json::to_value(rollout(strategy, body)).unwrap() else { panic!() };
    all.into_iter().filter(|(name, value)| name == "strategy" || plain.get(name) != Some(value)).collect()
}

const PRESETS: [(&str, &str); 16] = [
    ("rolling", "kubernetes"),
    ("rolling", "OneAtATime"),
    ("rolling", "HalfAtATime"),
    ("rolling", "CodeDeployDefault.OneAtATime"),
    ("canary", "AllAtOnce"),
    ("canary", "CodeDeployDefault.LambdaAllAtOnce"),
    ("canary", "CodeDeployDefault.ECSCanary10Percent5Minutes"),
    ("canary", "Canary10Percent5Minutes"),
    ("canary", "Canary10Percent10Minutes"),
    ("canary", "Canary10Percent15Minutes"),
    ("canary", "Canary10Percent30Minutes"),
    ("canary", "Linear10PercentEvery1Minute"),
    ("canary", "Linear10PercentEvery1Minutes"),
    ("canary", "Linear10PercentEvery2Minutes"),
    ("canary", "Linear10PercentEvery3Minutes"),
    ("canary", "Linear10PercentEvery10Minutes"),
];

#[test]
fn every_preset_is_what_its_peer_says() {
    let all = PRESETS.map(|(strategy, name)| {
        // Compact, so that the snapshot can be read as a table.
        let values = shown(strategy, &format!("    preset = \"{name}\"")).to_string();
        format!("{strategy:8} {name:45} {values}")
    });
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_stands_beside_a_preset_wins() {
    let written =
        "    preset = \"kubernetes\"\n    max_unavailable = 0\n    progress_deadline = \"5m\"\n    batch = 2";
    let spec = rollout("rolling", written);
    let Strategy::Rolling { max_surge, max_unavailable, batch, .. } = spec.strategy else {
        panic!("{spec:?}")
    };
    assert_eq!(max_surge, Amount::Percent(25));
    assert_eq!((max_unavailable, batch), (Amount::Count(0), Some(Amount::Count(2))));
    assert_eq!(spec.progress_deadline, Span::from_secs(300));

    let spec = rollout("canary", "    preset = \"Canary10Percent5Minutes\"\n    hold = \"1h\"");
    assert_eq!(spec.strategy, Strategy::Canary { steps: vec![10, 100], hold: Span::from_secs(3600) });

    let safe = "    preset = \"AllAtOnce\"\n    max_surge = \"100%\"\n    max_unavailable = 0";
    assert!(matches!(rollout("rolling", safe).strategy, Strategy::Rolling { .. }));
}

/// As Azure's samples have it.
const POLICY: &str = r#"
    rolling_upgrade_policy {
      maxBatchInstancePercent               = 20
      maxUnhealthyInstancePercent           = 30
      maxUnhealthyUpgradedInstancePercent   = 10
      pauseTimeBetweenBatches               = "PT2S"
      prioritizeUnhealthyInstances          = true
      rollbackFailedInstancesOnPolicyBreach = true
      maxSurge                              = true
      enableCrossZoneUpgrade                = false
    }
"#;

#[test]
fn azures_policy_is_read_as_it_is_written_there() {
    let policies = [
        ("surge", POLICY.replace("      rollbackFailed", "      # rollbackFailed")),
        ("defaults", "    rolling_upgrade_policy {}".to_owned()),
        (
            "beside",
            format!(
                "{}    max_unhealthy = \"50%\"\n    batch = 1",
                POLICY.replace("OnPolicyBreach = true", "OnPolicyBreach = false")
            ),
        ),
    ];
    let all: BTreeMap<_, _> = policies.iter().map(|(name, body)| (*name, shown("rolling", body))).collect();
    insta::assert_json_snapshot!(all);
}

#[test]
fn what_kiln_does_otherwise_than_azure_is_said() {
    let body = POLICY
        .replace("Instances          = true", "Instances = false")
        .replace("Upgrade                = false", "Upgrade = true");
    let loaded = load_text(&spec("rolling", &body)).unwrap();
    let messages: Vec<_> = loaded.warnings.iter().map(|warning| warning.message.clone()).collect();
    insta::assert_snapshot!(messages.join("\n"));
}

const EVERYTHING: &str = r#"
    steps             = [10, 50]
    hold              = "2h"
    max_unhealthy     = "10%"
    max_unhealthy_new = "0%"
    scale_down_delay  = "30s"
    mirror            = "10%"

    checkpoint {
      at   = 100
      hold = "1h"
    }
    checkpoint {
      at   = "50%"
      hold = "30m"
    }
    approval {
      before = [50, 100]
      by     = ["alice"]
    }
    analyse {
      against        = "old"
      max_error_rate = "2.9%"
      max_p50        = "50ms"
      max_p90        = "100ms"
      max_p99        = "300ms"
      false_alarm    = "0.5%"
      min_requests   = 100
      interval       = "5s"

      probe {
        get     = "/search?q=x"
        port    = "http"
        headers = { X-Probe = "kiln" }
      }
      probe { get = "/" }
      metric "errors" {
        prometheus {
          url   = "http://127.0.0.1:9090"
          query = "sum(rate(errors{service=\"{service}\"}[1m]))"
        }
        max           = 0.01
        failure_limit = 2
      }
      metric "judge" {
        webhook { url = "http://127.0.0.1:9000/judge" }
        error_limit = 0
      }
      metric "queue" {
        command = ["queue-length", "{environment}"]
        min     = -1
      }
    }
    sticky {
      cookie  = "Fleet"
      max_age = "1h"
    }
    tester {
      header = "X-Tester"
      value  = "yes"
    }
    tester { header = "x-any" }
"#;

#[test]
fn every_field_of_a_rollout_is_read() {
    insta::assert_json_snapshot!(rollout("canary", EVERYTHING));
}

#[test]
fn analysis_and_gates_belong_to_every_strategy_with_two_fleets() {
    let body = "    analyse {\n      against = \"baseline\"\n    }\n    sticky {\n      header = \"X-User\"\n    }\n    \
                checkpoint {\n      at = \"100%\"\n      hold = \"1m\"\n    }\n    approval {\n      before = [100]\n    }";
    for strategy in ["rolling", "blue-green", "canary"] {
        let spec = rollout(strategy, body);
        assert!(spec.analysis.is_some() && spec.canary_traffic.sticky.is_some(), "{strategy}");
        assert_eq!((spec.checkpoints.len(), spec.approval.unwrap().before), (1, vec![100]), "{strategy}");
    }
}

#[test]
fn a_hold_may_be_longer_than_the_progress_deadline() {
    let spec = rollout("canary", "    hold = \"2h\"\n    progress_deadline = \"10m\"");
    assert_eq!(spec.progress_deadline, Span::from_secs(600));
}

#[test]
fn budgets_and_freezes_are_read() {
    let text = spec("blue-green", "").replace("  replicas", "  max_disrupted = \"10%\"\n  replicas")
        + "environment \"prod\" {\n  freeze \"weekend\" {\n    begins = \"0 18 * * FRI\"\n    lasts = \"62h\"\n    \
           timezone = \"Europe/Berlin\"\n  }\n  freeze \"release day\" {\n    begins = \"0 0 1 * *\"\n    \
           lasts = \"1d\"\n  }\n}\n";
    let project = load_text(&text).unwrap_or_else(|errors| panic!("{errors}")).project;
    assert_eq!(project.services[&Name::new("web").unwrap()].max_disrupted, Amount::Percent(10));
    insta::assert_json_snapshot!(project.environments[&Name::new("prod").unwrap()]);
}

#[test]
fn all_of_it_keeps_its_form() {
    for body in
        [EVERYTHING, POLICY, "    preset=\"kubernetes\"", "checkpoint {\nat=\"50%\"\nhold   = \"1h\"\n}"]
    {
        let once = kiln_spec::format(&spec("canary", body)).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(kiln_spec::format(&once).unwrap(), once);
    }
}
