//! The client as the other side of this crate's pull-through cache.

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use reqwest::Method;
use reqwest::header::CONTENT_LENGTH;

use super::auth::Scope;
use super::manifest::text_of;
use super::transport::{Place, incoming};
use super::{Client, RegistryError, Task};
use crate::digest::ContentDigest;
use crate::name::{Reference, Repository};
use crate::server::{Upstream, UpstreamBlob, UpstreamError, UpstreamManifest};

/// A registry to pull through.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Client,
    registry: String,
}

impl Remote {
    /// The registry of this host (and perhaps port).
    pub fn new(client: Client, registry: impl Into<String>) -> Self {
        Self { client, registry: registry.into() }
    }

    fn place(&self, repository: &Repository) -> Place {
        Place { registry: self.registry.clone(), repository: repository.clone() }
    }

    async fn open(&self, place: Place, digest: &ContentDigest) -> Result<UpstreamBlob, RegistryError> {
        let task = Task::at("get", &place, format_args!("blob {digest}"));
        let scope = Scope::pull(&place);
        let call = self.client.plain(&task, &place, &scope, Method::GET, &format!("blobs/{digest}"))?;
        let transport = &self.client.transport;
        let open = || async {
            let answer = transport.call(&call).await?;
            if answer.status().is_success() {
                Ok(answer)
            } else {
                Err(transport.refused(&task, answer).await)
            }
        };
        let answer = transport.repeat(&task, &super::Progress::none(), open).await?;
        let size = text_of(answer.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        let (client, task) = (self.client.clone(), task.clone());
        let bytes = futures_util::stream::try_unfold(incoming(answer), move |mut stream| {
            let (client, task) = (client.clone(), task.clone());
            async move {
                let piece = client.transport.next(&task, &mut stream).await;
                Ok(piece.map_err(|attempt| told(*attempt.error))?.map(|piece| (piece, stream)))
            }
        });
        Ok(UpstreamBlob { size, bytes: bytes.boxed() })
    }
}

impl Upstream for Remote {
    fn manifest<'a>(
        &'a self,
        repository: &'a Repository,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<UpstreamManifest, UpstreamError>> {
        async move {
            let found = self.client.manifest(&self.place(repository), reference).await.map_err(told)?;
            Ok(UpstreamManifest { media_type: found.descriptor.media_type, bytes: found.bytes })
        }
        .boxed()
    }

    fn blob<'a>(
        &'a self,
        repository: &'a Repository,
        digest: &'a ContentDigest,
    ) -> BoxFuture<'a, Result<UpstreamBlob, UpstreamError>> {
        async move { self.open(self.place(repository), digest).await.map_err(told) }.boxed()
    }
}

fn told(error: RegistryError) -> UpstreamError {
    match error.status() {
        Some(404) => UpstreamError::NotFound,
        Some(401 | 403 | 429) => UpstreamError::Denied { reason: error.to_string() },
        _ => UpstreamError::Away(Box::new(error)),
    }
}
