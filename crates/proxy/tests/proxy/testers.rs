//! Requests that go to a fleet because of a header.

use kiln_model::{Span, Sticky};
use kiln_proxy::{Backend, Preview, RouteTable, Tester};

use crate::support::*;

fn tester(header: &str, value: Option<&str>, fleet: &str) -> Tester {
    Tester { header: header.into(), value: value.map(Into::into), fleet: fleet.parse().unwrap() }
}

fn tested(mut backend: Backend) -> Backend {
    backend.testers = vec![tester("X-Tester", Some("yes"), "dev/web/2"), tester("x-any", None, "dev/web/2")];
    backend
}

#[tokio::test]
async fn a_header_reaches_the_fleet_without_weight_by_http1_and_http2() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, tested(two_fleets(0, old.addr, new.addr)))).await[0];
    let mut http1 = Kept::open(addr).await;
    let mut http2 = open_http2(addr).await;
    for (name, value, body) in [
        ("x-tester", "yes", "new"),
        ("x-any", "whatever", "new"),
        ("x-any", "", "new"),
        ("x-tester", "Yes", "old"),
        ("x-tester", "yes, no", "old"),
        ("x-other", "yes", "old"),
    ] {
        assert_eq!(http1.send(get_with(name, value)).await.unwrap().body, body, "{name}: {value}");
        let answer = http2.send_request(for_http2(get_with(name, value))).await.unwrap();
        assert_eq!(whole(answer).await.unwrap().body, body, "{name}: {value}");
    }
    let mut twice = get_with("x-tester", "no");
    twice.headers_mut().append("x-tester", "yes".parse().unwrap());
    assert_eq!(fetch(addr, twice).await.body, "new");
}

#[tokio::test]
async fn testers_are_above_cookies_below_previews_and_never_without_an_instance() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start().await;
    let mut both = tested(two_fleets(0, old.addr, new.addr));
    both.sticky = Some(Sticky::Cookie { name: "k".into(), max_age: Span::from_secs(60) });
    both.preview =
        Some(Preview { header: "kiln-preview".into(), host: None, fleet: "dev/web/2".parse().unwrap() });
    let addr = proxy.put(&table(1, both.clone())).await[0];
    let mut kept = get_with("x-tester", "yes");
    kept.headers_mut().insert("cookie", "k=0123456789abcdef".parse().unwrap());
    assert_eq!(fetch(addr, kept).await.body, "new");
    let answer = fetch(addr, get_with("x-tester", "yes")).await;
    assert_eq!(answer.body, "new");
    assert!(!answer.headers.contains_key("set-cookie"), "its fleet was not drawn");
    let mut preview = get_with("x-tester", "yes");
    preview.headers_mut().insert("kiln-preview", "1".parse().unwrap());
    assert_eq!(fetch(addr, preview).await.body, "old");
    both.fleets[1].instances.clear();
    proxy.put(&table(2, both.clone())).await;
    assert_eq!(fetch(addr, get_with("x-tester", "yes")).await.body, "old");
    // Its only instance is listed and dead.
    both.fleets[1].instances.push(instance("dead", closed_port().await));
    proxy.put(&table(3, both)).await;
    assert_eq!(fetch(addr, get_with("x-tester", "yes")).await.body, "old");
}

#[tokio::test]
async fn rules_that_cannot_work_are_refused_and_named() {
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let with = |change: &dyn Fn(&mut Backend)| -> RouteTable {
        let mut backend = one_fleet(&[instance("a", server.addr)]);
        change(&mut backend);
        table(1, backend)
    };
    let cookie = |name: &str| Sticky::Cookie { name: name.into(), max_age: Span::from_secs(1) };
    let mirror = |fleet: &str, percent| kiln_proxy::Mirror { fleet: fleet.parse().unwrap(), percent };
    let preview = |header: &str, fleet: &str| Preview {
        header: header.into(),
        host: None,
        fleet: fleet.parse().unwrap(),
    };
    for (table, words) in [
        (
            with(&|b| b.testers = vec![tester("x", None, "dev/web/2")]),
            "a tester names fleet dev/web/2, which",
        ),
        (with(&|b| b.testers = vec![tester("x y", None, "dev/web/1")]), "testers' header \"x y\""),
        (with(&|b| b.testers = vec![tester("x", Some("a\nb"), "dev/web/1")]), "value \"a\\nb\" cannot stand"),
        (with(&|b| b.mirror = Some(mirror("dev/web/2", 1))), "the mirror names fleet dev/web/2, which"),
        (with(&|b| b.mirror = Some(mirror("dev/web/1", 101))), "101 percent"),
        (with(&|b| b.preview = Some(preview("p", "dev/web/2"))), "the preview names fleet dev/web/2, which"),
        (with(&|b| b.preview = Some(preview("p:", "dev/web/1"))), "the preview header \"p:\""),
        (with(&|b| b.sticky = Some(cookie("a;b"))), "the sticky cookie \"a;b\""),
        (with(&|b| b.sticky = Some(Sticky::Header { name: String::new() })), "the sticky header \"\""),
    ] {
        let error = proxy.refused(&table).await;
        assert!(error.contains(words) && error.contains("dev/web/http"), "{error}");
    }
    proxy.put(&with(&|b| b.testers = vec![tester("x", None, "dev/web/1")])).await;
}
