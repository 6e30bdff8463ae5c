//! Kiln's registry beside docker-registry: large images, many small requests, and collecting garbage.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::proxy::wrk;
use super::stats::{median, repeat, time, wait};
use super::{Aim, Bench, Row, Running, Unit, write};
use crate::{Cmd, Error, cargo, setup};

/// Everything about the registry.
pub(super) fn registry(bench: &Bench) -> Result<Vec<Row>, Error> {
    let mut rows = transfer(bench)?;
    rows.extend(pulls(bench)?);
    rows.extend(garbage(bench)?);
    Ok(rows)
}

/// A registry that runs.
struct Server {
    name: &'static str,
    process: Running,
    address: String,
    folder: PathBuf,
}

impl Server {
    fn kiln(bench: &Bench, folder: PathBuf) -> Result<Self, Error> {
        let log = folder.join("kiln.log");
        let command = bench.kiln(&folder).args(["registry", "serve", "--listen", "127.0.0.1:0"]);
        let process = Running::start(&command, &log)?;
        let told = || {
            let text = fs::read_to_string(&log).ok()?;
            text.lines().find_map(|line| line.strip_prefix("serving http://")).map(str::to_owned)
        };
        let address = wait("kiln registry serve", Duration::from_secs(20), told)?;
        Ok(Self { name: "kiln", process, address, folder })
    }

    fn docker(folder: PathBuf) -> Result<Self, Error> {
        // It cannot say which free port it took, so one is looked for.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let address = free.map_err(Error::file("find a port in", &folder))?.to_string();
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"{address}\"}}\n",
            folder.join("data").display()
        );
        write(&config, &text)?;
        let command = Cmd::new("docker-registry").arg("serve").arg(&config).env("PATH", setup::path());
        let process = Running::start(&command, &folder.join("docker-registry.log"))?;
        let answers = || std::net::TcpStream::connect(&address).ok().map(drop);
        wait("docker-registry", Duration::from_secs(20), answers)?;
        Ok(Self { name: "docker-registry", process, address, folder })
    }

    /// The largest resident set there has been, megabytes.
    fn peak(&self) -> Result<f64, Error> {
        let path = format!("/proc/{}/status", self.process.id());
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0 / 1e6).ok_or_else(|| missing(self.name, "VmHWM"))
    }
}

fn missing(what: &str, part: &str) -> Error {
    Error::Measure { what: what.into(), why: format!("{part} is missing") }
}

/// Both, each with a folder of its own.
fn both(bench: &Bench, purpose: &str) -> Result<[Server; 2], Error> {
    Ok([
        Server::kiln(bench, bench.folder(&format!("registry-{purpose}-kiln"))?)?,
        Server::docker(bench.folder(&format!("registry-{purpose}-docker"))?)?,
    ])
}

/// An OCI layout of eight layers of random bytes, which no side can compress; `size` is in MiB.
fn layout(folder: &Path, size: usize) -> Result<(), Error> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(Error::file("create", &blobs))?;
    let named = |file: &Path, kind: &str| -> Result<(Value, String), Error> {
        let sum = Cmd::new("sha256sum").arg(file).read()?;
        let hex = sum.split(' ').next().unwrap_or_default().to_owned();
        let size = fs::metadata(file).map_err(Error::file("measure", file))?.len();
        fs::rename(file, blobs.join(&hex)).map_err(Error::file("name", file))?;
        Ok((json!({ "mediaType": kind, "digest": format!("sha256:{hex}"), "size": size }), hex))
    };
    let (mut layers, mut plain) = (Vec::new(), Vec::new());
    let (raw, packed) = (folder.join("raw"), folder.join("packed"));
    for _ in 0..8 {
        let words = format!(
            "head -c {}M /dev/urandom > {raw} && gzip -1 -c {raw} > {packed} && sha256sum {raw}",
            size / 8,
            raw = raw.display(),
            packed = packed.display()
        );
        let sum = Cmd::new("sh").args(["-c", &words]).read()?;
        plain.push(format!("sha256:{}", sum.split(' ').next().unwrap_or_default()));
        layers.push(named(&packed, "application/vnd.oci.image.layer.v1.tar+gzip")?.0);
    }
    fs::remove_file(&raw).map_err(Error::file("remove", &raw))?;
    let document = folder.join("document");
    let config =
        json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": plain } });
    write(&document, &config.to_string())?;
    let config = named(&document, "application/vnd.oci.image.config.v1+json")?.0;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    write(&document, &manifest.to_string())?;
    let entry = named(&document, kind)?.0;
    write(&folder.join("index.json"), &json!({ "schemaVersion": 2, "manifests": [entry] }).to_string())?;
    write(&folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}")
}

fn skopeo(from: &str, to: &str) -> Cmd {
    let plain = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
    Cmd::new("skopeo").args(plain).args([from, to]).env("PATH", setup::path())
}

