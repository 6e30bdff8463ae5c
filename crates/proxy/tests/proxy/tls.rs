//! TLS ends at the proxy.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiln_proxy::{Certificate, Mode};
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::*;

/// A certificate in two files.
fn certificate(folder: &Path, name: &str) -> (Certificate, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let files =
        Certificate { chain: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
    std::fs::write(&files.chain, cert.pem()).unwrap();
    std::fs::write(&files.key, KeyPair::serialize_pem(&signing_key)).unwrap();
    (files, cert.der().clone())
}

fn client(
    roots: &[CertificateDer<'static>],
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    roots.iter().for_each(|root| store.add(root.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

async fn open(
    config: &Arc<ClientConfig>,
    addr: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    String::from_utf8(all).unwrap()
}

fn with_tls(mut table: kiln_proxy::RouteTable, certificates: &[Certificate]) -> kiln_proxy::RouteTable {
    match &mut table.listeners[0].mode {
        Mode::Http { tls, .. } | Mode::Tcp { tls, .. } => *tls = certificates.to_vec(),
    }
    table
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

#[tokio::test]
async fn names_choose_certificates_and_sessions_are_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (a, a_root) = certificate(folder.path(), "a.test");
    let (b, b_root) = certificate(folder.path(), "b.test");
    let server = named("secret").await;
    let proxy = Proxy::start().await;
    let one = table(1, one_fleet(&[instance("i", server.addr)]));
    let addr = proxy.put(&with_tls(one.clone(), &[a.clone(), b.clone()])).await[0];
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let config = client(&[a_root.clone(), b_root.clone()], &[], versions);
        for name in ["a.test", "b.test"] {
            let mut stream = open(&config, addr, name).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            assert!(ask(&mut stream).await.ends_with("secret"));
        }
        // A new table reads the files anew and forgets no session.
        let version = proxy.client.status().await.unwrap().version + 1;
        let mut again = with_tls(one.clone(), &[a.clone(), b.clone()]);
        again.version = version;
        proxy.put(&again).await;
        let mut stream = open(&config, addr, "a.test").await.unwrap();
        assert!(ask(&mut stream).await.ends_with("secret"));
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    }
    // A stranger's name gets the first certificate, which does not fit it.
    assert!(open(&client(&[a_root], &[], BOTH), addr, "c.test").await.is_err());
}

#[tokio::test]
async fn the_protocol_is_agreed_in_the_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let (files, root) = certificate(folder.path(), "a.test");
    let server = serve(|request: http::Request<hyper::body::Incoming>| async move {
        http::Response::new(full(format!("{:?}", request.headers()["x-forwarded-proto"])))
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&with_tls(table(1, one_fleet(&[instance("i", server.addr)])), &[files])).await[0];
    let stream = open(&client(&[root], &[b"h2", b"http/1.1"], BOTH), addr, "a.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://a.test/").body(Full::new(Bytes::new())).unwrap();
    let answer = whole(sender.send_request(request).await.unwrap()).await.unwrap();
    assert_eq!(answer.body, "\"https\"");
}

#[tokio::test]
async fn certificates_are_renewed_with_a_table_and_bad_ones_refuse_it() {
    let folder = tempfile::tempdir().unwrap();
    let (files, first_root) = certificate(folder.path(), "a.test");
    let server = named("secret").await;
    let proxy = Proxy::start().await;
    let good = with_tls(table(1, one_fleet(&[instance("i", server.addr)])), std::slice::from_ref(&files));
    let addr = proxy.put(&good).await[0];
    assert!(open(&client(&[first_root], &[], BOTH), addr, "a.test").await.is_ok());
    let (_, second_root) = certificate(folder.path(), "a.test");
    let config = client(&[second_root], &[], BOTH);
    assert!(open(&config, addr, "a.test").await.is_err());
    let mut next = good.clone();
    next.version = 2;
    proxy.put(&next).await;
    assert!(open(&config, addr, "a.test").await.is_ok());

    let (other, _) = certificate(folder.path(), "other.test");
    next.version = 3;
    let missing = Certificate { chain: folder.path().join("none.pem"), key: files.key.clone() };
    let mixed = Certificate { chain: files.chain.clone(), key: other.key };
    for (bad, words) in [(missing, "the chain cannot be read"), (mixed, "do not fit each other")] {
        let error = proxy.refused(&with_tls(next.clone(), &[bad])).await;
        assert!(error.contains(words) && error.contains(".pem"), "{error}");
    }
    assert!(open(&config, addr, "a.test").await.is_ok());
}

#[tokio::test]
async fn raw_bytes_come_out_of_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (files, root) = certificate(folder.path(), "a.test");
    let server = raw_server(|_, mut stream| async move {
        let mut four = [0; 4];
        stream.read_exact(&mut four).await.unwrap();
        four.reverse();
        stream.write_all(&four).await.unwrap();
    })
    .await;
    let proxy = Proxy::start().await;
    let addr =
        proxy.put(&with_tls(tcp_table(1, one_fleet(&[instance("i", server.addr)])), &[files])).await[0];
    let mut stream = open(&client(&[root], &[], BOTH), addr, "a.test").await.unwrap();
    stream.write_all(b"abcd").await.unwrap();
    let mut four = [0; 4];
    stream.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"dcba");
}

#[tokio::test]
async fn cookies_set_under_tls_never_leave_it() {
    let folder = tempfile::tempdir().unwrap();
    let (files, root) = certificate(folder.path(), "a.test");
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let mut sticky = one_fleet(&[instance("i", server.addr)]);
    let max_age = kiln_model::Span::from_secs(60);
    sticky.sticky = Some(kiln_model::Sticky::Cookie { name: "lane".into(), max_age });
    let addr = proxy.put(&with_tls(table(1, sticky), &[files])).await[0];
    let mut stream = open(&client(&[root], &[], BOTH), addr, "a.test").await.unwrap();
    let answer = ask(&mut stream).await;
    assert!(answer.contains("; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure\r\n"), "{answer}");
}
