//! Descriptors from instances' supervisors.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use kiln_model::InstanceId;
use kiln_proxy::{Bind, Endpoint, Instance};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::support::*;

/// A supervisor whose instance has `port` at `inside`; it listens in a folder whose path is long.
async fn supervisor(folder: &Path, port: u16, inside: std::net::SocketAddr) -> PathBuf {
    let folder = folder.join("x".repeat(90)).join("y".repeat(90));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("shim.sock");
    let handle = std::fs::File::open(&folder).unwrap();
    use std::os::fd::AsRawFd;
    let short = format!("/proc/self/fd/{}/shim.sock", handle.as_raw_fd());
    let listener = UnixListener::bind(short).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut ask = [0; 3];
            stream.read_exact(&mut ask).await.unwrap();
            let asked = u16::from_be_bytes([ask[1], ask[2]]);
            match ask[0] {
                b'C' if asked == port => hand(&stream, TcpStream::connect(inside).await.ok()).await,
                b'L' => hand(&stream, TcpListener::bind(("127.0.0.1", asked)).await.ok()).await,
                _ => hand(&stream, None::<TcpStream>).await,
            }
        }
    });
    socket
}

async fn hand(stream: &UnixStream, socket: Option<impl AsFd>) {
    stream.writable().await.unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let answer = [u8::from(socket.is_none())];
    let bytes = [std::io::IoSlice::new(&answer)];
    rustix::net::sendmsg(stream, &bytes, &mut control, SendFlags::empty()).unwrap();
}

fn dialled(id: &str, socket: &Path, port: u16) -> Instance {
    Instance { id: InstanceId(id.into()), endpoint: Endpoint::Dial { socket: socket.into(), port } }
}

#[tokio::test]
async fn instances_are_reached_and_listened_in_through_their_supervisors() {
    let server = named("inside").await;
    let folder = tempfile::tempdir().unwrap();
    let socket = supervisor(folder.path(), 8080, server.addr).await;
    assert!(socket.as_os_str().len() > 108);
    let proxy = Proxy::start().await;
    let mut wanted = table(1, one_fleet(&[dialled("a", &socket, 8080)]));
    let inner = closed_port().await;
    let bind = Bind::Inside { socket: socket.clone(), port: inner.port() };
    wanted.listeners.push(http(bind, vec![route(None, "/", "dev/web/http")]));
    let addr = proxy.put(&wanted).await[0];
    assert_eq!(get(addr, "/").await.body, "inside");
    assert_eq!(get(inner, "/").await.body, "inside");
    let status = proxy.client.status().await.unwrap();
    assert_eq!(status.listeners[1].addr, None);

    // A port that the instance refuses is an instance that refuses.
    wanted.version = 2;
    wanted
        .backends
        .insert("dev/web/http".into(), one_fleet(&[dialled("a", &socket, 1), instance("b", server.addr)]));
    proxy.put(&wanted).await;
    for _ in 0..4 {
        assert_eq!(get(addr, "/").await.body, "inside");
    }
    wanted.version = 3;
    wanted.listeners.push(http(Bind::Inside { socket: folder.path().join("none"), port: 1 }, vec![]));
    let error = proxy.refused(&wanted).await;
    assert!(error.contains("port 1 inside the instance behind"), "{error}");
}
