//! One image, and where there is one an instance of it, as expectations are judged by them.

use std::time::Instant;

use kiln_local::Status;
use kiln_model::{CheckProbe, ImageConfig, LogCheck, MemoryCheck, StopCheck};
use kiln_provider::{Phase, Provider};

use super::instance::Started;
use super::place::Place;
use super::{Host, ProveError, Subject, TAIL, Task, load};
use crate::connect::Direct;
use crate::finding::{self, Finding, Judge};
use crate::image::accounts::Accounts;
use crate::image::files::{View, of_instance};
use crate::inside::{mounts, processes, sockets};
use crate::live::{self, until};
use crate::report::CheckResult;
use crate::{Target, goss, image, millis, structure};

/// Lines of a log that are searched.
const LINES: usize = 100_000;

/// What expectations are judged by.
pub(crate) struct Scene<'a> {
    pub(crate) host: &'a Host,
    pub(crate) subject: &'a Subject,
    pub(crate) view: View<'a>,
    pub(crate) running: Option<Running<'a>>,
}

/// The instance, and who runs it.
#[derive(Clone, Copy)]
pub(crate) struct Running<'a> {
    pub(crate) started: &'a Started,
    pub(crate) place: &'a Place,
}

/// Whether an expectation needs something that runs.
pub(crate) fn needs_instance(
    probe: &CheckProbe,
    volumes: &[String],
    host: &Host,
) -> Result<bool, ProveError> {
    Ok(match probe {
        CheckProbe::File(file) => of_instance(&file.path, volumes),
        CheckProbe::User(_) | CheckProbe::Group(_) | CheckProbe::Package(_) | CheckProbe::Config(_) => false,
        CheckProbe::Goss { file } => goss::load(&host.folder.join(file))?.needs_instance(volumes),
        // Its commands get instances of their own.
        CheckProbe::Structure { .. } => false,
        _ => true,
    })
}

/// A result out of a verdict.
pub(crate) fn result(
    task: &Task<'_>,
    what: &str,
    kind: &str,
    millis: u64,
    verdict: Result<(), Finding>,
) -> CheckResult {
    let mut result = CheckResult {
        name: task.check.name.clone(),
        what: what.to_owned(),
        kind: kind.to_owned(),
        passed: verdict.is_ok(),
        millis,
        ..CheckResult::default()
    };
    if let Err(finding) = verdict {
        result.what = if what.is_empty() { finding.what } else { result.what };
        (result.expected, result.found, result.output) = (finding.expected, finding.found, finding.output);
    }
    result
}

impl<'a> Scene<'a> {
    pub(crate) fn of_image(host: &'a Host, subject: &'a Subject, view: View<'a>) -> Self {
        Self { host, subject, view, running: None }
    }

    pub(crate) fn of_instance(
        host: &'a Host,
        subject: &'a Subject,
        view: View<'a>,
        started: &'a Started,
        place: &'a Place,
    ) -> Self {
        Self { host, subject, view, running: Some(Running { started, place }) }
    }

    /// Judges one expectation; a foreign file has many.
    pub(crate) async fn judge(&self, task: &Task<'_>) -> Result<Vec<CheckResult>, ProveError> {
        let mut results = match task.probe {
            CheckProbe::Goss { file } => goss::judge(self, task, &self.host.folder.join(file)).await?,
            CheckProbe::Structure { file } => {
                structure::judge(self, task, &self.host.folder.join(file)).await?
            }
            probe => {
                let began = Instant::now();
                let verdict = self.verdict(task).await;
                vec![result(task, &words(probe), probe.kind(), millis(began.elapsed()), verdict)]
            }
        };
        if let Some(running) = self.running
            && results.iter().any(|result| !result.passed)
        {
            let tail = kiln_local::logs::tail(&running.started.dir, TAIL);
            for result in results.iter_mut().filter(|result| !result.passed && result.log.is_empty()) {
                result.log.clone_from(&tail);
            }
        }
        Ok(results)
    }

    async fn verdict(&self, task: &Task<'_>) -> Result<(), Finding> {
        let within = task.check.within;
        if let Some(verdict) = image::probes::judge(task.probe, &self.view) {
            if verdict.is_ok() || within.is_none() {
                return verdict;
            }
            // A file in a writable place may come later.
            let again = || async { image::probes::judge(task.probe, &self.view).unwrap_or(Ok(())) };
            return until(within, again).await;
        }
        let Some(running) = self.running else {
            return Err(Finding::new(words(task.probe), "an instance to ask", "none"));
        };
        let target = running.target();
        let asked = live::ask(task.check, task.probe, &target, &running.place.provider, &Direct).await;
        match asked {
            Some(verdict) => verdict,
            None => self.of_running(task, running).await,
        }
    }

    async fn of_running(&self, task: &Task<'_>, running: Running<'_>) -> Result<(), Finding> {
        let (within, inside) = (task.check.within, &running.started.inside);
        match task.probe {
            CheckProbe::Listening(wanted) => until(within, || async { sockets::judge(wanted, inside) }).await,
            CheckProbe::Process(wanted) => {
                let accounts = Accounts::read(&self.view).unwrap_or_default();
                until(within, || async { processes::judge(wanted, inside, &accounts) }).await
            }
            CheckProbe::Log(wanted) => {
                until(wanted.within.or(within), || async { running.log(wanted) }).await
            }
            CheckProbe::Start(wanted) => {
                let took = running.started.start_took;
                let mut judge = Judge::new("the start");
                judge.that(took <= wanted.within, format!("healthy within {}", wanted.within), took);
                judge.verdict()
            }
            CheckProbe::Load(wanted) => load::run(wanted, &running.target(), task.check.timeout).await,
            CheckProbe::Memory(wanted) => running.memory(wanted),
            CheckProbe::ReadOnlyRoot(wanted) => mounts::read_only(wanted, inside),
            CheckProbe::Stop(wanted) => running.stop(wanted).await,
            other => Err(Finding::new(words(other), "an expectation of an instance", other.kind())),
        }
    }
}

