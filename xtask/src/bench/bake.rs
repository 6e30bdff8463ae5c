//! Baking: against mmdebstrap from nothing, against BuildKit and buildah when little has changed.

use std::fs;
use std::path::{Path, PathBuf};

use super::stats::{median, repeat, time};
use super::{Aim, Bench, Row, Unit, peers, project, write};
use crate::{Cmd, Error};

const SUITE: &str = "bookworm";

/// Everything is downloaded: indices and packages.
pub(super) fn cold(bench: &Bench) -> Result<Vec<Row>, Error> {
    let spec = project::debian(bench)?;
    let ours = repeat(bench.times(5), |round| {
        drop(fs::remove_file(spec.join("kiln.lock")));
        let home = bench.folder(&format!("cold-{round}"))?;
        let taken = time(&bench.kiln(&home).arg("bake").arg(&spec));
        drop(fs::remove_dir_all(&home));
        taken
    })?;
    let sources = peers::sources(SUITE)?;
    let out = bench.folder("mmdebstrap")?.join("cold.tar");
    let theirs = repeat(bench.times(3), |_| time(&mmdebstrap(&out, &sources, None)))?;
    same_packages(&spec, &out)?;
    Ok(vec![Row {
        what: "cold bake of a Debian base with ca-certificates, packages downloaded".into(),
        unit: Unit::Millis,
        kiln: Ok(median(&ours)),
        peers: vec![("mmdebstrap", median(&theirs))],
        aims: vec![Aim::AtMost(0.25, "mmdebstrap")],
        how: format!(
            "`kiln bake` with an empty home and no lock, to a compressed OCI image, against `mmdebstrap \
             --variant=essential --include=ca-certificates,usrmerge` to an uncompressed tar; the same {} packages from the same \
             mirrors",
            count(&spec)?
        ),
    }])
}

/// Packages are there already.
pub(super) fn cached(bench: &Bench) -> Result<Vec<Row>, Error> {
    let spec = project::debian(bench)?;
    let warm = bench.folder("warm")?;
    bench.kiln(&warm).arg("bake").arg(&spec).read()?;
    let ours = repeat(bench.times(7), |round| {
        // A home that has the downloads and nothing else: no image, no layer, no unpacked tree.
        let home = bench.folder(&format!("cached-{round}"))?;
        copy_downloads(&warm, &home)?;
        let taken = time(&bench.kiln(&home).arg("bake").arg(&spec));
        drop(fs::remove_dir_all(&home));
        taken
    })?;
    let sources = peers::sources(SUITE)?;
    let folder = bench.folder("mmdebstrap")?;
    let cache = bench.folder("mmdebstrap/archives")?;
    let out = folder.join("cached.tar");
    mmdebstrap(&out, &sources, Some(&cache)).read()?;
    let theirs = repeat(bench.times(3), |_| time(&mmdebstrap(&out, &sources, Some(&cache))))?;
    Ok(vec![Row {
        what: "the same, packages cached".into(),
        unit: Unit::Millis,
        kiln: Ok(median(&ours)),
        peers: vec![("mmdebstrap", median(&theirs))],
        aims: vec![Aim::AtMost(0.125, "mmdebstrap")],
        how: "a home with nothing but Kiln's package cache (archives that were fetched, verified and unpacked) and a lock, \
              against mmdebstrap with its documented archive cache (`sync-in`/`sync-out` hooks); mmdebstrap still reads \
              the indices, Kiln has the lock"
            .into(),
    }])
}

