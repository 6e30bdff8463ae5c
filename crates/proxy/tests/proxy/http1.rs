//! What happens to an HTTP/1 message on its way.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

/// A proxy before one instance.
async fn before(server: &Server) -> (Proxy, std::net::SocketAddr) {
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    (proxy, addr)
}

/// An instance that answers with the head it got.
async fn mirror() -> Server {
    serve(|request: Request<hyper::body::Incoming>| async move {
        let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let body = request.into_body().collect().await.unwrap();
        let trailers = body.trailers().map(|trailers| format!("{trailers:?}\n")).unwrap_or_default();
        Response::new(full(text + &trailers + &String::from_utf8_lossy(&body.to_bytes())))
    })
    .await
}

#[tokio::test]
async fn hop_by_hop_fields_stay_behind_and_the_origin_is_told() {
    let mirror = mirror().await;
    let (_proxy, addr) = before(&mirror).await;
    let answer = raw(
        addr,
        b"GET /a?b HTTP/1.1\r\nHost: Web.test:81\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
          TE: trailers, deflate\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Stay: 2\r\n\r\n",
    )
    .await;
    for present in [
        "GET /a?b HTTP/1.1\n",
        "host: Web.test:81\n",
        "te: trailers\n",
        "x-stay: 2\n",
        "x-forwarded-for: 192.0.2.1, 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: Web.test:81\n",
        "forwarded: for=127.0.0.1;proto=http;host=\"Web.test:81\"\n",
    ] {
        assert!(answer.contains(present), "{present} in {answer}");
    }
    for absent in ["x-hop", "keep-alive", "deflate", "via:"] {
        assert!(!answer.contains(absent), "{absent} in {answer}");
    }
    assert!(answer.contains("connection: close\r\n"));
}

