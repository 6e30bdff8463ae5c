//! Policies: what is read from them, and what is told about bad ones.

use kiln_model::{Action, Level, Name, Policy, SecretAction};

use crate::support::{errors_of, load_text};

fn policies(text: &str) -> Vec<Policy> {
    let image = "image \"web\" {\n  base = oci(\"x\")\n}\n";
    let loaded = load_text(&format!("{image}{text}")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings.render(false), "", "{text}");
    loaded.project.policies.into_values().collect()
}

fn policy(body: &str) -> Policy {
    policies(&format!("policy \"default\" {{\n{body}\n}}\n")).remove(0)
}

#[test]
fn every_word_of_a_policy_is_read() {
    let text = r#"
policy "strict" {
  image          = image.web
  secrets        = "deny"
  max_size       = "80MiB"
  max_age        = "30d"
  base_max_age   = "14d"
  root_user      = "deny"
  setuid         = "warn"
  world_writable = "deny"
  health_check   = "warn"

  vulnerabilities {
    fail_on            = "high"
    warn_on            = "low"
    fixable_only       = true
    ignore             = ["CVE-2025-0001"]
    vex                = ["vex.json"]
    advisories_max_age = "24h"

    except "CVE-2026-0002" {
      package = "zlib1g"
      reason  = "the code is not reachable"
      until   = "2026-12-31"
    }
    except "CVE-2026-0002" {
      package = "zlib1g-dev"
      reason  = "only headers"
      until   = "2027-06-30"
    }
  }

  allow_secret "keys of the tests" {
    rule   = "private-key"
    path   = "/srv/app/tests/**"
    reason = "made for the tests"
  }
  allow_secret "revoked" {
    fingerprint = "0011223344556677"
    reason      = "revoked in 2024"
  }

  licenses {
    deny  = ["AGPL-*", "SSPL-1.0"]
    warn  = ["GPL-3.0-only"]
    allow = ["MIT", "LicenseRef-ours"]
  }
}

policy "default" {
  vulnerabilities { fail_on = "never" }
}
"#;
    insta::assert_json_snapshot!(policies(text));
}

#[test]
fn what_is_not_written_is_what_the_built_in_policy_says() {
    let named = Policy { name: "built-in".into(), ..policy("") };
    assert_eq!(named, Policy::built_in());
    assert_eq!(named.secrets, SecretAction::Proven);
    assert_eq!(
        (named.vulnerabilities.fail_on, named.vulnerabilities.fixable_only),
        (Some(Level::Critical), true)
    );
    assert_eq!(named.root_user, Action::Allow);
    assert_eq!(policy("  vulnerabilities {}").vulnerabilities, named.vulnerabilities);
    let strict = policy("  vulnerabilities {\n    fail_on = \"high\"\n  }").vulnerabilities;
    assert!(!strict.fixable_only, "whoever names a severity means it");
}

#[test]
fn a_policy_holds_for_its_image_and_the_default_for_others() {
    let text = "image \"web\" {\n  base = oci(\"x\")\n}\nimage \"api\" {\n  base = oci(\"x\")\n}\n\
                policy \"own\" {\n  image = image.web\n}\npolicy \"default\" {}\n";
    let project = load_text(text).unwrap().project;
    let name = |image: &str| project.policy_for(&Name::new(image).unwrap()).name;
    assert_eq!((name("web").as_str(), name("api").as_str()), ("own", "default"));
}

#[test]
fn a_warning_that_never_comes_is_told() {
    let text = "policy \"default\" {\n  vulnerabilities {\n    fail_on = \"medium\"\n    warn_on = \"high\"\n  }\n}\n";
    let root = crate::support::folder(&[("kiln.hcl", text)]);
    let loaded = kiln_spec::load(root.path(), &kiln_spec::Inputs::none()).unwrap();
    insta::assert_snapshot!(crate::support::shorten(&loaded.warnings.render(false), root.path()));
}

/// A snapshot of the errors of one policy.
macro_rules! errors {
    ($($name:ident: $text:expr;)*) => {
        $(#[test]
        fn $name() {
            let image = "image \"web\" {\n  base = oci(\"x\")\n}\n";
            insta::assert_snapshot!(errors_of(&[("kiln.hcl", &format!("{image}{}", $text))]));
        })*
    };
}

errors! {
    words_and_choices: "policy \"default\" {\n  secrets = \"denny\"\n  root_user = true\n  max_size = \"80 MB!\"\n  max_age = \"a month\"\n  vulnerabilities {\n    fail_on = \"hihg\"\n    fixable = true\n  }\n  licences {}\n}\n";
    holds_for_nothing: "policy \"strict\" {}\npolicy \"default\" {\n  image = image.web\n}\n";
    two_for_one_image: "policy \"one\" {\n  image = image.web\n}\npolicy \"two\" {\n  image = image.web\n}\n";
    of_an_image_that_is_not_there: "policy \"one\" {\n  image = image.wbe\n}\n";
    exceptions_without_an_end: "policy \"default\" {\n  vulnerabilities {\n    except \"CVE-2026-0001\" {\n      reason = \"later\"\n    }\n    except \"CVE-2026-0002\" {\n      reason = \" \"\n      until = \"2026-02-30\"\n    }\n    except \"CVE-2026-0003\" {\n      reason = \"x\"\n      until = \"2026-12-31T00:00:00Z\"\n    }\n    except \"CVE-2026-0003\" {\n      reason = \"x\"\n      until = \"2026-12-31\"\n    }\n    except \"CVE-2026-0003\" {\n      reason = \"y\"\n      until = \"2027-12-31\"\n    }\n  }\n}\n";
    files_outside_and_empty_names: "policy \"default\" {\n  vulnerabilities {\n    vex = [\"../vex.json\", \"ok.json\"]\n    ignore = [\"\"]\n  }\n}\n";
    allowed_secrets: "policy \"default\" {\n  allow_secret \"all\" {\n    reason = \"x\"\n  }\n  allow_secret \"some\" {\n    path = \"srv/**\"\n    reason = \"x\"\n  }\n  allow_secret \"glob\" {\n    path = \"/srv/[a\"\n    reason = \"\"\n  }\n}\n";
    licences_that_do_not_exist: "policy \"default\" {\n  licenses {\n    deny = [\"GPL-3\", \"mit\", \"Foo-*\", \"BSD-3-Clause\"]\n    allow = [\"BSD-3-Clause\", \"Apache 2\"]\n  }\n}\n";
}
