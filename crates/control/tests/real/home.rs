//! A home with a control plane in it; everything of it ends with the test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln_control::api::*;
use kiln_control::client::Client;
use kiln_control::{Event, What};
use kiln_model::*;
use kiln_proxy::ProxyClient;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) struct Home {
    folder: TempDir,
    image: Digest,
    port: u16,
    serve: Option<Child>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("kiln-serve").unwrap();
        let image = crate::image::make(folder.path());
        let port = kiln_testkit::free_port();
        let mut home = Self { folder, image, port, serve: None };
        home.start("serve");
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts a control plane, which may take the place of one that runs.
    pub(crate) fn start(&mut self, mode: &str) {
        let mut child = self.spawn(mode);
        let begun = Instant::now();
        while block_on(self.client().version()).is_err() || !self.own(&child) {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("serve ended: {status}\n{}", self.log("serve.log"));
            }
            assert!(begun.elapsed() < LIMIT, "serve did not answer\n{}", self.log("serve.log"));
            std::thread::sleep(Duration::from_millis(2));
        }
        self.serve = Some(child);
    }

    fn own(&self, child: &Child) -> bool {
        block_on(self.client().version()).is_ok_and(|version| version.pid == child.id())
    }

    /// Starts the process only.
    pub(crate) fn spawn(&self, mode: &str) -> Child {
        std::fs::create_dir_all(self.path().join("log")).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.path().join("log/serve.log"));
        let log = log.unwrap();
        Command::new(std::env::current_exe().unwrap())
            .arg(mode)
            .env("KILN_HOME", self.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join("log").join(name)).unwrap_or_default()
    }

    pub(crate) fn serve_pid(&self) -> u32 {
        self.serve.as_ref().unwrap().id()
    }

    /// Ends the control plane with a signal and waits for its end.
    pub(crate) fn end_serve(&mut self, with: Signal) -> std::process::ExitStatus {
        let mut child = self.serve.take().unwrap();
        signal(child.id(), with);
        child.wait().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::of_home(self.path())
    }

    pub(crate) fn proxy(&self) -> ProxyClient {
        ProxyClient::new(self.path().join("run/proxy.sock"))
    }

    /// A service of three instances that answer with `say`.
    pub(crate) fn content(&self, say: &str, strategy: Strategy) -> ReleaseContent {
        let http = Port { number: 8080, protocol: Protocol::Http };
        let expose = Expose {
            port: name("http"),
            listen: Some(self.port),
            address: None,
            host: None,
            path: "/".into(),
            tls: None,
        };
        let health = Health {
            probe: Probe::Http { path: "/".into(), port: None },
            interval: Span::from_millis(200),
            timeout: Span::from_secs(20),
            rise: 1,
            fall: 3,
            grace: Span::from_secs(90),
        };
        ReleaseContent {
            project: name("shop"),
            service: Service {
                name: name("web"),
                image: name("web"),
                replicas: 3,
                env: BTreeMap::from([("SAY".into(), say.into())]),
                args: None,
                expose: vec![expose],
                volumes: BTreeMap::new(),
                depends_on: Vec::new(),
                limits: Limits::default(),
                rollout: RolloutSpec { strategy, ..RolloutSpec::default() },
                traffic: TrafficSpec::default(),
                max_disrupted: kiln_model::Amount::Percent(25),
                max_lifetime: None,
                secrets: Default::default(),
            },
            image: self.image,
            config: ImageConfig {
                entrypoint: vec!["/server".into()],
                ports: BTreeMap::from([(name("http"), http)]),
                health: Some(health),
                ..ImageConfig::default()
            },
            checks: vec![Check::new(
                "says it",
                name("web"),
                CheckProbe::Http(Box::new(HttpCheck {
                    expect: TextExpect { contains: vec![say.into()], ..TextExpect::default() },
                    ..HttpCheck::default()
                })),
            )],
        }
    }

    pub(crate) fn begin(&self, content: ReleaseContent) -> DeployAnswer {
        let request = DeployRequest {
            environment: name("dev"),
            releases: vec![content],
            author: "ann".into(),
            reason: None,
            force: false,
            freezes: Vec::new(),
            emergency: None,
            proof: Default::default(),
        };
        block_on(self.client().deploy(&request)).unwrap()
    }

    /// Deploys and waits for the end of the rollout.
    pub(crate) fn deploy(&self, content: ReleaseContent) -> What {
        let answer = self.begin(content);
        self.until(answer.after, |event| event.what.ends_rollout()).what
    }

    /// The first event after one that is wanted.
    pub(crate) fn until(&self, after: i64, wanted: impl Fn(&Event) -> bool) -> Event {
        let follow = async {
            let query = EventsQuery { after, follow: true, ..EventsQuery::default() };
            let mut events = self.client().events(&query).await.unwrap();
            while let Some(event) = events.next().await.unwrap() {
                if wanted(&event) {
                    return event;
                }
            }
            panic!("the stream ended");
        };
        let found = block_on(async { tokio::time::timeout(LIMIT, follow).await });
        found.unwrap_or_else(|_| {
            panic!("it did not come: {:#?}\n{}", self.status(), self.log("serve.log"));
        })
    }

    pub(crate) fn status(&self) -> StatusAnswer {
        block_on(self.client().status()).unwrap()
    }

    pub(crate) fn instances(&self) -> Vec<InstanceStatus> {
        block_on(self.client().instances()).unwrap().instances
    }

    /// Waits until something is so.
    pub(crate) fn wait<R>(&self, what: &str, so: impl Fn() -> Option<R>) -> R {
        let begun = Instant::now();
        loop {
            if let Some(result) = so() {
                return result;
            }
            assert!(begun.elapsed() < LIMIT, "{what} did not come\n{}", self.log("serve.log"));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.serve.is_none() {
            self.serve = Some(self.spawn("serve"));
            let begun = Instant::now();
            while block_on(self.client().version()).is_err() && begun.elapsed() < LIMIT {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let down = DownRequest {
            environment: None,
            project: None,
            service: None,
            author: "test".into(),
            reason: None,
        };
        let _ = block_on(self.client().down(&down));
        let begun = Instant::now();
        while begun.elapsed() < LIMIT
            && block_on(self.client().instances()).is_ok_and(|all| !all.instances.is_empty())
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = block_on(self.client().shutdown(&ShutdownRequest { stop_proxy: true }));
        if let Some(mut child) = self.serve.take() {
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("serve.log:\n{}\nproxy.log:\n{}", self.log("serve.log"), self.log("proxy.log"));
        }
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn signal(pid: u32, with: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), with).unwrap();
}

pub(crate) fn block_on<R>(future: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status"))).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
