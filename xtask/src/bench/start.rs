//! Start of one instance.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::stats::median;
use super::{Aim, Bench, Row, Unit, peers, stats, write};
use crate::{Cmd, Error, cargo, setup};

/// From the request to the program's first instruction, for a program that does nothing.
pub(super) fn start(bench: &Bench) -> Result<Vec<Row>, Error> {
    let folder = bench.folder("start")?;
    let bundle = bundle(&folder.join("bundle"))?;
    let runs = bench.times(40);
    let crun = runtime(&folder, "crun", &bundle, runs)?;
    let runc = runtime(&folder, "runc", &bundle, runs)?;
    let docker = docker(bench, &bundle, bench.times(20))?;
    Ok(vec![Row {
        what: "start of one instance, request to exec".into(),
        unit: Unit::Millis,
        kiln: kiln(bench, runs).map_err(|error| super::explain(&error)),
        peers: vec![("crun", crun), ("runc", runc), ("docker", docker)],
        aims: vec![Aim::AtMost(1.5, "crun"), Aim::AtMost(0.1, "docker")],
        how: "Kiln: from asking the provider for the instance to the first instruction of its program, with its record on \
              disk, its address on the bridge, limits and system call filter. crun and runc: `run` of a bundle with \
              /bin/true, the whole life, with no network, limit or filter. docker: `docker run --rm` of the same"
            .into(),
    }])
}

/// The times between the wish and the exec, taken by `xtask/benches/start.rs` with the release binary as supervisor.
fn kiln(bench: &Bench, runs: usize) -> Result<f64, Error> {
    let home = bench.folder("start-home")?;
    let text = cargo()
        .args(["bench", "--quiet", "--package", "xtask", "--bench", "start", "--"])
        .arg(&bench.kiln)
        .arg(&home)
        .arg(runs.to_string())
        .read()?;
    let list = text.lines().last().and_then(|line| serde_json::from_str::<Vec<f64>>(line).ok());
    let times = list.filter(|times| !times.is_empty()).ok_or_else(|| Error::Measure {
        what: "kiln".into(),
        why: "it printed no list of milliseconds".into(),
    })?;
    Ok(median(&times))
}

/// A bundle with busybox, which executes `/bin/true`.
fn bundle(folder: &Path) -> Result<std::path::PathBuf, Error> {
    let bin = folder.join("rootfs/bin");
    fs::create_dir_all(&bin).map_err(Error::file("create", &bin))?;
    let busybox = setup::find("busybox")
        .ok_or_else(|| Error::Measure { what: "start".into(), why: "busybox is not installed".into() })?;
    fs::copy(&busybox, bin.join("busybox")).map_err(Error::file("copy", &busybox))?;
    symlink("busybox", bin.join("true")).map_err(Error::file("link", bin.join("true")))?;
    Cmd::new("runc").arg("spec").dir(folder).env("PATH", setup::path()).read()?;
    let file = folder.join("config.json");
    let text = fs::read_to_string(&file).map_err(Error::file("read", &file))?;
    let mut config: Value = serde_json::from_str(&text)
        .map_err(|error| Error::Measure { what: "start".into(), why: error.to_string() })?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    write(&file, &config.to_string())?;
    Ok(folder.to_path_buf())
}

/// In a mount namespace without the cgroup v2 part of a hybrid set-up, which crun 1.8 refuses.
fn runtime(folder: &Path, name: &str, bundle: &Path, runs: usize) -> Result<f64, Error> {
    let out = folder.join(format!("{name}.json"));
    let measure = format!(
        "hyperfine --shell=none --warmup 3 --runs {runs} --export-json {} '{name} run --bundle {} bench-{name}'",
        out.display(),
        bundle.display()
    );
    let hidden = format!("umount /sys/fs/cgroup/unified 2>/dev/null; {measure}");
    Cmd::new("unshare").args(["--mount", "sh", "-c", &hidden]).env("PATH", setup::path()).read()?;
    let text = fs::read_to_string(&out).map_err(Error::file("read", &out))?;
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    value["results"][0]["median"]
        .as_f64()
        .map(|seconds| seconds * 1000.0)
        .ok_or_else(|| Error::Measure { what: name.into(), why: "hyperfine gave no median".into() })
}

fn docker(bench: &Bench, bundle: &Path, runs: usize) -> Result<f64, Error> {
    let docker = peers::Docker::start(bench)?;
    let tar = bundle.join("root.tar");
    Cmd::new("tar").arg("-C").arg(bundle.join("rootfs")).arg("-cf").arg(&tar).arg(".").read()?;
    docker.import(&tar, "localhost/bench-true")?;
    let run = docker.client().args(["run", "--rm", "localhost/bench-true", "/bin/true"]);
    run.read()?;
    Ok(median(&stats::repeat(runs, |_| stats::time(&run))?))
}
