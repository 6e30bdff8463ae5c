//! Inventory, advisories and secrets, beside Trivy and Syft.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::stats::{median, repeat, time};
use super::{Aim, Bench, Row, Unit, write};
use crate::{Cmd, Error, cargo, root, setup};

/// More than 400 packages, among them many of Node and Python.
const SPEC: &str = r#"project = "bench"

image "big" {
  base       = debian("bookworm")
  packages   = ["python3-yaml", "python3-requests", "npm", "git", "ruby-rack", "curl"]
  entrypoint = ["/usr/bin/python3"]
}
"#;

/// Everything that reads images for what is in them.
pub(super) fn scan(bench: &Bench) -> Result<Vec<Row>, Error> {
    let (spec, home) = (bench.folder("scan-spec")?, bench.folder("scan-home")?);
    write(&spec.join("kiln.hcl"), SPEC)?;
    bench.kiln(&home).arg("bake").arg(&spec).read()?;
    let mut rows = vec![inventory(bench, &home)?];
    rows.extend(matching(bench, &home)?);
    rows.push(secrets(bench)?);
    Ok(rows)
}

fn inventory(bench: &Bench, home: &Path) -> Result<Row, Error> {
    let out = bench.folder("scan-out")?;
    let ours = bench
        .kiln(home)
        .args(["sbom", "big", "--format", "cyclonedx", "--output"])
        .arg(out.join("kiln.json"));
    let store = home.join("store");
    let theirs = |round| {
        let fresh = bench.folder(&format!("trivy-{round}"))?;
        let command = tool("trivy").arg("--cache-dir").arg(&fresh).args(["image", "-q", "--offline-scan"]);
        let command = command.args(["--skip-version-check", "--format", "cyclonedx", "--output"]);
        time(&command.arg(out.join("trivy.json")).arg("--input").arg(&store))
    };
    // In turn, so that what else the machine does falls on both.
    let mut kiln = Vec::new();
    let trivy = repeat(bench.times(5), |round| {
        kiln.push(time(&ours)?);
        theirs(round)
    })?;
    let syft = tool("syft").env("SYFT_CHECK_FOR_APP_UPDATE", "false").args(["scan", "-q", "-o"]);
    let syft = syft.arg(format!("cyclonedx-json={}", out.join("syft.json").display()));
    let syft = syft.arg(format!("oci-dir:{}", store.display()));
    let syft = repeat(bench.times(2).min(2), |_| time(&syft))?;
    let listed = |name: &str| packages(&out.join(name));
    Ok(Row {
        what: "inventory of a Debian image with Python and Node trees".into(),
        unit: Unit::Millis,
        kiln: Ok(median(&kiln)),
        peers: vec![("Trivy", median(&trivy)), ("Syft", median(&syft))],
        aims: vec![Aim::AtMost(1.0 / 3.0, "Trivy")],
        how: format!(
            "CycloneDX of the same image from its compressed layers, nothing cached; {} packages by Kiln, {} by Trivy \
             (which leaves out what came with Debian's packages), {} by Syft",
            listed("kiln.json")?,
            listed("trivy.json")?,
            listed("syft.json")?
        ),
    })
}

/// How many components of a CycloneDX document are packages.
fn packages(path: &Path) -> Result<usize, Error> {
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let components = document["components"].as_array().into_iter().flatten();
    Ok(components.filter(|one| one["purl"].is_string()).count())
}

fn matching(bench: &Bench, home: &Path) -> Result<Vec<Row>, Error> {
    let data = std::env::var_os("KILN_ADVISORIES")
        .map_or_else(|| root().join("../shared/data/advisories"), PathBuf::from);
    if !data.is_dir() {
        let why =
            format!("there are no advisories in {} (KILN_ADVISORIES names another folder)", data.display());
        return Ok(vec![Row::unmeasured("matching against all advisories", &why)]);
    }
    bench.kiln(home).args(["advisories", "update", "--from"]).arg(&data).read()?;
    let out = bench.folder("scan-out")?;
    let (image, affected) = (out.join("image.json"), out.join("affected.json"));
    write(&image, &bench.kiln(home).args(["sbom", "big", "--json"]).read()?)?;
    write(&affected, &helper(&["affected"]).arg(&data).arg("400").read()?)?;
    let advisories = home.join("advisories");
    let mut rows = matches("the image's packages", &advisories, &image)?;
    rows.extend(matches("400 packages that all have advisories", &advisories, &affected)?);
    Ok(rows)
}

