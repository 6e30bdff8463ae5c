//! Clients that stay with their fleet.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use kiln_model::{Span, Sticky};
use kiln_proxy::Backend;

use crate::support::*;

fn by_cookie(mut backend: Backend) -> Backend {
    backend.sticky = Some(Sticky::Cookie { name: "lane".into(), max_age: Span::from_secs(86_400) });
    backend
}

fn by_header(mut backend: Backend) -> Backend {
    backend.sticky = Some(Sticky::Header { name: "X-User".into() });
    backend
}

/// A request with these cookies.
fn with(cookies: &str) -> Request<Full<Bytes>> {
    get_with("cookie", cookies)
}

/// The cookie that an answer sets, as the client sends it.
fn cookie(answer: &Answer) -> Option<String> {
    let set = answer.headers.get("set-cookie")?.to_str().unwrap();
    Some(set.split(';').next().unwrap().to_owned())
}

/// Where clients with these cookies are served.
async fn served(addr: SocketAddr, cookies: &[String]) -> Vec<String> {
    let mut connection = Kept::open(addr).await;
    let mut all = Vec::new();
    for cookie in cookies {
        let answer = connection.send(with(&format!("a=1; {cookie}; z=2"))).await.unwrap();
        assert!(!answer.headers.contains_key("set-cookie"), "a readable cookie is kept");
        all.push(answer.body);
    }
    all
}

#[tokio::test]
async fn nobody_leaves_the_new_fleet_while_its_weight_grows() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start().await;
    let at = |weight| by_cookie(two_fleets(weight, old.addr, new.addr));
    let addr = proxy.put(&table(1, at(5))).await[0];
    // Two hundred clients come without a cookie: their shares are exact.
    let mut connection = Kept::open(addr).await;
    let (mut cookies, mut before) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let answer = connection.get("/").await.unwrap();
        cookies.push(cookie(&answer).expect("a cookie is set"));
        before.push(answer.body);
    }
    assert_eq!(before.iter().filter(|body| *body == "new").count(), 10);
    assert_eq!(served(addr, &cookies).await, before, "with the cookie it is the same fleet");
    for (version, weight) in [(2, 25), (3, 75), (4, 100)] {
        proxy.put(&table(version, at(weight))).await;
        let after = served(addr, &cookies).await;
        let left = before.iter().zip(&after).filter(|(before, after)| *before == "new" && *after == "old");
        assert_eq!(left.count(), 0, "went back at {weight} %");
        let with_new = after.iter().filter(|body| *body == "new").count();
        // Four standard deviations of a fair hash are 24 of 200.
        assert!(with_new.abs_diff(2 * usize::from(weight)) <= 25, "{with_new} of 200 at {weight} %");
        before = after;
    }
    assert!(before.iter().all(|body| body == "new"));
}

#[tokio::test]
async fn another_proxy_sends_the_same_client_to_the_same_fleet() {
    let (old, new) = (named("old").await, named("new").await);
    let at = |weight| by_cookie(two_fleets(weight, old.addr, new.addr));
    let (one, other) = (Proxy::start().await, Proxy::start().await);
    let first = one.put(&table(1, at(50))).await[0];
    let mut reordered = at(50);
    reordered.fleets.reverse();
    let second = other.put(&table(9, reordered)).await[0];
    let mut cookies = Vec::new();
    for _ in 0..40 {
        cookies.push(cookie(&get(first, "/").await).unwrap());
    }
    assert_eq!(served(first, &cookies).await, served(second, &cookies).await);
    // The documented hash: these two are below and above the middle in every version.
    let known = ["lane=0123456789abcdef", "lane=0000000000000003"].map(str::to_owned);
    let halves = served(first, &known).await;
    assert_eq!(halves, served(second, &known).await);
    assert_eq!(halves, ["old", "new"]);
}

