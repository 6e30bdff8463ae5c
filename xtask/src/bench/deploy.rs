//! How long a change takes to serve, and how long the way back takes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::stats::{median, millis, wait};
use super::{Aim, Bench, Row, Running, Unit, project, stats};
use crate::{Cmd, Error};

/// `kiln deploy` of three instances of a program that starts in a millisecond.
pub(super) fn blue_green(bench: &Bench) -> Result<Vec<Row>, Error> {
    let up = Up::start(bench, "deploy", "rollout \"blue-green\" {}")?;
    let mut whole = Vec::new();
    let mut switched = Vec::new();
    for round in 0..bench.times(10) {
        let version = format!("v{round}");
        let watch = Watch::start(up.port, &version);
        whole.push(stats::time(&up.deploy(&version))?);
        switched.push(watch.end()?);
    }
    let how = "three instances of the C server, which starts in about a millisecond; a configuration change, so nothing is \
               baked; under one client that asks without pause";
    let row = |what: &str, times: &[f64], aims| Row {
        what: format!("blue-green deploy of 3 instances: {what}"),
        unit: Unit::Millis,
        kiln: Ok(median(times)),
        peers: Vec::new(),
        aims,
        how: how.into(),
    };
    Ok(vec![
        row("`kiln deploy`, old instances drained and stopped", &whole, vec![Aim::Limit(300.0)]),
        row("from the command to all traffic on the new release", &switched, vec![Aim::Limit(300.0)]),
    ])
}

/// `kiln rollback` while the old fleet is still held.
pub(super) fn rollback(bench: &Bench) -> Result<Vec<Row>, Error> {
    let up = Up::start(bench, "rollback", "rollout \"blue-green\" { hold = \"10m\" }")?;
    let mut times = Vec::new();
    for round in 0..bench.times(10) {
        let version = format!("v{round}");
        let log = up.home.join("deploy.log");
        let deploy = Running::start(&up.deploy(&version), &log)?;
        wait("the new release", Duration::from_secs(30), || (ask(up.port)? == version).then_some(()))?;
        let watch = Watch::start(up.port, "v");
        up.kiln().arg("rollback").read()?;
        times.push(watch.end()?);
        drop(deploy);
    }
    Ok(vec![Row {
        what: "rollback while the old fleet stands, to full traffic".into(),
        unit: Unit::Millis,
        kiln: Ok(median(&times)),
        peers: Vec::new(),
        aims: vec![Aim::Limit(100.0)],
        how: "from the start of `kiln rollback` to the last answer of the release that is left, under one client that asks \
              without pause"
            .into(),
    }])
}

/// A project that is up, and goes down in the end.
pub(super) struct Up {
    kiln: PathBuf,
    pub(super) home: PathBuf,
    spec: PathBuf,
    pub(super) port: u16,
}

impl Up {
    pub(super) fn start(bench: &Bench, name: &str, rollout: &str) -> Result<Self, Error> {
        let spec = project::server(bench, name, 3, rollout)?;
        let port = project::port(&spec)?;
        let up = Self { kiln: bench.kiln.clone(), home: bench.folder(&format!("{name}-home"))?, spec, port };
        up.kiln().args(["up", "--detach"]).arg(&up.spec).read()?;
        wait("the service", Duration::from_secs(30), || ask(port))?;
        Ok(up)
    }

    fn kiln(&self) -> Cmd {
        Cmd::new(&self.kiln).env("KILN_HOME", &self.home).dir(&self.spec)
    }

    fn deploy(&self, version: &str) -> Cmd {
        self.kiln().args(["deploy", "--var", &format!("version={version}")]).arg(&self.spec)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        drop(self.kiln().arg("down").arg(&self.spec).output());
        for process in super::memory::processes(&self.kiln, &self.home) {
            drop(Cmd::new("kill").arg(process.id.to_string()).output());
        }
    }
}

/// A client that asks without pause and knows when the last answer of the wrong release came.
struct Watch {
    begun: Instant,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<Instant>>,
}

impl Watch {
    /// `version` is the release that is waited for; an answer counts as the other one's when it is another. The word
    /// `v` stands for any: then the release that answers at first is the one that has to go.
    fn start(port: u16, version: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, wanted) = (stop.clone(), version.to_owned());
        let leaving = ask(port).unwrap_or_default();
        let thread = std::thread::spawn(move || {
            let mut last_wrong = None;
            while !asked.load(Ordering::Relaxed) {
                let Some(answer) = ask(port) else { continue };
                let wrong = if wanted == "v" { answer == leaving } else { answer != wanted };
                if wrong {
                    last_wrong = Some(Instant::now());
                }
            }
            last_wrong
        });
        Self { begun: Instant::now(), stop, thread }
    }

    /// Milliseconds from the start to the last wrong answer.
    fn end(self) -> Result<f64, Error> {
        // A wrong answer after the command has ended would be a lie of the command; look a little longer.
        std::thread::sleep(Duration::from_millis(100));
        self.stop.store(true, Ordering::Relaxed);
        let last = self.thread.join().ok().flatten();
        last.map(|last| millis(last - self.begun)).ok_or_else(|| Error::Measure {
            what: "the switch".into(),
            why: "the old release never answered".into(),
        })
    }
}

/// The version that answers; nothing when nobody does.
fn ask(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.trim().to_owned())
}

/// Whether a folder is the home of a running Kiln.
pub(super) fn home_of(environment: &[u8], home: &Path) -> bool {
    let wanted = format!("KILN_HOME={}", home.display());
    environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
}
