//! The life of the process: start, serve, stop.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::ProxyConfig;
use crate::control::{self, Office};
use crate::disk::Disk;
use crate::error::ProxyError;
use crate::keeper::Keeper;
use crate::live::Live;
use crate::predecessor::{Inheritance, inherit};
use crate::shared::Shared;
use crate::unixpath::ShortPath;
use crate::worker::{self, Handle, Message};

/// Listeners of the kept table that could not be opened are tried again so often.
const RETRY: Duration = Duration::from_secs(1);
/// While stopping, the process looks so often whether all is done.
const LOOK: Duration = Duration::from_millis(10);
/// After the time to drain, upgraded connections may take so long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// Descriptors that are not connections: listeners, event loops, files, the control socket.
const OTHER_DESCRIPTORS: u64 = 256;

/// Runs a data plane until SIGTERM, SIGINT or `POST /v1/stop`, or until a successor has taken over; then finishes
/// what is under way. Makes its own threads and event loops: call it outside of any.
///
/// # Errors
/// When it cannot start. Once it serves, it only ends well.
pub fn run(config: ProxyConfig) -> Result<(), ProxyError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ProxyError::Runtime)?;
    runtime.block_on(live(config))
}

async fn live(config: ProxyConfig) -> Result<(), ProxyError> {
    let (disk, inheritance) = begin(&config).await?;
    let stop_workers = CancellationToken::new();
    let (shared, threads) = start_workers(config, &stop_workers).map_err(ProxyError::Runtime)?;
    let mut keeper = Keeper::new(Arc::clone(&shared), disk);
    let (listeners, old) =
        inheritance.map_or_else(Default::default, |(listeners, old)| (listeners, Some(old)));
    if let Some(kept) = keeper.disk.load() {
        keeper.restore(kept, listeners).await;
    }
    let socket = shared.config.control_socket.clone();
    let listener = listen(&socket).map_err(|source| ProxyError::Control { path: socket.clone(), source })?;
    if let Some(stream) = old {
        let predecessor = Inheritance::ready(stream, Arc::clone(&shared)).await;
        keeper.predecessor = predecessor
            .inspect_err(|error| tracing::warn!(%error, "the old data plane is gone already"))
            .ok();
    }
    let office = Arc::new(Office {
        keeper: Mutex::new(keeper),
        shared,
        stop: CancellationToken::new(),
        handed_over: CancellationToken::new(),
        orphaned: CancellationToken::new(),
    });
    let control = tokio::spawn(control::listen(Arc::clone(&office), listener));
    let retry = tokio::spawn(retry(Arc::clone(&office)));
    tracing::info!(pid = std::process::id(), socket = %socket.display(), "the data plane serves");
    wait_for_stop(&office).await.map_err(ProxyError::Runtime)?;
    retry.abort();
    finish(&office).await;
    if !office.handed_over.is_cancelled() {
        let _ = std::fs::remove_file(&socket);
    }
    control.abort();
    stop_workers.cancel();
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

type Inherited = (Vec<(crate::Bind, std::net::TcpListener)>, tokio::net::UnixStream);

/// Locks the folder, or takes it over.
async fn begin(config: &ProxyConfig) -> Result<(Disk, Option<Inherited>), ProxyError> {
    if !config.take_over {
        return Ok((Disk::lock(&config.dir)?, None));
    }
    let path = &config.control_socket;
    let inheritance =
        inherit(path).await.map_err(|source| ProxyError::TakeOver { path: path.clone(), source })?;
    let (lock, listeners, stream) = inheritance.into_parts();
    Ok((Disk::adopt(&config.dir, lock)?, Some((listeners, stream))))
}

fn start_workers(
    config: ProxyConfig,
    stop: &CancellationToken,
) -> io::Result<(Arc<Shared>, Vec<JoinHandle<()>>)> {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let count = if config.threads == 0 { processors() } else { config.threads };
    let (handles, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| Handle::new()).unzip();
    let most = config.limits.connections.min(connections_possible()).max(1);
    let shared = Shared::new(config, handles, Live::empty(), most);
    let start = |(index, inbox)| {
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        std::thread::Builder::new().name(format!("traffic-{index}")).spawn(move || {
            if let Err(error) = worker::run(index, &shared, inbox, &stop) {
                tracing::error!(%error, index, "a traffic thread cannot work");
            }
        })
    };
    let threads = inboxes.into_iter().enumerate().map(start).collect::<io::Result<_>>()?;
    Ok((shared, threads))
}

/// Raises the limit of open files as far as allowed; a connection needs two, one on each side.
fn connections_possible() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OTHER_DESCRIPTORS) / 2).unwrap_or(usize::MAX)
}

/// Listens on the control socket. It is made beside its place and moved there, so that a client finds the old one or
/// the new one, never none.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut name = socket.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = socket.with_file_name(name);
    let _ = std::fs::remove_file(&beside);
    let short = ShortPath::new(&beside)?;
    let listener = UnixListener::bind(short.path())?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&beside, socket)?;
    Ok(listener)
}

async fn retry(office: Arc<Office>) {
    loop {
        tokio::time::sleep(RETRY).await;
        office.keeper.lock().await.retry().await;
    }
}

async fn wait_for_stop(office: &Office) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = office.stop.cancelled() => {}
    }
    Ok(())
}

/// Stops accepting, tells clients, and waits until the last request has ended or the time is over. A process with a
/// successor takes all the time it needs: the successor sees its work and leads it.
async fn finish(office: &Office) {
    let (shared, config) = (&office.shared, &office.shared.config);
    let handed_over = office.handed_over.is_cancelled();
    office.keeper.lock().await.stop_accepting(handed_over).await;
    shared.tell(|| Message::LameDuck { slot: None });
    let told = async {
        tokio::time::sleep(config.lame_duck).await;
        shared.tell(|| Message::CloseIdle { slot: None });
        std::future::pending::<()>().await;
    };
    let time_over = async {
        if handed_over {
            office.orphaned.cancelled().await;
        }
        tokio::time::sleep(config.drain_timeout).await;
    };
    tokio::select! {
        () = told => {}
        () = idle(shared) => return,
        () = time_over => {}
    }
    shared.stop_holding();
    office.keeper.lock().await.registry.close_upgraded();
    if tokio::time::timeout(GOODBYE, idle(shared)).await.is_err() {
        let left = shared.connections();
        tracing::warn!(left, "the time to drain is over; the remaining connections are cut");
    }
}

/// Waits until no connection is left.
async fn idle(shared: &Shared) {
    while shared.connections() > 0 {
        tokio::time::sleep(LOOK).await;
    }
}