#[tokio::test]
async fn cookies_are_set_where_there_is_none_and_the_instances_own_stay() {
    let server = serve(|request: Request<hyper::body::Incoming>| async move {
        let seen = request.headers().get("cookie").map_or("none", |value| value.to_str().unwrap()).to_owned();
        Response::builder().header("set-cookie", "own=1").body(full(seen)).unwrap()
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, by_cookie(one_fleet(&[instance("a", server.addr)])))).await[0];
    let mut last = String::new();
    for cookies in ["", "other=1", "lane=", "lane=mine", "lane=0123456789ABCDEF", "lane=0123456789abcdef0"] {
        let answer = fetch(addr, with(cookies)).await;
        let all: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap()).collect();
        let [own, set] = all[..] else { panic!("{cookies}: {all:?}") };
        assert_eq!((own, answer.body.as_str()), ("own=1", cookies));
        let (key, rest) = set.strip_prefix("lane=").unwrap().split_at(16);
        assert!(key.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{set}");
        assert_eq!(rest, "; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax");
        assert_ne!(key, last);
        last = key.to_owned();
    }
    let mut http2 = open_http2(addr).await;
    let mut split = for_http2(with("a=1"));
    split.headers_mut().append("cookie", format!("lane={last}").parse().unwrap());
    let answer = whole(http2.send_request(split).await.unwrap()).await.unwrap();
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 1, "{:?}", answer.headers);
    let answer = http2.send_request(for_http2(request("GET", "/", ""))).await.unwrap();
    assert_eq!(answer.headers().get_all("set-cookie").iter().count(), 2);
}

#[tokio::test]
async fn a_handshake_that_leaves_http_sets_the_cookie_too() {
    let server = raw_server(|_, mut stream| async move {
        say(&mut stream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            .await;
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, by_cookie(one_fleet(&[instance("a", server.addr)])))).await[0];
    let answer = raw(addr, b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        .await
        .to_lowercase();
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("set-cookie: lane="), "{answer}");
}

#[tokio::test]
async fn clients_of_a_fleet_without_instances_are_served_by_another_and_come_back() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start().await;
    let whole = by_cookie(two_fleets(50, old.addr, new.addr));
    let addr = proxy.put(&table(1, whole.clone())).await[0];
    let mut cookies = Vec::new();
    for _ in 0..20 {
        cookies.push(cookie(&get(addr, "/").await).unwrap());
    }
    let before = served(addr, &cookies).await;
    assert_eq!(before.iter().filter(|body| *body == "new").count(), 10);
    let mut without = whole.clone();
    without.fleets[1].instances.clear();
    proxy.put(&table(2, without.clone())).await;
    assert!(served(addr, &cookies).await.iter().all(|body| body == "old"));
    // Listed, but dead: found out by the request itself.
    without.fleets[1].instances.push(instance("dead", closed_port().await));
    proxy.put(&table(3, without)).await;
    assert!(served(addr, &cookies).await.iter().all(|body| body == "old"));
    let fresh = get(addr, "/").await;
    assert_eq!((fresh.status.as_u16(), cookie(&fresh).is_some()), (200, true));
    proxy.put(&table(4, whole)).await;
    assert_eq!(served(addr, &cookies).await, before);
}

#[tokio::test]
async fn a_header_of_the_client_keeps_it_and_those_without_go_by_weight() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start().await;
    let at = |weight| by_header(two_fleets(weight, old.addr, new.addr));
    let addr = proxy.put(&table(1, at(40))).await[0];
    let mut before = Vec::new();
    let mut http2 = open_http2(addr).await;
    for user in 0..60 {
        let user = format!("user-{user}");
        let first = fetch(addr, get_with("x-user", &user)).await;
        assert!(!first.headers.contains_key("set-cookie"));
        let again = http2.send_request(for_http2(get_with("x-user", &user))).await.unwrap();
        assert_eq!(first.body, whole(again).await.unwrap().body, "{user}");
        before.push((user, first.body));
    }
    assert!(before.iter().any(|(_, body)| body == "new") && before.iter().any(|(_, body)| body == "old"));
    let mut connection = Kept::open(addr).await;
    let mut by_weight = 0;
    for turn in 0..100 {
        let unknown = if turn % 2 == 0 { request("GET", "/", "") } else { get_with("x-user", "") };
        by_weight += usize::from(connection.send(unknown).await.unwrap().body == "new");
    }
    assert_eq!(by_weight, 40);
    proxy.put(&table(2, at(60))).await;
    for (user, body) in &before {
        let after = connection.send(get_with("x-user", user)).await.unwrap().body;
        assert!(body == "old" || after == "new", "{user} went back");
    }
}
