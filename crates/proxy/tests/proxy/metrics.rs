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
