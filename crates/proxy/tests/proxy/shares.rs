//! Shares of several connections, over several workers, while tables are replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use kiln_proxy::Fleet;

use crate::support::*;

const CLIENTS: usize = 8;

/// Requests by [`CLIENTS`] connections at once as long as `more` says so: what answered how often.
async fn asked(
    addr: std::net::SocketAddr,
    more: impl Fn() -> bool + Clone + Send + 'static,
) -> BTreeMap<String, usize> {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let more = more.clone();
            tokio::spawn(async move {
                let mut connection = Kept::open(addr).await;
                let mut seen = Vec::new();
                while more() {
                    seen.push(connection.get("/").await.unwrap().body);
                }
                seen
            })
        })
        .collect();
    let mut all = BTreeMap::new();
    for client in clients {
        for body in client.await.unwrap() {
            *all.entry(body).or_default() += 1;
        }
    }
    all
}

/// Says yes so often.
fn times(count: usize) -> impl Fn() -> bool + Clone + Send + 'static {
    let left = Arc::new(AtomicUsize::new(count));
    move || left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hundred_requests_of_all_workers_are_shared_out_exactly() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let fleets = |weights: [u8; 3]| -> Vec<Fleet> {
        let servers = [("a", a.addr), ("b", b.addr), ("c", c.addr)];
        let all = (1..).zip(servers).zip(weights);
        all.map(|((number, (id, addr)), weight)| fleet(number, weight, &[instance(id, addr)])).collect()
    };
    let proxy = Proxy::start_with(|config| config.threads = 3).await;
    let addr = proxy.put(&table(1, backend(&fleets([80, 15, 5])))).await[0];
    for (version, weights) in [(2, [80, 15, 5]), (3, [33, 33, 34]), (4, [1, 0, 99])] {
        proxy.put(&table(version, backend(&fleets(weights)))).await;
        for round in 0..4 {
            let seen = asked(addr, times(100)).await;
            let found = ["a", "b", "c"].map(|name| seen.get(name).copied().unwrap_or_default());
            assert_eq!(found, weights.map(usize::from), "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_with_the_same_weights_disturb_no_share() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start_with(|config| config.threads = 3).await;
    let addr = proxy.put(&table(1, two_fleets(7, old.addr, new.addr))).await[0];
    let (asking, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (go_on, counting) = (Arc::clone(&asking), Arc::clone(&count));
    let more = move || go_on.load(SeqCst) && counting.fetch_add(1, SeqCst) < usize::MAX;
    let load = tokio::spawn(asked(addr, more));
    for version in 2_u64.. {
        let mut next = two_fleets(7, old.addr, new.addr);
        // Other instances, another order, one more fleet: nothing that concerns the weights.
        if version % 2 == 0 {
            next.fleets[0].instances.push(instance("more", old.addr));
            next.fleets.reverse();
            next.fleets.insert(1, fleet(version + 1, 0, &[]));
        }
        proxy.put(&table(version, next)).await;
        if version > 40 && count.load(SeqCst) > 1_000 {
            break;
        }
    }
    asking.store(false, SeqCst);
    let mut seen = load.await.unwrap();
    let total = |seen: &BTreeMap<String, usize>| seen.values().sum::<usize>();
    let rest = 100 - total(&seen) % 100;
    for (body, count) in asked(addr, times(rest)).await {
        *seen.entry(body).or_default() += count;
    }
    let hundreds = total(&seen) / 100;
    assert_eq!((seen["old"], seen["new"]), (93 * hundreds, 7 * hundreds), "in {hundreds} hundreds");
}

#[tokio::test]
async fn requests_that_were_not_routed_by_weight_take_nobodys_turn() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start().await;
    let mut fleets = two_fleets(50, old.addr, new.addr);
    let newest: kiln_model::FleetId = "dev/web/2".parse().unwrap();
    fleets.testers = vec![kiln_proxy::Tester { header: "x-test".into(), value: None, fleet: newest.clone() }];
    fleets.preview = Some(kiln_proxy::Preview { header: "kiln-preview".into(), host: None, fleet: newest });
    let addr = proxy.put(&table(1, fleets)).await[0];
    let mut connection = Kept::open(addr).await;
    let mut answers = Vec::new();
    for turn in 0..20 {
        answers.push(connection.get("/").await.unwrap().body);
        let name = ["x-test", "kiln-preview"][turn % 2];
        assert_eq!(connection.send(get_with(name, "next")).await.unwrap().body, "new");
    }
    assert!(answers.windows(2).all(|two| two[0] != two[1]), "{answers:?}");
}
