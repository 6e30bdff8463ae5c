//! What the control plane needs of the data plane: replace the table, look at it.

use std::future::Future;

use kiln_proxy::{Ack, ClientError, ProxyClient, Refused, RouteTable, Status};

/// The data plane.
pub trait Traffic: Send + Sync + 'static {
    /// Replaces the route table; `Ok` means that every request from now on is routed by it.
    fn put_table(&self, table: &RouteTable) -> impl Future<Output = Result<Ack, TrafficError>> + Send;

    /// What it sees now.
    fn status(&self) -> impl Future<Output = Result<Status, TrafficError>> + Send;

    /// The same, as soon as `seq` is above the given one, or after some time.
    fn status_after(&self, seq: u64) -> impl Future<Output = Result<Status, TrafficError>> + Send;
}

/// Why the data plane did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrafficError {
    /// It refused the table; the old one stands.
    #[error("the data plane refused the routes: {}", .0.error)]
    Refused(Refused),
    /// It does not answer.
    #[error("the data plane does not answer")]
    Unreachable {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Traffic for ProxyClient {
    async fn put_table(&self, table: &RouteTable) -> Result<Ack, TrafficError> {
        Self::put_table(self, table).await.map_err(failure)
    }

    async fn status(&self) -> Result<Status, TrafficError> {
        Self::status(self).await.map_err(failure)
    }

    async fn status_after(&self, seq: u64) -> Result<Status, TrafficError> {
        Self::status_after(self, seq).await.map_err(failure)
    }
}

fn failure(error: ClientError) -> TrafficError {
    match error {
        ClientError::Refused(refused) => TrafficError::Refused(refused),
        other => TrafficError::Unreachable { source: Box::new(other) },
    }
}
