//! Checks against real sockets: by address, through a supervisor's socket, over HTTP/1.1 and HTTP/2.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiln_check::{Direct, Report, Target};
use kiln_model::{
    Check, CheckProbe, Command, CommandCheck, HttpCheck, InstanceId, Name, Port, Protocol, Span, TcpCheck,
    TextExpect,
};
use kiln_provider::{Endpoint, Phase, Provider};
use kiln_testkit::{FakeClock, FakeProvider, fleet_spec};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream, UnixListener};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    if request.uri().path() == "/echo" {
        let header = request.headers()["x-probe"].clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        return Ok(Response::builder().status(201).header("x-probe", header).body(Full::new(body)).unwrap());
    }
    let (status, body) = match request.uri().path() {
        "/" => (200, "hello world".to_owned()),
        "/third" if ASKED.fetch_add(1, Ordering::Relaxed) > 1 => (200, "at last".to_owned()),
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
    let wanted = HttpCheck { path: get.into(), expect: containing(contains), ..HttpCheck::default() };
    probe(endpoint, protocol, CheckProbe::Http(Box::new(wanted))).await
}

fn containing(text: Option<&str>) -> TextExpect {
    TextExpect { contains: text.into_iter().map(Into::into).collect(), ..TextExpect::default() }
}

/// Asks for one thing at one endpoint.
async fn probe(endpoint: Endpoint, protocol: Protocol, probe: CheckProbe) -> Report {
    let (endpoints, ports) = (
        BTreeMap::from([(name("http"), endpoint)]),
        BTreeMap::from([(name("http"), Port { number: 8080, protocol })]),
    );
    let check = Check::new("home page", name("web"), probe);
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
    let told = report.failure.unwrap().to_string();
    assert_eq!(told, "GET /: expected a connection, found connection refused");
}

#[tokio::test]
async fn a_failure_says_what_was_expected_and_found() {
    let addr = server().await;
    let tcp = || Endpoint::Tcp { addr };
    let said = |report: Report| report.failure.unwrap().to_string();
    assert_eq!(
        said(http(tcp(), Protocol::Http, "/none", None).await),
        "GET /none: expected status 200, found status 404; it gave \"no such page\""
    );
    assert_eq!(
        said(http(tcp(), Protocol::Http, "/", Some("goodbye")).await),
        "GET /: expected the body to contain \"goodbye\", found \"hello world\"; it gave \"hello world\""
    );
    let long = said(http(tcp(), Protocol::Http, "/long", None).await);
    assert!(long.chars().count() < 300 && long.ends_with("é…\""), "{long}");
    assert!(said(http(tcp(), Protocol::Http, "no slash", None).await).contains("an absolute path"));
    assert_eq!(
        said(http(tcp(), Protocol::Tcp, "/", None).await),
        "GET /: expected a port to ask, found the image's ports: http"
    );
    let closed = SocketAddr::from(([127, 0, 0, 1], kiln_testkit::free_port()));
    assert!(
        said(http(Endpoint::Tcp { addr: closed }, Protocol::Http, "/", None).await)
            .contains("expected a connection")
    );
}

#[tokio::test]
async fn requests_are_sent_whole_and_answers_looked_at_from_all_sides() {
    let addr = server().await;
    let wanted = HttpCheck {
        method: "POST".into(),
        path: "/echo".into(),
        headers: BTreeMap::from([("x-probe".into(), "kiln".into())]),
        body: Some("{\"a\":{\"b\":[1,\"two\"]}}".into()),
        status: vec![201, 202],
        expect_headers: BTreeMap::from([("x-probe".into(), containing(Some("kil")))]),
        json: BTreeMap::from([("/a/b/0".into(), "1".into()), ("/a/b/1".into(), "two".into())]),
        max_time: Some(Span::from_secs(10)),
        ..HttpCheck::default()
    };
    let ask = async |wanted: &HttpCheck| {
        let probed = CheckProbe::Http(Box::new(wanted.clone()));
        let report = probe(Endpoint::Tcp { addr }, Protocol::Http, probed).await;
        report.failure.map(|failure| (failure.expected, failure.found))
    };
    assert_eq!(ask(&wanted).await, None);
    let other = HttpCheck {
        status: vec![200],
        expect_headers: BTreeMap::from([("x-none".into(), containing(None))]),
        json: BTreeMap::from([("/a/c".into(), "1".into()), ("/a/b/1".into(), "three".into())]),
        ..wanted
    };
    let (expected, found) = ask(&other).await.unwrap();
    assert_eq!(expected, "status 200; a header x-none; /a/b/1 to be \"three\"; /a/c to be \"1\"");
    assert_eq!(found, "status 201; none; \"two\"; no /a/c");
}

