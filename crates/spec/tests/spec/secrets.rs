//! Secrets: where they are, and never what they are.

use kiln_model::{Delivery, Name, SecretRef};

use crate::support::{errors_of, load_text};

const IMAGE: &str = "image \"web\" {\n  base       = scratch\n  entrypoint = [\"/x\"]\n}\n";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn spec(rest: &str) -> Result<kiln_spec::Loaded, kiln_spec::Diagnostics> {
    load_text(&format!("{IMAGE}{rest}"))
}

#[test]
fn services_name_secrets_and_environments_say_where_theirs_are() {
    let text = r#"
service "web" {
  image = image.web
  secret "DATABASE_URL" { from = "vault://kv/web?version=3#url" }
  secret "tls.key" {
    as = "file"
  }
}
environment "staging" {
  secret "DATABASE_URL" { from = "file:staging/db" }
  secret "tls.key" { from = "env://TLS_KEY" }
}
"#;
    let loaded = spec(text).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let secrets = &loaded.project.services[&name("web")].secrets;
    let url = &secrets["DATABASE_URL"];
    assert_eq!(url.from.as_ref().unwrap().to_string(), "vault://kv/web?version=3#url");
    assert_eq!(url.delivery, Delivery::Env);
    assert_eq!((&secrets["tls.key"].from, secrets["tls.key"].delivery), (&None, Delivery::File));
    let here = &loaded.project.environments[&name("staging")].secrets;
    assert_eq!(here["DATABASE_URL"], SecretRef::File { path: "staging/db".into() });
}

fn messages(rest: &str) -> String {
    errors_of(&[("kiln.hcl", &format!("{IMAGE}{rest}"))])
}

#[test]
fn what_is_wrong_with_a_secret_is_told_and_a_value_is_not_repeated() {
    let wrong = messages(
        r#"
service "web" {
  image = image.web
  env   = { TOKEN = "x" }
  secret "TOKEN" { from = "env://TOKEN" }
  secret "9" { from = "env://NINE" }
  secret "KEY" {}
  secret "../key" {
    as   = "file"
    from = "file:///key"
  }
  secret "PLACE" { from = "file://place" }
  secret "HERE" { from = "env://HERE" }
}
environment "dev" {
  env = { HERE = "x" }
}
"#,
    );
    for told in [
        "`TOKEN` is a variable of the service's `env` too",
        "no environment variable can be called so",
        "neither this service nor any environment says where `KEY` is",
        "this is no name for a file in /run/secrets",
        "an absolute path has three slashes",
        "`HERE` is a variable of the environment `dev` too",
    ] {
        assert!(wrong.contains(told), "{told} is missing in:\n{wrong}");
    }
    let plain = messages(
        "service \"web\" {\n  image = image.web\n  secret \"PASSWORD\" {\n    from = \"hunter2\"\n  }\n}\n",
    );
    assert!(plain.contains("this does not say where the secret is"), "{plain}");
    assert!(plain.contains("\"vault://kv/web#url\""), "{plain}");
}

#[test]
fn an_environments_secret_that_nobody_has_is_said() {
    let loaded = spec(
        "service \"web\" {\n  image = image.web\n  secret \"TOKEN\" { from = \"env://T\" }\n}\n\
         environment \"dev\" {\n  secret \"TOKENS\" { from = \"env://T\" }\n}\n",
    )
    .unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warnings, ["no service has a secret called `TOKENS`: nobody gets it"]);
}
