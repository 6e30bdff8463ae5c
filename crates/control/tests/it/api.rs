//! The API over a real Unix socket, with the typed client and with bare bytes.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use kiln_control::api::*;
use kiln_control::client::{Client, ClientError};
use kiln_control::{Api, What};
use kiln_model::*;
use kiln_testkit::Behaviour;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::*;

struct Served {
    client: Client,
    socket: PathBuf,
    shutdown: watch::Sender<Option<ShutdownRequest>>,
    task: JoinHandle<std::io::Result<()>>,
    _folder: tempfile::TempDir,
}

fn served(world: &World) -> Served {
    let folder = tempfile::TempDir::new().unwrap();
    // Longer than a socket's address.
    let deep = folder.path().join("h".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let socket = deep.join("serve.sock");
    let api = Api::bind(&socket).unwrap();
    let (shutdown, _) = watch::channel(None);
    let task = tokio::spawn(api.serve(world.control().clone(), shutdown.clone()));
    Served { client: Client::new(&socket), socket, shutdown, task, _folder: folder }
}

/// Lets time go on while a client waits.
async fn meanwhile<R>(world: &World, asked: impl Future<Output = R>) -> R {
    tokio::pin!(asked);
    loop {
        tokio::select! {
            answer = &mut asked => return answer,
            () = world.turn() => {}
        }
    }
}

#[tokio::test]
async fn a_deploy_is_asked_followed_and_shown() {
    let world = World::new().await;
    let served = served(&world);
    let mode = std::fs::metadata(&served.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = &served.client;
    assert_eq!(client.version().await.unwrap().api, API_VERSION);
    let plan =
        PlanRequest { environment: name("dev"), releases: vec![content("web", 1)], freezes: Vec::new() };
    assert_eq!(client.plan(&plan).await.unwrap().services[0].outcome, Outcome::Started);
    let answer = client.deploy(&request(vec![content("web", 1)])).await.unwrap();
    let query =
        EventsQuery { after: answer.after, follow: true, service: Some(name("web")), ..Default::default() };
    let mut events = client.events(&query).await.unwrap();
    let mut kinds = Vec::new();
    meanwhile(&world, async {
        while let Some(event) = events.next().await.unwrap() {
            let ended = event.what.ends_rollout();
            kinds.push(serde_json::to_value(&event.what).unwrap()["kind"].as_str().unwrap().to_owned());
            if ended {
                break;
            }
        }
    })
    .await;
    for kind in ["released", "started", "stage", "gate", "progress", "succeeded"] {
        assert!(kinds.iter().any(|it| it == kind), "{kind} in {kinds:?}");
    }
    let status = client.status().await.unwrap();
    assert_eq!((status.services[0].ready, status.services[0].replicas), (3, 3));
    assert_eq!(status.services[0].fleets[0].acknowledged, 100);
    let history = client.history(&HistoryQuery { limit: Some(5), ..Default::default() }).await.unwrap();
    assert!(history.releases[0].current && history.releases[0].rollouts.len() == 1);
    let instances = client.instances().await.unwrap().instances;
    assert!(instances.iter().all(|it| it.serving) && instances.len() == 3);
    let one = client.instance(&instances[0].observed.id).await.unwrap();
    assert_eq!(one.observed.id, instances[0].observed.id);
    assert_eq!(client.references().await.unwrap().images, [content("web", 1).image]);
}

#[tokio::test]
async fn every_act_goes_over_the_wire() {
    let world = World::new().await;
    let served = served(&world);
    let client = &served.client;
    world.deploy(content("web", 1)).await;
    let by = InstanceRequest { author: "bob".into(), reason: Some("test".into()) };
    let ids: Vec<_> = world.instances("dev/web/1").iter().map(|it| it.id.clone()).collect();
    assert!(client.taint(&ids[0], &by).await.unwrap().observed.tainted);
    client.stop_instance(&ids[1], &by).await.unwrap();
    let exec =
        ExecBody { argv: vec!["id".into()], timeout: Span::from_secs(1), author: "bob".into(), reason: None };
    assert_eq!(client.exec(&ids[2], &exec).await.unwrap().status, 0);
    world
        .until("all to be replaced", async |it| {
            let here = it.instances("dev/web/1");
            here.iter().all(|it| !ids.contains(&it.id)).then_some(()).filter(|()| here.len() == 3)
        })
        .await;
    world.script("dev/web/2", [Behaviour::never_ready()]);
    client.deploy(&request(vec![content("web", 2)])).await.unwrap();
    world.turn().await;
    let abort =
        AbortRequest { environment: name("dev"), service: name("web"), author: "bob".into(), reason: None };
    let answer = client.abort(&abort).await.unwrap();
    assert!(matches!(world.ended(answer.rollout, answer.after).await, What::RolledBack { .. }));
    world.script("dev/web/3", [Behaviour::exits_at_start(10)]);
    world.deploy(content("web", 3)).await;
    let lift =
        LiftRequest { environment: name("dev"), service: name("web"), release: None, author: "bob".into() };
    assert_eq!(client.lift(&lift).await.unwrap().lifted.len(), 1);
    let down =
        DownRequest { environment: None, project: None, service: None, author: "bob".into(), reason: None };
    assert_eq!(client.down(&down).await.unwrap().services.len(), 1);
    world.settled(&[]).await;
}

#[tokio::test]
async fn errors_come_with_kind_and_hint() {
    let world = World::new().await;
    let served = served(&world);
    let error = served.client.deploy(&request(Vec::new())).await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("add a service block to the spec"));
    let ClientError::Refused(body) = error else { panic!("{error:?}") };
    assert_eq!((body.kind, body.message.as_str()), (ErrorKind::Invalid, "there is no service to deploy"));
    let unknown = served.client.instance(&InstanceId("nope".into())).await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no instance nope");
    for (request, expected) in [
        (
            "POST /v1/deploy HTTP/1.1\r\nhost: k\r\ncontent-length: 3\r\nconnection: close\r\n\r\n{\"x",
            "400 Bad Request",
        ),
        (
            "GET /v1/nothing HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n",
            "there is nothing to ask at /v1/nothing",
        ),
        ("DELETE /v1/status HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n", "400 Bad Request"),
        ("GET /v1/status HTTP/1.1\r\nhost: k\r\nkiln-api: 99\r\nconnection: close\r\n\r\n", "speaks API 99"),
        ("GET /v1/version HTTP/1.1\r\nhost: k\r\nkiln-api: 99\r\nconnection: close\r\n\r\n", "200 OK"),
    ] {
        let mut stream =
            UnixStream::connect(format!("/proc/self/fd/{}/serve.sock", folder(&served))).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(expected), "{request}: {answer}");
    }
}

