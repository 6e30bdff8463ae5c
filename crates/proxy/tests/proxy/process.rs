//! The data plane as a process: what survives its death, how it stops, how it hands over.
//!
//! The process is this test program, started again for [`proxy_process`] alone.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kiln_proxy::{ProxyClient, ProxyError};
use rustix::process::{Pid, Signal};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::support::*;

const FOLDER: &str = "KILN_PROXY_TEST_FOLDER";
const TAKE_OVER: &str = "KILN_PROXY_TEST_TAKE_OVER";
const DRAIN: &str = "KILN_PROXY_TEST_DRAIN_MILLIS";
const LAME_DUCK: &str = "KILN_PROXY_TEST_LAME_DUCK_MILLIS";

/// Not a test: the body of the child processes below.
#[test]
fn proxy_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut config = config(Path::new(&folder));
    config.take_over = std::env::var_os(TAKE_OVER).is_some();
    if let Ok(millis) = std::env::var(DRAIN) {
        config.drain_timeout = Duration::from_millis(millis.parse().unwrap());
    }
    if let Ok(millis) = std::env::var(LAME_DUCK) {
        config.lame_duck = Duration::from_millis(millis.parse().unwrap());
    }
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    if let Err(error) = kiln_proxy::run(config) {
        eprintln!("{error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// A child process; killed when dropped.
struct Process(Child);

impl Process {
    fn start(folder: &Path, take_over: bool) -> Self {
        Self::start_with(folder, if take_over { &[(TAKE_OVER, "1")] } else { &[] })
    }

    fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::proxy_process", "--nocapture"]).env(FOLDER, folder);
        command.envs(variables.iter().copied());
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        Self(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    async fn exit(mut self) -> std::process::ExitStatus {
        for _ in 0..6_000 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the process does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

async fn up(folder: &Path) -> ProxyClient {
    let client = ProxyClient::new(folder.join("proxy.sock"));
    reachable(&client).await;
    client
}

#[tokio::test]
async fn a_killed_proxy_serves_its_last_table_again_at_the_same_address() {
    let folder = tempfile::tempdir().unwrap();
    let server = named("a").await;
    let process = Process::start(folder.path(), false);
    let client = up(folder.path()).await;
    let wanted = table(7, one_fleet(&[instance("a", server.addr)]));
    client.put_table(&wanted).await.unwrap();
    let addr = client.status().await.unwrap().listeners[0].addr.unwrap();
    // At once after the acknowledgement.
    process.signal(Signal::KILL);
    process.exit().await;
    let _process = Process::start(folder.path(), false);
    let client = up(folder.path()).await;
    assert_eq!(client.table().await.unwrap(), wanted);
    assert_eq!(client.status().await.unwrap().listeners[0].addr, Some(addr));
    assert_eq!(get(addr, "/").await.body, "a");
}

#[tokio::test]
async fn a_damaged_table_is_put_aside_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("proxy");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("table.json"), "{\"table\": {\"vers").unwrap();
    let _process = Process::start(folder.path(), false);
    let client = up(folder.path()).await;
    assert_eq!(client.status().await.unwrap().version, 0);
    assert!(dir.join("table.json.damaged-1").exists() && !dir.join("table.json").exists());
    let log = log(folder.path());
    assert!(log.contains("ERROR") && log.contains("is damaged; it was put aside"), "{log}");
}

#[tokio::test]
async fn a_listener_that_cannot_be_had_again_does_not_keep_the_others_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let server = named("a").await;
    let process = Process::start(folder.path(), false);
    let client = up(folder.path()).await;
    let mut wanted = table(1, one_fleet(&[instance("a", server.addr)]));
    let fixed = kiln_proxy::Bind::Tcp { addr: closed_port().await };
    wanted.listeners.push(http(fixed, vec![route(None, "/", "dev/web/http")]));
    client.put_table(&wanted).await.unwrap();
    let addresses: Vec<_> =
        client.status().await.unwrap().listeners.iter().map(|l| l.addr.unwrap()).collect();
    process.signal(Signal::KILL);
    process.exit().await;
    let held = std::net::TcpListener::bind(addresses[1]).unwrap();
    let _process = Process::start(folder.path(), false);
    let client = up(folder.path()).await;
    assert_eq!(get(addresses[0], "/").await.body, "a");
    let status = client.status().await.unwrap();
    let error = status.listeners[1].error.clone().unwrap();
    assert!(error.contains(&addresses[1].to_string()), "{error}");
    drop(held);
    until(&client, "the port", |status| status.listeners[1].addr.is_some()).await;
    assert_eq!(get(addresses[1], "/").await.body, "a");
}

#[tokio::test]
async fn two_proxies_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), false);
    up(folder.path()).await;
    let mut second = config(folder.path());
    second.control_socket = folder.path().join("other.sock");
    let error = tokio::task::spawn_blocking(|| kiln_proxy::run(second).unwrap_err()).await.unwrap();
    assert!(matches!(error, ProxyError::Locked { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&process.0.id().to_string()) && text.contains("--take-over"), "{text}");
    let mut alone = config(tempfile::tempdir().unwrap().path());
    alone.take_over = true;
    let error = tokio::task::spawn_blocking(|| kiln_proxy::run(alone).unwrap_err()).await.unwrap();
    assert!(matches!(error, ProxyError::TakeOver { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(|_| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        http::Response::new(full("finished"))
    })
    .await;
    // An idle connection lives until it has asked once more; the process ends with the last one.
    let variables = [(LAME_DUCK, "60000"), (DRAIN, "60000")];
    let process = Process::start_with(folder.path(), &variables);
    let client = up(folder.path()).await;
    client.put_table(&table(1, one_fleet(&[instance("a", server.addr)]))).await.unwrap();
    let addr = client.status().await.unwrap().listeners[0].addr.unwrap();
    let mut kept = Kept::open(addr).await;
    kept.get("/").await.unwrap();
    let asked = tokio::spawn(async move { get(addr, "/").await });
    until(&client, "the request", |status| !status.in_flight.is_empty()).await;
    process.signal(Signal::TERM);
    // A kept connection may ask once more, and is told that it was the last time.
    let last = kept.get("/").await.unwrap();
    assert_eq!((last.body.as_str(), &last.headers["connection"]), ("finished", &"close".parse().unwrap()));
    assert_eq!(asked.await.unwrap().body, "finished");
    assert_eq!(process.exit().await.code(), Some(0));
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    assert!(!folder.path().join("proxy.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successors_take_over_without_a_refused_connection_or_a_lost_request() {
    let folder = tempfile::tempdir().unwrap();
    let server = named("a").await;
    let mut process = Process::start(folder.path(), false);
    let client = up(folder.path()).await;
    client.put_table(&table(1, one_fleet(&[instance("a", server.addr)]))).await.unwrap();
    let addr = client.status().await.unwrap().listeners[0].addr.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let mut connection = Kept::open(addr).await;
                let mut count = 0;
                while !stop.load(SeqCst) {
                    let answer = connection.get("/").await.unwrap();
                    assert_eq!(answer.body, "a");
                    count += 1;
                    if number == 0 || answer.headers.contains_key("connection") {
                        connection = Kept::open(addr).await;
                    }
                }
                count
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let successor = Process::start(folder.path(), true);
        let pid = successor.0.id();
        until(&client, "the successor", |status| status.pid == pid).await;
        assert_eq!(process.exit().await.code(), Some(0));
        process = successor;
    }
    stop.store(true, SeqCst);
    for client in clients {
        assert!(client.await.unwrap() > 5);
    }
    assert_eq!(client.status().await.unwrap().version, 1);
}

#[tokio::test]
async fn a_successor_sees_and_leads_what_its_predecessor_still_does() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (named("old").await, named("new").await);
    let echo = raw_server(|_, stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    })
    .await;
    let process = Process::start(folder.path(), false);
    let client = up(folder.path()).await;
    let mut wanted = table(1, one_fleet(&[instance("old", old.addr)]));
    wanted.backends.insert("ws".into(), backend(&[fleet(3, 100, &[instance("ws", echo.addr)])]));
    wanted.listeners[0] = http(any_port(), vec![route(None, "/", "dev/web/http"), route(None, "/ws", "ws")]);
    client.put_table(&wanted).await.unwrap();
    let addr = client.status().await.unwrap().listeners[0].addr.unwrap();
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{addr}/ws")).await.unwrap();
    // The head of a request that the old process will route after the new table is in force.
    let mut late = tokio::net::TcpStream::connect(addr).await.unwrap();
    late.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    until(&client, "the socket", |status| !status.in_flight.is_empty()).await;

    let successor = Process::start(folder.path(), true);
    let pid = successor.0.id();
    let ws = kiln_model::InstanceId("ws".into());
    let seen = |status: &kiln_proxy::Status| status.in_flight.get(&ws).is_some_and(|work| work.upgraded == 1);
    until(&client, "the successor with the old one's work", |status| status.pid == pid && seen(status)).await;
    wanted.version = 2;
    wanted.backends.insert("dev/web/http".into(), one_fleet(&[instance("new", new.addr)]));
    client.put_table(&wanted).await.unwrap();
    late.write_all(b"\r\n").await.unwrap();
    let answer = rest(&mut late).await;
    assert!(answer.ends_with("new"), "{answer}");
    socket.send(Message::text("still")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("still"));
    let status = client.status().await.unwrap();
    drop(socket);
    let news = client.status_after(status.seq).await.unwrap();
    assert!(news.seq > status.seq);
    until(&client, "the end", |status| status.in_flight.is_empty()).await;
    assert_eq!(process.exit().await.code(), Some(0));
    assert_eq!(get(addr, "/").await.body, "new");
}

#[tokio::test]
async fn the_end_of_the_drain_says_goodbye_to_what_does_not_end() {
    let folder = tempfile::tempdir().unwrap();
    let server = raw_server(|_, stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while socket.next().await.is_some() {}
    })
    .await;
    let process = Process::start_with(folder.path(), &[(DRAIN, "300")]);
    let client = up(folder.path()).await;
    client.put_table(&table(1, one_fleet(&[instance("a", server.addr)]))).await.unwrap();
    let addr = client.status().await.unwrap().listeners[0].addr.unwrap();
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{addr}/")).await.unwrap();
    process.signal(Signal::TERM);
    let told = tokio::time::timeout(Duration::from_secs(60), socket.next()).await.unwrap();
    assert!(matches!(told, Some(Ok(Message::Close(Some(_))))), "{told:?}");
    while socket.next().await.is_some() {}
    drop(socket);
    assert_eq!(process.exit().await.code(), Some(0));
}

#[tokio::test]
async fn what_a_predecessor_holds_goes_on_with_the_successors_table() {
    let folder = tempfile::tempdir().unwrap();
    let server = named("new").await;
    let hold = kiln_model::Span::from_secs(600);
    let holding = |backend| kiln_proxy::Backend { hold, ..backend };
    let process = Process::start(folder.path(), false);
    let client = up(folder.path()).await;
    client.put_table(&table(1, holding(backend(&[fleet(1, 0, &[])])))).await.unwrap();
    let addr = client.status().await.unwrap().listeners[0].addr.unwrap();
    let asked = tokio::spawn(async move { get(addr, "/").await });
    until(&client, "the held request", |status| !status.held.is_empty()).await;
    let successor = Process::start(folder.path(), true);
    let pid = successor.0.id();
    until(&client, "the successor", |status| status.pid == pid).await;
    client.put_table(&table(2, holding(one_fleet(&[instance("new", server.addr)])))).await.unwrap();
    assert_eq!(asked.await.unwrap().body, "new");
    assert_eq!(process.exit().await.code(), Some(0));
}