/// Push and pull of one large image, and the memory that takes.
fn transfer(bench: &Bench) -> Result<Vec<Row>, Error> {
    let size = if bench.quick { 64 } else { 1024 };
    let source = bench.folder("registry-image")?;
    layout(&source, size)?;
    let (mut pushes, mut pulls, mut peaks) = ([vec![], vec![]], [vec![], vec![]], [vec![], vec![]]);
    for run in 0..bench.times(3) {
        // Registries of their own each time: one that knows the blobs is not sent them.
        for (index, server) in both(bench, &format!("transfer-{run}"))?.iter().enumerate() {
            let name = format!("docker://{}/bench/large:v1", server.address);
            pushes[index].push(time(&skopeo(&format!("oci:{}", source.display()), &name))?);
            let target = bench.folder("registry-pulled")?;
            pulls[index].push(time(&skopeo(&name, &format!("dir:{}", target.display())))?);
            peaks[index].push(server.peak()?);
            fs::remove_dir_all(&target).map_err(Error::file("remove", &target))?;
            fs::remove_dir_all(&server.folder).map_err(Error::file("remove", &server.folder))?;
        }
    }
    // What skopeo takes for the same bytes when no registry stands between.
    let alone = repeat(bench.times(3), |_| {
        let target = bench.folder("registry-alone")?;
        time(&skopeo(&format!("oci:{}", source.display()), &format!("dir:{}", target.display())))
    })?;
    let how = format!(
        "skopeo over loopback, eight layers of random bytes in gzip, into an empty registry; the pull is written to a \
         folder. skopeo alone, from folder to folder, takes {:.0} ms: it hashes all bytes and writes them",
        median(&alone)
    );
    let row = |what: &str, unit, kiln: f64, peer: f64, aims| Row {
        what: format!("registry: {what}"),
        unit,
        kiln: Ok(kiln),
        peers: vec![("docker-registry", peer)],
        aims,
        how: how.clone(),
    };
    // One and a half times the throughput.
    let faster = || vec![Aim::AtMost(1.0 / 1.5, "docker-registry")];
    let (push, pull) = (format!("push of {size} MiB"), format!("pull of {size} MiB"));
    Ok(vec![
        row(&push, Unit::Millis, median(&pushes[0]), median(&pushes[1]), faster()),
        row(&pull, Unit::Millis, median(&pulls[0]), median(&pulls[1]), faster()),
        row(
            "largest resident set",
            Unit::Megabytes,
            median(&peaks[0]),
            median(&peaks[1]),
            vec![Aim::Limit(57.0)],
        ),
    ])
}

/// A thousand clients that pull a manifest and a small blob in turns.
fn pulls(bench: &Bench) -> Result<Vec<Row>, Error> {
    let servers = both(bench, "pulls")?;
    let source = bench.folder("registry-small")?;
    layout(&source, 8)?;
    let script = source.join("pull.lua");
    let index = source.join("index.json");
    let text = fs::read_to_string(&index).map_err(Error::file("read", &index))?;
    let document: Value = serde_json::from_str(&text).map_err(|_| missing("layout", "index.json"))?;
    let manifest = document["manifests"][0]["digest"].as_str().unwrap_or_default().to_owned();
    let file = source.join("blobs/sha256").join(manifest.trim_start_matches("sha256:"));
    let text = fs::read_to_string(&file).map_err(Error::file("read", &file))?;
    let document: Value = serde_json::from_str(&text).map_err(|_| missing("layout", "the manifest"))?;
    let config = document["config"]["digest"].as_str().unwrap_or_default();
    let lua = format!(
        "local n = 0\nlocal paths = {{'/v2/bench/small/manifests/v1', '/v2/bench/small/blobs/{config}'}}\n\
         request = function()\n  n = n + 1\n  return wrk.format('GET', paths[n % 2 + 1], \
         {{['Accept'] = 'application/vnd.oci.image.manifest.v1+json, application/octet-stream, */*'}})\nend\n"
    );
    write(&script, &lua)?;
    let seconds = if bench.quick { "2s" } else { "10s" };
    let mut samples = [Vec::new(), Vec::new()];
    for server in &servers {
        let name = format!("docker://{}/bench/small:v1", server.address);
        skopeo(&format!("oci:{}", source.display()), &name).read()?;
    }
    for _ in 0..bench.times(5) {
        for (index, server) in servers.iter().enumerate() {
            let command = Cmd::new("wrk").args(["-t", "1", "-c", "1000", "-d", seconds, "--timeout", "10s"]);
            let url = format!("http://{}/", server.address);
            let text =
                command.args(["--latency", "-s"]).arg(&script).arg(url).env("PATH", setup::path()).read()?;
            let sample = wrk(&text).ok_or_else(|| missing(server.name, "what wrk prints"))?;
            if sample.errors > 0 {
                eprintln!("  {}: {} requests failed", server.name, sample.errors);
            }
            samples[index].push((sample.rate, sample.p99));
        }
    }
    let of = |index: usize, pick: fn(&(f64, f64)) -> f64| {
        median(&samples[index].iter().map(pick).collect::<Vec<_>>())
    };
    let row = |what: &str, unit, pick: fn(&(f64, f64)) -> f64, aim| {
        Row {
        what: format!("registry, 1,000 connections: {what}"),
        unit,
        kiln: Ok(of(0, pick)),
        peers: vec![("docker-registry", of(1, pick))],
        aims: vec![aim],
        how: "wrk: a manifest by its tag and a blob of 700 bytes in turns, keep-alive, the generator on the same machine"
            .into(),
    }
    };
    Ok(vec![
        row("pulls", Unit::PerSecond, |it| it.0, Aim::AtLeast(2.0, "docker-registry")),
        row("99th percentile", Unit::Millis, |it| it.1, Aim::AtMost(1.0, "docker-registry")),
    ])
}

