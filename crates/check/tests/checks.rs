//! Checks against real sockets: by address, through a supervisor's socket, over HTTP/1.1 and HTTP/2.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiln_check::{Direct, Report, Target};
use kiln_model::{Check, CheckProbe, Command, InstanceId, Name, Port, Protocol};
use kiln_provider::{Endpoint, Phase, Provider};
use kiln_testkit::{FakeClock, FakeProvider, fleet_spec};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{TcpListener, TcpStream, UnixListener};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match request.uri().path() {
        "/" => (200, "hello world".to_owned()),
        "/long" => (500, "é".repeat(5000)),
        _ => (404, "no such page".to_owned()),
    };
    Ok(Response::builder().status(status).body(Full::new(body.into())).unwrap())
}

/// A server that speaks HTTP/1.1 and HTTP/2.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    addr
}

/// A supervisor that connects to `to` for whoever asks for port 8080, as [`Endpoint::Dial`] says.
fn supervisor(socket: &Path, to: SocketAddr) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut asker, _) = listener.accept().await.unwrap();
            let mut question = [0; 3];
            asker.read_exact(&mut question).await.unwrap();
            let good = question == [b'C', 0x1f, 0x90];
            let stream = TcpStream::connect(to).await.unwrap();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = [stream.as_fd()];
            if good {
                assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
            }
            asker.writable().await.unwrap();
            let byte = [u8::from(!good)];
            asker
                .try_io(Interest::WRITABLE, || {
                    let flags = SendFlags::empty();
                    Ok(rustix::net::sendmsg(&asker, &[IoSlice::new(&byte)], &mut control, flags)?)
                })
                .unwrap();
        }
    });
}

async fn http(endpoint: Endpoint, protocol: Protocol, get: &str, contains: Option<&str>) -> Report {
    let (endpoints, ports) = (
        BTreeMap::from([(name("http"), endpoint)]),
        BTreeMap::from([(name("http"), Port { number: 8080, protocol })]),
    );
    let probe =
        CheckProbe::Http { get: get.into(), port: None, status: 200, contains: contains.map(Into::into) };
    let check = Check { name: "home page".into(), image: name("web"), probe };
    let id = InstanceId("web-1-a".into());
    let target = Target { instance: &id, endpoints: &endpoints, ports: &ports };
    kiln_check::run(&check, &target, &FakeProvider::new(FakeClock::default(), 1), &Direct).await
}

#[tokio::test]
async fn pages_are_asked_by_address_over_both_versions_of_http() {
    let addr = server().await;
    for protocol in [Protocol::Http, Protocol::H2c] {
        let report = http(Endpoint::Tcp { addr }, protocol, "/", Some("hello")).await;
        assert!(report.passed(), "{:?}", report.failure);
    }
}

#[tokio::test]
async fn pages_are_asked_through_a_supervisor_at_any_depth() {
    let addr = server().await;
    let folder = tempfile::TempDir::new().unwrap();
    let deep = folder.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let open = std::fs::File::open(&deep).unwrap();
    supervisor(&PathBuf::from(format!("/proc/self/fd/{}/s.sock", open.as_raw_fd())), addr);
    let socket = deep.join("s.sock");
    let report = http(Endpoint::Dial { socket: socket.clone(), port: 8080 }, Protocol::Http, "/", None).await;
    assert!(report.passed(), "{:?}", report.failure);
    let report = http(Endpoint::Dial { socket, port: 9 }, Protocol::Http, "/", None).await;
    assert_eq!(report.failure.unwrap().to_string(), "cannot connect to port http of the instance");
}

#[tokio::test]
async fn a_failure_says_what_was_expected_and_found() {
    let addr = server().await;
    let tcp = || Endpoint::Tcp { addr };
    let said = |report: Report| report.failure.unwrap().to_string();
    assert_eq!(
        said(http(tcp(), Protocol::Http, "/none", None).await),
        "GET /none answered 404, expected 200; its body begins \"no such page\""
    );
    assert_eq!(
        said(http(tcp(), Protocol::Http, "/", Some("goodbye")).await),
        "GET / answered without the expected text \"goodbye\"; its body begins \"hello world\""
    );
    let long = said(http(tcp(), Protocol::Http, "/long", None).await);
    assert!(long.chars().count() < 300 && long.ends_with("é…\""), "{long}");
    assert!(said(http(tcp(), Protocol::Http, "no slash", None).await).contains("write an absolute path"));
    assert!(said(http(tcp(), Protocol::Tcp, "/", None).await).starts_with("there is no HTTP port"));
    let closed = SocketAddr::from(([127, 0, 0, 1], kiln_testkit::free_port()));
    assert!(
        said(http(Endpoint::Tcp { addr: closed }, Protocol::Http, "/", None).await)
            .contains("cannot connect")
    );
}

#[tokio::test]
async fn commands_run_in_the_instance() {
    let provider = FakeProvider::new(FakeClock::default(), 1);
    let spec = fleet_spec(1);
    provider.ensure_fleet(&spec, 1).await.unwrap();
    provider.clock().advance(1_000);
    let seen = provider.observe().await.unwrap();
    let instance = seen.fleets.values().next().unwrap().instances[0].clone();
    assert_eq!(instance.phase, Phase::Ready);
    let (endpoints, ports) = (BTreeMap::new(), BTreeMap::new());
    let run = async |line: &str, exit: i32, contains: Option<&str>| {
        let probe = CheckProbe::Command {
            command: Command::Line(line.into()),
            exit,
            contains: contains.map(Into::into),
        };
        let check = Check { name: "it".into(), image: name("web"), probe };
        let target = Target { instance: &instance.id, endpoints: &endpoints, ports: &ports };
        let report = kiln_check::run(&check, &target, &provider, &Direct).await;
        report.failure.map(|failure| failure.to_string())
    };
    assert_eq!(run("app --version", 0, Some("app --version")).await, None);
    assert_eq!(run("app", 1, None).await.unwrap(), "app exited with 0, expected 1; it printed \"app\"");
    assert_eq!(
        run("app", 0, Some("2.0")).await.unwrap(),
        "app printed \"app\" without the expected text \"2.0\""
    );
    provider.kill(&instance.id);
    assert_eq!(run("app", 0, None).await.unwrap(), "cannot execute app in the instance");
}