/// Matching these packages, the first time in a process and again.
fn matches(which: &str, advisories: &Path, inventory: &Path) -> Result<Vec<Row>, Error> {
    let told = helper(&["match"]).arg(advisories).arg(inventory).read()?;
    let told: Value = serde_json::from_str(&told).unwrap_or_default();
    let row = |when: &str, field: &str, aim: f64| Row {
        what: format!("matching {which} against all advisories, {when}"),
        unit: Unit::Millis,
        kiln: told[field].as_f64().ok_or_else(|| "the helper told nothing".to_owned()),
        peers: Vec::new(),
        aims: vec![Aim::Limit(aim)],
        how: format!(
            "{} packages against {} advisories, {} findings",
            told["packages"], told["advisories"], told["findings"]
        ),
    };
    Ok(vec![row("the first time in a process", "first", 500.0), row("again", "warm", 50.0)])
}

fn secrets(bench: &Bench) -> Result<Row, Error> {
    let wanted: u64 = if bench.quick { 64 << 20 } else { 1 << 30 };
    let corpus = bench.folder("scan-corpus")?;
    // Real files of this machine's packages, as many as wanted.
    let told =
        helper(&["corpus"]).arg(&corpus).arg(wanted.to_string()).args(["/usr/lib", "/usr/share"]).read()?;
    let bytes: f64 = told.trim().parse().unwrap_or_default();
    let rate = |millis: f64| bytes / 1e6 / (millis / 1000.0);
    let told = helper(&["secrets"]).arg(&corpus).read()?;
    let kiln: Value = serde_json::from_str(&told).unwrap_or_default();
    let fresh = bench.folder("trivy-secrets")?;
    let trivy = tool("trivy").arg("--cache-dir").arg(&fresh).args([
        "fs",
        "-q",
        "--scanners",
        "secret",
        "--format",
        "json",
    ]);
    let trivy =
        trivy.args(["--skip-version-check", "--timeout", "30m", "--output"]).arg(fresh.join("out.json"));
    let trivy = time(&trivy.arg(&corpus))?;
    Ok(Row {
        what: "search for secrets in files, megabytes a second".into(),
        unit: Unit::PerSecond,
        kiln: kiln["millis"].as_f64().map(rate).ok_or_else(|| "the helper told nothing".to_owned()),
        peers: vec![("Trivy", rate(trivy))],
        aims: vec![Aim::AtLeast(3.0, "Trivy")],
        how: format!(
            "{:.0} MB of real files from this machine's packages, of which Trivy passes over pictures, archives and the \
             like; {} findings by Kiln, {} by Trivy",
            bytes / 1e6,
            kiln["findings"],
            secrets_of_trivy(&fresh.join("out.json"))?
        ),
    })
}

/// How many secrets a report of Trivy's lists.
fn secrets_of_trivy(path: &Path) -> Result<usize, Error> {
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    let report: Value = serde_json::from_str(&text).unwrap_or_default();
    let files = report["Results"].as_array().into_iter().flatten();
    Ok(files.filter_map(|file| file["Secrets"].as_array()).map(Vec::len).sum())
}

fn tool(name: &str) -> Cmd {
    Cmd::new(name).env("PATH", setup::path())
}

/// What needs Kiln's library rather than its binary.
fn helper(arguments: &[&str]) -> Cmd {
    cargo().args(["bench", "--quiet", "--package", "xtask", "--bench", "scan", "--"]).args(arguments)
}
