//! What decides about a release beside its users' requests: Kiln's own, other sources, freezes, and its neighbours.

use std::net::SocketAddr;

use kiln_testkit::{LoadPlan, free_port, get, wait_until};

use crate::events;
use crate::support::{Project, SOON};

const PROBED: &str = "rollout \"blue-green\" {
    hold = \"500ms\"

    analyse {
      max_error_rate = \"1%\"

      probe { get = \"/\" }
    }
  }";

/// Nobody asks, so Kiln does: silence is no proof.
#[test]
fn a_good_release_without_users_is_let_pass_by_kilns_own_requests() {
    let project = Project::new(PROBED);
    project.up(&[("VERSION", "one")]).success();
    project.up(&[("VERSION", "two")]).success();
    assert_eq!(project.status()["current"], 2);
    assert!(project.body().expect("an answer").contains("hello two "));
}

#[test]
fn a_bad_release_without_users_is_turned_back_by_kilns_own_requests() {
    let project = Project::new(PROBED);
    project.up(&[("VERSION", "one")]).success();
    let outcome = project.up(&[("VERSION", "two"), ("FAIL_PERCENT", "20")]);
    outcome.code(5).stderr_has("1 % allowed");
    assert_eq!(project.status()["current"], 1);
    assert!(project.body().expect("an answer").contains("hello one "));
}

/// Nobody knows whether the release is bad: it goes, and may come again.
#[test]
fn a_source_that_cannot_be_read_turns_back_without_quarantine() {
    let project = Project::new(
        "rollout \"canary\" {
    steps = [50]
    hold  = \"5m\"

    analyse {
      interval = \"100ms\"

      metric \"queue\" {
        command     = [\"/nonexistent/queue-length\"]
        max         = 10
        error_limit = 2
      }
    }
  }",
    );
    project.up(&[("VERSION", "one")]).success();
    let load = project.mixed().start();
    for _ in 0..2 {
        let outcome = project.up(&[("VERSION", "two")]);
        outcome.code(5).stderr_has("could not be read").stderr_has("/nonexistent/queue-length");
    }
    load.stop().assert_lossless();
    let status = project.status();
    assert_eq!(status["current"], 1, "{status}");
    assert!(status["quarantined"].as_array().expect("a list").is_empty(), "{status}");
}

/// A freeze that began an hour ago and lasts for eleven more.
fn freeze() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let minutes = now.as_secs() / 60;
    let (hour, minute) = ((minutes / 60 + 23) % 24, minutes % 60);
    format!(
        "
environment \"dev\" {{
  freeze \"inventory\" {{
    begins = \"{minute} {hour} * * *\"
    lasts  = \"12h\"
  }}
}}
"
    )
}

#[test]
fn a_freeze_keeps_what_serves_and_an_emergency_passes_it() {
    let mut project = Project::new("rollout \"blue-green\" {}");
    project.up(&[("VERSION", "one")]).success();
    project.beside = freeze();
    project.up(&[("VERSION", "two")]).code(7).stderr_has("inventory");
    assert!(project.body().expect("an answer").contains("hello one "));
    project.env.kiln(["deploy", "--emergency", "a hole in the fence"]).success();
    assert!(project.body().expect("an answer").contains("hello two "));
    // The way back is always open.
    project.env.kiln(["rollback"]).success();
    assert!(project.body().expect("an answer").contains("hello one "));
    let told = events::all(&project).iter().any(|event| event.to_string().contains("a hole in the fence"));
    assert!(told, "the emergency is not on the record");
}

/// Two services of one image; `web` calls `api`.
fn pair(project: &Project, api: SocketAddr, version: &str, web: &str) {
    let service = |name: &str, port: u16, version: &str, more: &str| {
        format!(
            "
service \"{name}\" {{
  image    = image.web
  replicas = 2

  env = {{
    VERSION = \"{version}\"
    {web}
  }}

  expose \"http\" {{ listen = {port} }}
  {more}
}}
",
            web = if name == "web" { web } else { "" }
        )
    };
    let image = "project = \"pair\"

image \"web\" {
  base = scratch

  copy \"program\" {
    to   = \"/program\"
    mode = \"0755\"
  }

  entrypoint = [\"/program\"]

  port \"http\" { number = 8080 }

  health {
    http     = \"/healthz\"
    interval = \"200ms\"
  }
}
";
    let api = service("api", api.port(), version, "");
    let web = service("web", project.addr.port(), version, "depends_on = [service.api]");
    project.env.write("kiln.hcl", format!("{image}{api}{web}"));
}

/// Nobody is left to run against a release that was made for another one.
#[test]
fn a_service_goes_back_with_the_one_that_was_deployed_on_top_of_it() {
    let project = Project::new("");
    let api = SocketAddr::from(([127, 0, 0, 1], free_port()));
    pair(&project, api, "one", "");
    project.env.kiln(["up", "-d"]).success();
    let loads = [LoadPlan::new(project.addr).start(), LoadPlan::new(api).start()];
    pair(&project, api, "two", "EXIT = \"3\"");
    project.env.kiln(["up", "-d"]).code(5).stderr_has("the database is missing");
    let body = |addr| get(addr, "localhost", "/", &[]).ok().map(|answer| answer.text()).unwrap_or_default();
    wait_until("the other one goes back too", SOON, || {
        let status = project.env.kiln(["status", "--json"]).success().json();
        let services = status["services"].as_array().expect("a list");
        let settled =
            |it: &serde_json::Value| it["rollout"].is_null() || !it["rollout"]["ended_ms"].is_null();
        services.iter().all(|it| it["current"] == 1 && settled(it))
    });
    assert!(body(api).contains("hello one ") && body(project.addr).contains("hello one "));
    let [web, behind] = loads.map(kiln_testkit::Load::stop);
    web.assert_lossless();
    behind.assert_lossless();
    assert!(behind.count("hello two ") > 0, "api was never deployed: {behind}");
    assert_eq!(web.count("hello two "), 0, "{web}");
}