/// Garbage among many images.
fn garbage(bench: &Bench) -> Result<Vec<Row>, Error> {
    let (images, loose) = if bench.quick { (500, 2_000) } else { (10_000, 40_000) };
    let (home, folder) = (bench.folder("registry-gc-kiln")?, bench.folder("registry-gc-docker")?);
    let helper = |mode: &str| {
        cargo().args(["bench", "--quiet", "--package", "xtask", "--bench", "registry", "--", mode])
    };
    let fill = |mode: &str, folder: &Path| {
        helper(mode).arg(folder).args([images.to_string(), loose.to_string()]).read()
    };
    fill("fill-kiln", &home)?;
    fill("fill-docker", &folder.join("data"))?;
    let server = Server::kiln(bench, home.clone())?;
    let until = home.join("collected");
    let clients = helper("load").args([&server.address, &images.to_string()]).arg(&until);
    let clients = Clients::start(&clients, &home.join("clients.log"))?;
    let collect = bench.kiln(&home).args(["registry", "gc", "--json"]);
    let begun = std::time::Instant::now();
    let told: Value = serde_json::from_str(&collect.read()?).map_err(|_| missing("kiln", "the report"))?;
    let kiln = super::stats::millis(begun.elapsed());
    write(&until, "")?;
    let served = clients.end()?;
    let freed = told["files"].as_array().map_or(0, Vec::len);
    if freed != loose {
        return Err(missing("kiln", &format!("what makes {freed} of {loose} freed blobs")));
    }
    drop(server);
    let peer = {
        // Its collection wants the registry to be at rest, and has it so here.
        let server = Server::docker(folder.clone())?;
        drop(server);
        let config = folder.join("config.yml");
        time(&Cmd::new("docker-registry").arg("garbage-collect").arg(&config).env("PATH", setup::path()))?
    };
    let collecting = Row {
        what: format!("registry: collecting {loose} of {} blobs, {images} tags", images * 6 + loose),
        unit: Unit::Millis,
        kiln: Ok(kiln),
        peers: vec![("docker-registry", peer)],
        aims: vec![Aim::AtMost(0.5, "docker-registry")],
        how: "`kiln registry gc` while four clients pull and two push as fast as they are answered; `docker-registry \
              garbage-collect` of a registry at rest, as it must be; the same bytes in both"
            .into(),
    };
    Ok(vec![collecting, served])
}

/// Clients that pull and push until they are told to end.
struct Clients {
    process: Running,
    log: PathBuf,
}

impl Clients {
    fn start(command: &Cmd, log: &Path) -> Result<Self, Error> {
        let clients = Self { process: Running::start(command, log)?, log: log.to_owned() };
        clients.line("ready").map(|_| clients)
    }

    fn line(&self, beginning: &str) -> Result<String, Error> {
        let look = || {
            let text = fs::read_to_string(&self.log).ok()?;
            text.lines().find(|line| line.starts_with(beginning)).map(str::to_owned)
        };
        wait("the clients", Duration::from_secs(120), look)
    }

    /// What they did, and what failed.
    fn end(self) -> Result<Row, Error> {
        let line = self.line("{")?;
        drop(self.process);
        let told: Value = serde_json::from_str(&line).map_err(|_| missing("the clients", "what they did"))?;
        let count = |what: &str| told[what].as_u64().unwrap_or_default();
        if let Some(first) = told["first"].as_str() {
            eprintln!("  a request failed: {first}");
        }
        let errors = told["errors"].as_f64().ok_or_else(|| missing("the clients", "the count of errors"))?;
        Ok(Row {
            what: "registry: pulls and pushes that failed while it collected".into(),
            unit: Unit::Count,
            kiln: Ok(errors),
            peers: Vec::new(),
            aims: vec![Aim::Limit(0.0)],
            how: format!(
                "{} pulls and {} pushes meanwhile; every byte compared",
                count("pulls"),
                count("pushes")
            ),
        })
    }
}