impl<'a> Running<'a> {
    pub(crate) fn target(&self) -> Target<'a> {
        Target { instance: &self.started.id, endpoints: &self.started.endpoints, ports: &self.config().ports }
    }

    fn config(&self) -> &'a ImageConfig {
        &self.started.spec.release.content.config
    }

    fn log(&self, wanted: &LogCheck) -> Result<(), Finding> {
        let lines = kiln_local::logs::read(&self.started.dir, LINES);
        let lines = lines.map_err(|error| Finding::failed("the log", "to be read", &error))?;
        let text: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.text)).collect();
        let text = text.join("\n");
        let mut judge = Judge::new("the log");
        // What is shown of a log is its end.
        let short = finding::end(&text);
        for part in &wanted.expect.contains {
            judge.that(text.contains(part), format!("the log to contain {part:?}"), format!("{short:?}"));
        }
        for pattern in &wanted.expect.matches {
            let found = finding::matches(pattern, &text).unwrap_or(false);
            judge.that(found, format!("the log to match /{pattern}/"), format!("{short:?}"));
        }
        for part in &wanted.excludes {
            let line = text.lines().find(|line| line.contains(part.as_str())).unwrap_or_default();
            judge.that(line.is_empty() && !text.contains(part), format!("no {part:?} in the log"), line);
        }
        judge.verdict()
    }

    fn memory(&self, wanted: &MemoryCheck) -> Result<(), Finding> {
        let account = self.place.provider.most_memory(&self.started.id);
        let processes = || self.started.inside.processes().iter().map(|process| process.peak).sum();
        let most = kiln_model::Bytes::new(account.unwrap_or_else(processes));
        let mut judge = Judge::new("memory");
        judge.that(most <= wanted.max, format!("at most {}", wanted.max), format!("{most} at the most"));
        judge.verdict()
    }

    async fn stop(&self, wanted: &StopCheck) -> Result<(), Finding> {
        let stop = &self.config().stop;
        let fail = |error: &dyn std::error::Error| Finding::failed("the stop", "to be asked for", error);
        let began = Instant::now();
        self.ended().await.map_err(|error| fail(&error))?;
        let took = kiln_model::Span::from_millis(millis(began.elapsed()));
        let status = std::fs::read(self.started.dir.status()).map_err(|error| fail(&error))?;
        let status: Status = serde_json::from_slice(&status).map_err(|error| fail(&error))?;
        let code = status.exit.as_ref().and_then(|exit| exit.status);
        let mut judge = Judge::new("the stop");
        let limit = wanted.within.unwrap_or(stop.grace).min(stop.grace);
        judge.that(took <= limit, format!("an end within {limit} of {}", stop.signal), took);
        let signal = stop.signal.parse::<nix::sys::signal::Signal>().ok().map(|signal| 128 + signal as i32);
        let shown = code.map_or_else(
            || "no exit status".into(),
            |code| match code {
                137 if stop.signal != "SIGKILL" => "killed with SIGKILL (137)".into(),
                code => format!("exit status {code}"),
            },
        );
        match wanted.exit {
            Some(exit) => judge.that(code == Some(exit), format!("exit status {exit}"), shown),
            None => {
                let good = code == Some(0) || (code.is_some() && code == signal);
                judge.that(good, format!("exit status 0 or an end by {}", stop.signal), shown);
            }
        }
        judge.verdict()
    }

    /// Tells it to stop and waits until it has.
    async fn ended(&self) -> Result<(), kiln_provider::ProviderError> {
        let (provider, spec) = (&self.place.provider, &self.started.spec);
        provider.ensure_fleet(spec, 0).await?;
        provider.drained(&self.started.id).await?;
        loop {
            let seen = provider.observe().await?;
            let fleet = seen.fleets.get(&spec.release.fleet());
            let mut all = fleet.into_iter().flat_map(|fleet| &fleet.instances);
            let mine = all.find(|instance| instance.id == self.started.id);
            if mine.is_none_or(|mine| mine.phase == Phase::Exited) {
                return Ok(());
            }
            provider.changed().await;
        }
    }
}

/// An expectation in a few words.
fn words(probe: &CheckProbe) -> String {
    match probe {
        CheckProbe::Http(it) => format!("{} {}", it.method, it.path),
        CheckProbe::Tcp(it) => it
            .port
            .as_ref()
            .map_or_else(|| "a connection".into(), |port| format!("a connection to port {port}")),
        CheckProbe::Command(it) => format!("`{}`", it.command.argv().join(" ")),
        CheckProbe::File(it) => format!("file {}", it.path),
        CheckProbe::User(it) => format!("user {}", it.name),
        CheckProbe::Group(it) => format!("group {}", it.name),
        CheckProbe::Package(it) => format!("package {}", it.name),
        CheckProbe::Config(_) => "the image's configuration".into(),
        CheckProbe::Listening(it) => format!("port {} is listened on", it.port),
        CheckProbe::Process(it) => format!("process {}", it.name),
        CheckProbe::Log(_) => "the log".into(),
        CheckProbe::Start(it) => format!("start within {}", it.within),
        CheckProbe::Load(it) => format!("load on {}: {} a second for {}", it.get, it.rate, it.duration),
        CheckProbe::Memory(it) => format!("memory of at most {}", it.max),
        CheckProbe::ReadOnlyRoot(_) => "a read-only root".into(),
        CheckProbe::Stop(_) => "a graceful stop".into(),
        CheckProbe::Goss { file } | CheckProbe::Structure { file } => file.clone(),
    }
}
