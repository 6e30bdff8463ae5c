//! A data plane on threads of this process.

use std::net::SocketAddr;
use std::time::Duration;

use kiln_model::InstanceId;
use kiln_proxy::{ClientError, FleetMetrics, InFlight, ProxyClient, ProxyConfig, RouteTable, Status};

/// A running data plane; stopped when dropped.
pub(crate) struct Proxy {
    pub(crate) client: ProxyClient,
    temporary: tempfile::TempDir,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut ProxyConfig)) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut config = config(temporary.path());
        change(&mut config);
        let client = ProxyClient::new(&config.control_socket);
        std::thread::spawn(move || kiln_proxy::run(config).unwrap());
        let proxy = Self { client, temporary };
        reachable(&proxy.client).await;
        proxy
    }

    /// The folder that all its files are in.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.temporary.path()
    }

    /// Puts a table and gives the addresses of its listeners.
    pub(crate) async fn put(&self, table: &RouteTable) -> Vec<SocketAddr> {
        let ack = self.client.put_table(table).await.unwrap();
        assert_eq!(ack.version, table.version);
        self.addresses().await
    }

    pub(crate) async fn addresses(&self) -> Vec<SocketAddr> {
        let status = self.client.status().await.unwrap();
        status.listeners.iter().filter_map(|listener| listener.addr).collect()
    }

    /// The error that a table is refused with.
    pub(crate) async fn refused(&self, table: &RouteTable) -> String {
        match self.client.put_table(table).await {
            Err(ClientError::Refused(refused)) => refused.error,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn in_flight(&self, instance: &str) -> InFlight {
        let status = self.client.status().await.unwrap();
        status.in_flight.get(&InstanceId(instance.into())).copied().unwrap_or_default()
    }

    /// The counters of release `number`.
    pub(crate) async fn counted(&self, number: u64) -> FleetMetrics {
        let status = self.client.status().await.unwrap();
        counted(&status, number)
    }

    /// Follows the status until it is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        until(&self.client, what, wanted).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Inside a runtime nothing can be awaited here. The threads end by themselves after the drain.
        let client = self.client.clone();
        let stop = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime.block_on(client.stop());
        });
        let _ = stop.join();
    }
}

/// The counters of release `number` in a status.
pub(crate) fn counted(status: &Status, number: u64) -> FleetMetrics {
    status.fleets[&format!("dev/web/{number}").parse().unwrap()].clone()
}

/// Follows the status until it is as wanted: by long polls, and anew every 20 ms for what is no news.
pub(crate) async fn until(client: &ProxyClient, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut last = Status::default();
    for _ in 0..3_000 {
        last = client.status().await.unwrap();
        if wanted(&last) {
            return last;
        }
        let _ = tokio::time::timeout(Duration::from_millis(20), client.status_after(last.seq)).await;
    }
    panic!("waited in vain for {what}: {last:?}");
}

/// A configuration with short times.
pub(crate) fn config(folder: &std::path::Path) -> ProxyConfig {
    let mut config = ProxyConfig::new(folder.join("proxy"), folder.join("proxy.sock"));
    config.threads = 2;
    config.lame_duck = Duration::from_millis(200);
    config.drain_timeout = Duration::from_secs(10);
    config
}

/// Waits until a control socket answers.
pub(crate) async fn reachable(client: &ProxyClient) {
    for _ in 0..1_000 {
        if client.status().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the proxy does not come up");
}