/// Nothing has changed, then one file of two hundred has.
pub(super) fn rebuild(bench: &Bench) -> Result<Vec<Row>, Error> {
    let spec = project::program(bench)?;
    let home = bench.folder("rebuild")?;
    let kiln = bench.kiln(&home).arg("bake").arg(&spec);
    kiln.read()?;

    let tar = bench.folder("mmdebstrap")?.join("base.tar");
    mmdebstrap(&tar, &peers::sources(SUITE)?, None).read()?;
    write(
        &spec.join("Dockerfile"),
        "FROM localhost/bench-base\nCOPY app/ /srv/app\nENTRYPOINT [\"/bin/sh\", \"/srv/app/file-0\"]\n",
    )?;
    let docker = peers::Docker::start(bench)?;
    docker.import(&tar, "localhost/bench-base")?;
    let buildkit = docker.client().args(["build", "-q", "-t", "bench"]).arg(&spec);
    buildkit.read()?;
    let storage = bench.folder("buildah")?;
    peers::buildah_import(&storage, &tar, "localhost/bench-base")?;
    let buildah = peers::buildah(&storage).args(["bud", "--layers", "-q", "-t", "bench"]).arg(&spec);
    buildah.read()?;

    let mut rows = Vec::new();
    for (what, change) in [("bake with nothing changed", false), ("bake with one source file changed", true)]
    {
        let mut taken = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..bench.times(20) {
            for (tool, command) in [&kiln, &buildkit, &buildah].into_iter().enumerate() {
                if change {
                    edit(&spec, round * 3 + tool)?;
                }
                taken[tool].push(time(command)?);
            }
        }
        rows.push(Row {
            what: what.into(),
            unit: Unit::Millis,
            kiln: Ok(median(&taken[0])),
            peers: vec![("BuildKit", median(&taken[1])), ("buildah", median(&taken[2]))],
            aims: vec![Aim::AtMost(1.0 / 3.0, "BuildKit")],
            how: "a program of 200 files on a Debian base: `kiln bake` against `docker build` with BuildKit (the daemon \
                  is running already) and `buildah bud --layers`, in turn"
                .into(),
        });
    }
    Ok(rows)
}

fn edit(spec: &Path, number: usize) -> Result<(), Error> {
    write(&spec.join("app/file-7"), &format!("echo changed {number}\n"))
}

fn mmdebstrap(out: &Path, sources: &[String], archives: Option<&Path>) -> Cmd {
    let mut command = Cmd::new("mmdebstrap")
        .args(["--quiet", "--variant=essential"])
        .arg(format!("--include={}", project::PACKAGES.join(",")));
    if let Some(archives) = archives {
        let archives = archives.display();
        command = command
            .args(["--skip=download/empty", "--skip=essential/unlink"])
            .arg("--setup-hook=mkdir -p \"$1\"/var/cache/apt/archives/")
            .arg(format!("--setup-hook=sync-in {archives} /var/cache/apt/archives/"))
            .arg(format!("--customize-hook=sync-out /var/cache/apt/archives {archives}"));
    }
    command.arg(SUITE).arg(out).args(sources)
}

/// The lock's packages must be those that mmdebstrap installed, or the comparison is none.
fn same_packages(spec: &Path, tar: &Path) -> Result<(), Error> {
    let status = Cmd::new("tar").arg("-xOf").arg(tar).arg("./var/lib/dpkg/status").read()?;
    let mut theirs: Vec<&str> = status.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
    theirs.sort_unstable();
    let ours = locked(spec)?;
    if ours == theirs {
        return Ok(());
    }
    let only =
        |a: &[&str], b: &[&str]| a.iter().filter(|n| !b.contains(n)).copied().collect::<Vec<_>>().join(" ");
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    eprintln!(
        "  packages differ: only Kiln [{}], only mmdebstrap [{}]",
        only(&ours, &theirs),
        only(&theirs, &ours)
    );
    Ok(())
}

fn count(spec: &Path) -> Result<usize, Error> {
    Ok(locked(spec)?.len())
}

/// Names of the packages that the lock pins, sorted.
fn locked(spec: &Path) -> Result<Vec<String>, Error> {
    let file = spec.join("kiln.lock");
    let text = fs::read_to_string(&file).map_err(Error::file("read", &file))?;
    let mut names: Vec<String> = text
        .split(".deb")
        .filter_map(|part| part.rsplit('/').next())
        .filter_map(|name| Some(name.split_once('_')?.0.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Copies only what was downloaded from one home to another.
fn copy_downloads(from: &Path, to: &Path) -> Result<(), Error> {
    let cache: PathBuf = ["store", "cache", "debian"].iter().collect();
    let target = to.join(&cache);
    fs::create_dir_all(&target).map_err(Error::file("create", &target))?;
    Cmd::new("cp").arg("-a").arg(from.join(&cache).join(".")).arg(&target).read().map(drop)
}
