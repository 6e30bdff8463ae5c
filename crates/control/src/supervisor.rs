//! Keeping a data plane alive: adopt the one that runs, start one when there is none, again when it dies.
//!
//! It runs in a process group of its own with its own log file, so that it outlives the control plane and a Ctrl-C
//! that was meant for it. What it knows it keeps on disk, so a new one serves before anybody tells it anything.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use kiln_proxy::ProxyClient;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::process::{Child, Command};

/// First and longest wait before another start, when the last one lived for less than the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// How a data plane is started.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    exe: PathBuf,
    home: PathBuf,
    client: ProxyClient,
}

/// Why no data plane runs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SupervisorError {
    #[error("cannot open the data plane's log {path}")]
    Log {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start the data plane {exe}")]
    Start {
        exe: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the data plane ended ({how}); its log is {log}")]
    Ended { how: String, log: PathBuf },
}

impl Supervisor {
    pub(crate) fn new(exe: &Path, home: &Path, client: ProxyClient) -> Self {
        Self { exe: exe.into(), home: home.into(), client }
    }

    /// Keeps one alive for ever; tells of what goes wrong, and when it is well again.
    pub(crate) async fn keep(&self, tell: impl Fn(Result<(), SupervisorError>)) {
        let mut wait = FIRST_RETRY;
        loop {
            let begun = Instant::now();
            if let Ok(status) = self.client.status().await {
                tell(Ok(()));
                outlive(status.pid).await;
            } else {
                match self.start() {
                    Ok(mut child) => {
                        let ended = tokio::select! {
                            ended = child.wait() => ended,
                            () = self.answers() => {
                                tell(Ok(()));
                                child.wait().await
                            }
                        };
                        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                        tell(Err(SupervisorError::Ended { how, log: self.log() }));
                    }
                    Err(error) => tell(Err(error)),
                }
            }
            if begun.elapsed() > LONGEST_RETRY {
                wait = FIRST_RETRY;
                continue;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRY);
        }
    }

    fn log(&self) -> PathBuf {
        self.home.join("log/proxy.log")
    }

    fn start(&self) -> Result<Child, SupervisorError> {
        let path = self.log();
        let open = || -> io::Result<(File, File)> {
            let log = File::options().create(true).append(true).open(&path)?;
            Ok((log.try_clone()?, log))
        };
        let (out, err) = open().map_err(|source| SupervisorError::Log { path: path.clone(), source })?;
        Command::new(&self.exe)
            .arg("proxy")
            .env("KILN_HOME", &self.home)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(|source| SupervisorError::Start { exe: self.exe.clone(), source })
    }

    async fn answers(&self) {
        while self.client.status().await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Waits for the end of a process that is not a child.
async fn outlive(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(descriptor) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return tokio::time::sleep(FIRST_RETRY).await;
    };
    // A pidfd is readable exactly when its process has ended (pidfd_open(2)). The thread waits for nothing else, and
    // ends with it or with this process.
    let (ended, end) = tokio::sync::oneshot::channel();
    let wait = move || {
        while poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], None) == Err(Errno::INTR) {}
        let _ = ended.send(());
    };
    match std::thread::Builder::new().name("proxy-end".into()).spawn(wait) {
        Ok(_) => drop(end.await),
        Err(_) => tokio::time::sleep(LONGEST_RETRY).await,
    }
}
