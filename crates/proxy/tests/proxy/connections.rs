//! Connections to instances: kept, shared, and let go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::AsyncReadExt;

use crate::support::*;

#[tokio::test]
async fn idle_connections_are_let_go_when_their_instance_leaves() {
    let open = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&open);
    let server = raw_server(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, SeqCst);
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            let _ = stream.read_u8().await;
            count.fetch_sub(1, SeqCst);
        }
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    get(addr, "/").await;
    assert_eq!(open.load(SeqCst), 1, "the connection is kept");
    let mut left = fleet(1, 100, &[]);
    left.draining = vec![instance("a", server.addr)];
    proxy.put(&table(2, backend(&[left]))).await;
    for _ in 0..6_000 {
        if open.load(SeqCst) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("an idle connection to a draining instance stays open");
}

#[tokio::test]
async fn a_port_in_use_refuses_the_table_and_names_its_holder() {
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let good = table(1, one_fleet(&[instance("a", server.addr)]));
    let addr = proxy.put(&good).await[0];
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut wanted = good.clone();
    wanted.version = 2;
    let free = http(any_port(), vec![]);
    let taken = http(kiln_proxy::Bind::Tcp { addr: held.local_addr().unwrap() }, vec![]);
    wanted.listeners = vec![free, taken];
    let error = proxy.refused(&wanted).await;
    let port = held.local_addr().unwrap().to_string();
    let holder = format!("process {} (", std::process::id());
    assert!(error.contains(&port) && error.contains(&holder), "{error}");
    assert_eq!(proxy.addresses().await, [addr]);
    assert_eq!(get(addr, "/").await.body, "a");
    drop(held);
    proxy.put(&wanted).await;
}

#[tokio::test]
async fn a_table_that_cannot_be_kept_is_refused() {
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let mut wanted = table(1, one_fleet(&[instance("a", server.addr)]));
    let addr = proxy.put(&wanted).await[0];
    // Even root cannot write to a file where a folder is.
    std::fs::create_dir(proxy.folder().join("proxy/table.json.new")).unwrap();
    wanted.version = 2;
    wanted.listeners.push(wanted.listeners[0].clone());
    let error = proxy.refused(&wanted).await;
    assert!(error.contains("cannot keep the route table in") && error.contains("table.json"), "{error}");
    assert_eq!(proxy.addresses().await, [addr]);
    assert_eq!(get(addr, "/").await.body, "a");
}
