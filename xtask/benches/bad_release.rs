//! How long a bad release is in front of users once it has given its first bad answer.
//!
//! `bad_release KILN ROUNDS` prints a JSON list with an object for each round of each kind of release: `percent` of its
//! requests that the release fails, `millis` from its first bad answer to the last request that reached it, the users'
//! requests that `failed`, those that it `served`, and `rate`, all the requests per second.

use std::error::Error;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use kiln_testkit::{LoadPlan, TestEnvironment, free_port, wait_until};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// `kiln up` ends with this when the release was turned back.
const TURNED_BACK: i32 = 5;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Outcome<()> {
    // `cargo bench` adds flags of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [kiln, rounds] = args.as_slice() else {
        return Err("usage: bad_release KILN ROUNDS".into());
    };
    let env = TestEnvironment::new(kiln);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/cli/tests/e2e/program.c");
    let program = env.work().join("program");
    let built =
        Command::new("cc").args(["-O2", "-static", "-pthread", "-o"]).arg(&program).arg(source).output()?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned().into());
    }
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    spec(&env, addr, "good", 0);
    env.kiln(["up", "-d"]).success();
    let mut measured = Vec::new();
    for round in 0..rounds.parse()? {
        for percent in [100, 5] {
            measured.push(turned_back(&env, addr, &format!("bad{round}"), percent)?);
        }
    }
    env.kiln(["down"]).success();
    println!("{}", Value::from(measured));
    Ok(())
}

/// Deploys a release that fails so many of its requests, under load, until it is turned back.
fn turned_back(env: &TestEnvironment, addr: SocketAddr, version: &str, percent: u32) -> Outcome<Value> {
    let load = LoadPlan { connections: 64, rate: 4_000, ..LoadPlan::new(addr) }.start();
    wait_until("the load flows", PATIENCE, || load.answered() > 4_000);
    spec(env, addr, version, percent);
    env.kiln(["up", "-d"]).code(TURNED_BACK);
    let report = load.stop();
    let (bad, good) = (format!("failed {version} "), format!("hello {version} "));
    let (first, _) = report.span(&bad).ok_or("the release never failed")?;
    let last = [report.span(&bad), report.span(&good)].into_iter().flatten().map(|(_, last)| last).max();
    let last = last.ok_or("the release never answered")?;
    if report.failed != report.count(&bad) {
        return Err(format!("something else than the release failed: {report}").into());
    }
    Ok(json!({
        "percent": percent,
        "millis": last.saturating_sub(first).as_secs_f64() * 1000.0,
        "failed": report.failed,
        "served": report.count(&bad) + report.count(&good),
        "rate": report.answered as f64 / report.took.as_secs_f64(),
    }))
}

fn spec(env: &TestEnvironment, addr: SocketAddr, version: &str, percent: u32) {
    let port = addr.port();
    let text = format!(
        r#"
project = "bench"

image "web" {{
  base = scratch
  copy "program" {{
    to   = "/program"
    mode = "0755"
  }}
  entrypoint = ["/program"]
  port "http" {{ number = 8080 }}
  health {{ http = "/healthz" }}
}}

service "web" {{
  image    = image.web
  replicas = 3
  env      = {{ VERSION = "{version}", FAIL_PERCENT = "{percent}" }}
  expose "http" {{ listen = {port} }}

  rollout "canary" {{
    steps = [10]
    hold  = "5m"
    analyse {{ max_error_rate = "1%" }}
  }}
}}
"#
    );
    env.write("kiln.hcl", text);
}