#[tokio::test]
async fn conversations_over_tcp_end_when_the_answer_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut question = [0; 6];
                stream.read_exact(&mut question).await.unwrap();
                // It never closes: who asked must know what is enough.
                stream.write_all(b"PONG\n").await.unwrap();
                std::future::pending::<()>().await;
            });
        }
    });
    let ask = async |expect: TextExpect| {
        let wanted = TcpCheck { port: None, send: Some("PING\r\n".into()), expect };
        let mut check = Check::new("ping", name("web"), CheckProbe::Tcp(wanted));
        check.timeout = Span::from_millis(500);
        let (endpoints, ports) = (
            BTreeMap::from([(name("tcp"), Endpoint::Tcp { addr })]),
            BTreeMap::from([(name("tcp"), Port { number: 1, protocol: Protocol::Tcp })]),
        );
        let id = InstanceId("web-1-a".into());
        let target = Target { instance: &id, endpoints: &endpoints, ports: &ports };
        let provider = FakeProvider::new(FakeClock::default(), 1);
        kiln_check::run(&check, &target, &provider, &Direct).await.failure.map(|it| it.to_string())
    };
    assert_eq!(ask(containing(Some("PONG"))).await, None);
    assert_eq!(ask(TextExpect { equals: Some("PONG".into()), ..TextExpect::default() }).await, None);
    assert_eq!(
        ask(containing(Some("LOST"))).await.unwrap(),
        "a connection: expected the answer to contain \"LOST\", found \"PONG\\n\""
    );
}

#[tokio::test]
async fn what_does_not_hold_yet_is_asked_again() {
    let addr = server().await;
    let wanted = HttpCheck { path: "/third".into(), ..HttpCheck::default() };
    let mut check = Check::new("third time", name("web"), CheckProbe::Http(Box::new(wanted)));
    let (endpoints, ports) = (
        BTreeMap::from([(name("http"), Endpoint::Tcp { addr })]),
        BTreeMap::from([(name("http"), Port { number: 8080, protocol: Protocol::Http })]),
    );
    let id = InstanceId("web-1-a".into());
    let target = Target { instance: &id, endpoints: &endpoints, ports: &ports };
    let provider = FakeProvider::new(FakeClock::default(), 1);
    assert!(!kiln_check::run(&check, &target, &provider, &Direct).await.passed());
    check.within = Some(Span::from_secs(60));
    assert!(kiln_check::run(&check, &target, &provider, &Direct).await.passed());
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
        let wanted = CommandCheck {
            command: Command::Line(line.into()),
            exit,
            stdout: containing(contains),
            stderr: TextExpect::default(),
            user: None,
        };
        let check = Check::new("it", name("web"), CheckProbe::Command(wanted));
        let target = Target { instance: &instance.id, endpoints: &endpoints, ports: &ports };
        let report = kiln_check::run(&check, &target, &provider, &Direct).await;
        report.failure.map(|failure| failure.to_string())
    };
    assert_eq!(run("app --version", 0, Some("app --version")).await, None);
    assert_eq!(
        run("app", 1, None).await.unwrap(),
        "`app`: expected exit status 1, found exit status 0; it gave \"app\""
    );
    assert_eq!(
        run("app", 0, Some("2.0")).await.unwrap(),
        "`app`: expected standard output to contain \"2.0\", found \"app\\n\"; it gave \"app\""
    );
    provider.kill(&instance.id);
    assert!(run("app", 0, None).await.unwrap().starts_with("`app`: expected to be executed, found "));
}
