//! Requests that two readers could understand in two ways.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt;

use crate::support::*;

/// An instance that keeps every byte it gets and answers every head.
async fn recorder() -> (Server, Arc<Mutex<String>>) {
    let heard = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&heard);
    let server = raw_server(move |_, mut stream| {
        let into = Arc::clone(&into);
        async move {
            let mut some = [0; 4_096];
            while let Ok(length @ 1..) = stream.read(&mut some).await {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&some[..length]));
                use tokio::io::AsyncWriteExt;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    (server, heard)
}

/// What a client is told and what the instance hears.
async fn ask(bytes: &str) -> (String, String) {
    let (server, heard) = recorder().await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let told = raw(addr, bytes.as_bytes()).await;
    let heard = heard.lock().unwrap().to_lowercase();
    (told, heard)
}

async fn refused(bytes: &str, status: &str) {
    let (told, heard) = ask(bytes).await;
    assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?} got {told}");
    assert_eq!(heard, "", "{bytes:?}");
}

#[tokio::test]
async fn lengths_and_codings_that_can_be_read_in_two_ways_are_refused() {
    for bytes in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        refused(bytes, "400").await;
    }
    refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501").await;
    refused("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "405").await;
}

#[tokio::test]
async fn a_length_beside_a_coding_is_dropped_and_the_connection_closed() {
    for head in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: Chunked\r\nContent-Length: 6\r\nConnection: keep-alive\r\n",
    ] {
        let bytes = format!(
            "POST /one HTTP/1.1\r\nHost: a\r\n{head}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let (told, heard) = ask(&bytes).await;
        assert_eq!(told.matches("HTTP/1.1").count(), 1, "{told}");
        assert!(heard.contains("post /one") && !heard.contains("smuggled"), "{heard}");
        assert!(!heard.contains("content-length: 6"), "{heard}");
    }
}

#[tokio::test]
async fn chunks_that_lie_do_not_become_requests() {
    for chunks in ["3\nabc\r\n0\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n", "3 \r\nabcX0\r\n\r\n", "-1\r\n\r\n"] {
        let bytes = format!(
            "POST /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let (_, heard) = ask(&bytes).await;
        assert!(!heard.contains("smuggled"), "{chunks:?}: {heard}");
    }
}

#[tokio::test]
async fn two_requests_in_one_packet_are_two_requests() {
    let (told, heard) =
        ask("GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
    assert_eq!(told.matches("HTTP/1.1 200").count(), 2, "{told}");
    assert!(heard.contains("get /one") && heard.contains("get /two"));
}