/// A descriptor of the socket's folder, open for the rest of the test.
fn folder(served: &Served) -> i32 {
    use std::os::fd::IntoRawFd;
    std::fs::File::open(served.socket.parent().unwrap()).unwrap().into_raw_fd()
}

#[tokio::test]
async fn a_server_of_another_version_and_none_at_all_are_told_apart() {
    let folder = tempfile::TempDir::new().unwrap();
    let socket = folder.path().join("s.sock");
    let client = Client::new(&socket);
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let answer = "HTTP/1.1 200 OK\r\nkiln-api: 7\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let error = client.status().await.unwrap_err();
    assert_eq!(error.to_string(), "the control plane that runs speaks API 7, this kiln speaks 1");
    assert!(error.hint().unwrap().contains("kiln serve --replace"));
}

#[tokio::test]
async fn a_shutdown_ends_streams_and_the_server() {
    let world = World::new().await;
    let served = served(&world);
    let mut events = served.client.events(&EventsQuery { follow: true, ..Default::default() }).await.unwrap();
    served.client.shutdown(&ShutdownRequest { stop_proxy: true }).await.unwrap();
    assert_eq!(events.next().await.unwrap(), None);
    served.task.await.unwrap().unwrap();
    assert_eq!(*served.shutdown.borrow(), Some(ShutdownRequest { stop_proxy: true }));
}
