//! Counters, for the control plane and for Prometheus.

use http::Response;

use crate::support::*;

#[tokio::test]
async fn answers_are_counted_by_fleet_and_class_with_their_latency() {
    let server = serve(|request: http::Request<hyper::body::Incoming>| async move {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        Response::builder().status(status).body(full("x")).unwrap()
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    for path in ["/200", "/201", "/302", "/404", "/500", "/503"] {
        get(addr, path).await;
    }
    let status = proxy.client.status().await.unwrap();
    let fleet = &status.fleets[&"dev/web/1".parse().unwrap()];
    assert_eq!((fleet.requests, fleet.status, fleet.errors), (6, [0, 2, 1, 1, 2], 0));
    assert_eq!(fleet.latency.iter().map(|(_, count)| count).sum::<u64>(), 6);
    assert!(fleet.latency.windows(2).all(|two| two[0].0 < two[1].0));
    let text = proxy.client.metrics().await.unwrap();
    let labels = "environment=\"dev\",service=\"web\",release=\"1\"";
    for line in [
        format!("kiln_proxy_requests_total{{{labels},class=\"5xx\"}} 2"),
        format!("kiln_proxy_errors_total{{{labels}}} 0"),
        format!("kiln_proxy_latency_seconds_bucket{{{labels},le=\"+Inf\"}} 6"),
        format!("kiln_proxy_latency_seconds_count{{{labels}}} 6"),
        "kiln_proxy_table_version 1".into(),
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
    let mut last = 0;
    for line in text.lines().filter(|line| line.starts_with("kiln_proxy_latency_seconds_bucket")) {
        let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(count >= last, "buckets are cumulative: {line}");
        last = count;
    }
}

/// An instance that says these bytes to every connection and closes it.
async fn saying(bytes: &'static str) -> Server {
    raw_server(move |_, mut stream| async move {
        say(&mut stream, bytes).await;
    })
    .await
}

/// Requests, failures and errors of release 1.
fn sums(status: &kiln_proxy::Status) -> (u64, u64, u64) {
    let sums = counted(status, 1);
    (sums.requests, sums.failed, sums.errors)
}

#[tokio::test]
async fn every_request_is_failed_once_or_not_at_all() {
    let proxy = Proxy::start().await;
    let mut version = 0;
    let mut total = (0, 0, 0);
    for (bytes, failed, errors) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, 0),
        ("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", 0, 0),
        ("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", 1, 0),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", 1, 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", 1, 1),
        ("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nno", 1, 1),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 1, 1),
        ("nonsense\r\n\r\n", 1, 1),
        ("", 1, 1),
    ] {
        version += 1;
        let server = saying(bytes).await;
        let one = one_fleet(&[instance(&format!("i-{version}"), server.addr)]);
        let addr = proxy.put(&table(version, one)).await[0];
        let _ = Kept::open(addr).await.send(request("POST", "/", "")).await;
        total = (total.0 + 1, total.1 + failed, total.2 + errors);
        let ended = |status: &kiln_proxy::Status| sums(status) == total && status.in_flight.is_empty();
        proxy.until(&format!("{total:?} after {bytes:?}"), ended).await;
    }
    let text = proxy.client.metrics().await.unwrap();
    let labels = "environment=\"dev\",service=\"web\",release=\"1\"";
    for (name, count) in [("errors", total.2), ("failed", total.1), ("mirrored", 0), ("mirror_dropped", 0)] {
        let line = format!("kiln_proxy_{name}_total{{{labels}}} {count}");
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn what_clients_break_off_is_no_failure() {
    let server = raw_server(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        if head.starts_with("GET /begun") {
            let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok";
            tokio::io::AsyncWriteExt::write_all(&mut stream, begun).await.unwrap();
        }
        // Until the proxy gives up.
        read_head(&mut stream).await;
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    for (path, requests) in [("/begun", 1), ("/silent", 1)] {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        proxy
            .until("the request", |status| {
                !status.in_flight.is_empty() && counted(status, 1).requests == requests
            })
            .await;
        drop(stream);
        proxy.until("its end", |status| status.in_flight.is_empty()).await;
    }
    let counted = proxy.counted(1).await;
    assert_eq!((counted.requests, counted.failed, counted.errors, counted.abandoned), (1, 0, 0, 1));
}

#[tokio::test]
async fn silence_in_an_answer_of_known_length_or_before_it_is_a_failure() {
    let server = raw_server(|_, mut stream| async move {
        let bytes = match read_head(&mut stream).await.split(' ').nth(1) {
            Some("/known") => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
            Some("/events") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            _ => "",
        };
        tokio::io::AsyncWriteExt::write_all(&mut stream, bytes.as_bytes()).await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    let proxy = Proxy::start().await;
    let mut short = one_fleet(&[instance("a", server.addr)]);
    short.idle_timeout = kiln_model::Span::from_secs(2);
    let addr = proxy.put(&table(1, short)).await[0];
    let ended =
        |wanted| move |status: &kiln_proxy::Status| sums(status) == wanted && status.in_flight.is_empty();
    for (path, http2, wanted) in [
        ("/known", false, (1, 1, 1)),
        ("/events", false, (2, 1, 1)),
        ("/known", true, (3, 2, 2)),
        ("/events", true, (4, 2, 2)),
        ("/nothing", false, (5, 3, 3)),
    ] {
        let safe = request("GET", path, "");
        if http2 {
            let answer = open_http2(addr).await.send_request(for_http2(safe)).await.unwrap();
            assert!(whole(answer).await.is_err());
        } else {
            assert!(Kept::open(addr).await.send(safe).await.is_err());
        }
        proxy.until(&format!("{wanted:?} after {path}"), ended(wanted)).await;
    }
    assert_eq!(proxy.counted(1).await.abandoned, 0);
}

#[tokio::test]
async fn the_status_tells_since_when_it_counts() {
    let now = || u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let before = now();
    let proxy = Proxy::start().await;
    let started = proxy.client.status().await.unwrap().started_ms;
    assert!((before..=now()).contains(&started));
    proxy.put(&table(1, one_fleet(&[]))).await;
    assert_eq!(proxy.client.status().await.unwrap().started_ms, started);
}