#[tokio::test]
async fn an_absolute_target_is_above_the_host_field() {
    let mirror = mirror().await;
    let (_proxy, addr) = before(&mirror).await;
    let answer =
        raw(addr, b"GET http://a.test/x HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("GET /x HTTP/1.1\nhost: a.test\n"), "{answer}");
    assert!(!answer.contains("b.test"), "{answer}");
}

#[tokio::test]
async fn chunks_trailers_and_their_announcement_pass() {
    let mirror = mirror().await;
    let (_proxy, addr) = before(&mirror).await;
    let answer = raw(
        addr,
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
          3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nx-sum: 5\r\n\r\n",
    )
    .await;
    assert!(
        answer.contains("transfer-encoding: chunked\n") && answer.contains("\"x-sum\": \"5\""),
        "{answer}"
    );
    assert!(answer.ends_with("abcde"), "{answer}");
}

#[tokio::test]
async fn trailers_of_an_answer_pass_to_those_who_take_them() {
    let server = raw_server(|_, mut stream| async move {
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nab\r\n0\r\nx-sum: 2\r\n\r\n";
        say(&mut stream, answer).await;
    })
    .await;
    let (_proxy, addr) = before(&server).await;
    let answer =
        raw(addr, b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close, te\r\n\r\n").await;
    assert!(answer.ends_with("2\r\nab\r\n0\r\nx-sum: 2\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_head() {
    let server = raw_server(|_, mut stream| async move {
        let head = say(&mut stream, "").await;
        let status = if head.starts_with("HEAD") { "200 OK" } else { "304 Not Modified" };
        let _ =
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 1234\r\n\r\n").as_bytes()).await;
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let (_proxy, addr) = before(&server).await;
    for method in ["HEAD", "GET"] {
        let asked = format!(
            "{method} / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(addr, asked.as_bytes()).await;
        // hyper leaves the length of a 304 out, as RFC 9110 §8.6 allows.
        assert!(method == "GET" || answer.to_lowercase().contains("content-length: 1234\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
}

#[tokio::test]
async fn a_large_body_streams_both_ways_without_being_collected() {
    let echo = serve(|request: Request<hyper::body::Incoming>| async move {
        let (_, body) = request.into_parts();
        let body = body.map_frame(|frame| frame);
        Response::new(http_body_util::BodyExt::map_err(body, |error| panic!("{error}")).boxed_unsync())
    })
    .await;
    let (_proxy, addr) = before(&echo).await;
    const SIZE: usize = 64 << 20;
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n");
    writer.write_all(head.as_bytes()).await.unwrap();
    let send = tokio::spawn(async move {
        let block = vec![b'x'; 1 << 16];
        for _ in 0..SIZE / block.len() {
            writer.write_all(&block).await.unwrap();
        }
        writer
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).await.unwrap();
    drop(send.await.unwrap());
    let body = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(all[..15].starts_with(b"HTTP/1.1 200 OK"));
    assert!(all.iter().filter(|byte| **byte == b'x').count() >= SIZE, "{}", all.len() - body);
}

#[tokio::test]
async fn back_pressure_reaches_the_instance() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&sent);
    let server = raw_server(move |_, mut stream| {
        let count = std::sync::Arc::clone(&count);
        async move {
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
            let block = vec![0; 1 << 16];
            while stream.write_all(&block).await.is_ok() {
                count.fetch_add(block.len(), std::sync::atomic::Ordering::SeqCst);
            }
        }
    })
    .await;
    let (proxy, addr) = before(&server).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut before = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = sent.load(std::sync::atomic::Ordering::SeqCst);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < 100 << 20, "{before} bytes were taken for a client that reads nothing");
    // And when the client goes, the instance notices.
    drop(stream);
    proxy.until("the abort to arrive", |status| status.in_flight.is_empty()).await;
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_ends_the_request() {
    let (gone, was_gone) = tokio::sync::mpsc::channel::<()>(1);
    let server = raw_server(move |_, mut stream| {
        let gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.read_u8().await;
            let _ = gone.send(()).await;
        }
    })
    .await;
    let mut was_gone = was_gone;
    let (proxy, addr) = before(&server).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    proxy.until("the request", |status| !status.in_flight.is_empty()).await;
    drop(stream);
    tokio::time::timeout(Duration::from_secs(60), was_gone.recv()).await.unwrap().unwrap();
    proxy.until("its end", |status| status.in_flight.is_empty()).await;
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_has_ended() {
    let server = raw_server(|_, mut stream| async move {
        say(&mut stream, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").await;
        rest(&mut stream).await;
    })
    .await;
    let (_proxy, addr) = before(&server).await;
    let answer = raw(addr, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("\r\n\r\nbig"), "{answer}");
}

#[tokio::test]
async fn the_instance_decides_whether_a_client_goes_on() {
    let server = raw_server(|number, mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.to_lowercase().contains("expect: 100-continue"), "{head}");
        if number == 0 {
            stream
                .write_all(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = [0; 3];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"abc");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
    })
    .await;
    let (_proxy, addr) = before(&server).await;
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let refused = raw(addr, head).await;
    assert!(refused.starts_with("HTTP/1.1 417 "), "{refused}");
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head).await.unwrap();
    assert_eq!(read_head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let seen = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    let was_seen = std::sync::Arc::clone(&seen);
    let server = raw_server(move |_, mut stream| {
        let was_seen = std::sync::Arc::clone(&was_seen);
        async move {
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
            for _ in 0..3 {
                // The next event is sent only when somebody has seen the one before.
                was_seen.acquire().await.unwrap().forget();
                stream.write_all(b"data: x\n\n").await.unwrap();
            }
            std::future::pending::<()>().await;
        }
    })
    .await;
    let (_proxy, addr) = before(&server).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_head(&mut stream).await;
    for _ in 0..3 {
        let mut chunk = [0; 14];
        stream.read_exact(&mut chunk).await.unwrap();
        assert_eq!(&chunk, b"9\r\ndata: x\n\n\r\n");
        seen.add_permits(1);
    }
}

#[tokio::test]
async fn http_1_0_clients_get_what_they_understand() {
    let server = serve(|_| async { Response::new(Full::new(Bytes::from("old")).boxed_unsync()) }).await;
    let (_proxy, addr) = before(&server).await;
    let answer = raw(addr, b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nold"), "{answer}");
    assert!(!answer.to_lowercase().contains("chunked"), "{answer}");
}
