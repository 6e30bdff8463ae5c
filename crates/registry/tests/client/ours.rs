//! The client against Kiln's own registry, which keeps the list of referrers itself; and as the upstream of its cache.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kiln_attest::evidence::sign_image;
use kiln_attest::keys::{Algorithm, PrivateKey};
use kiln_registry::client::{Progress, PullOptions, PushOptions, Remote};
use kiln_registry::name::Reference;
use kiln_registry::server::{Mirror, Registry, RegistryConfig, UpstreamError};
use kiln_store::oci;

use crate::kit::{Home, Parts, chain, client, home, image, noise, place, run};

/// Serves until the runtime ends.
async fn serve(change: impl FnOnce(&mut RegistryConfig)) -> (SocketAddr, Home) {
    let home = home();
    let mut config = RegistryConfig::new(home.store.clone(), home.folder.path().join("registry"));
    change(&mut config);
    let registry = Registry::open(config).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { registry.serve(listener, std::future::pending()).await });
    (address, home)
}

fn layers() -> Vec<Vec<u8>> {
    // One by one request, one by a session.
    vec![noise(1, 1000), noise(2, 5 << 20)]
}

#[test]
fn an_image_with_evidence_goes_in_and_comes_out() {
    run(async {
        let (address, _registry) = serve(|_| ()).await;
        let (source, mut parts) = (home(), Parts::default());
        let descriptor = parts.image(oci::host_architecture(), &layers());
        let envelope = parts.evidence(&descriptor, "{}");
        parts.store(&source.store).unwrap();
        source.store.add_referrer(&envelope, &descriptor.digest).unwrap();
        let name = image(&format!("{address}/team/web:1"));
        let (client, none) = (client(), Progress::none());
        let all = PushOptions::default();
        let push = || client.push(&source.store, &descriptor.digest, &name, &all, &none);
        let pushed = push().await.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!((pushed.referrers_api, pushed.evidence.len()), (Some(true), 1));
        // Another signature later joins the first under cosign's tag.
        for _ in 0..2 {
            let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
            sign_image(&source.store, &descriptor.digest, "team/web", &key, &BTreeMap::new()).unwrap();
            push().await.unwrap_or_else(|error| panic!("{}", chain(&error)));
        }
        let place = place(&name.to_string());
        let tags = client.tags(&place).await.unwrap();
        assert!(
            !tags.contains(&format!("sha256-{}", descriptor.digest.hex())),
            "the registry keeps the list"
        );
        let kind = Some("application/vnd.in-toto+json");
        let listed = client.referrers(&place, &descriptor.digest, kind).await.unwrap();
        assert_eq!(listed.iter().map(|one| one.digest).collect::<Vec<_>>(), [envelope.digest]);
        let target = home();
        let pulled = client.pull(&name, &target.store, &PullOptions::default(), &none).await.unwrap();
        assert_eq!((pulled.image.digest, pulled.evidence.len()), (descriptor.digest, 3));
        assert_eq!(target.store.referrers(&descriptor.digest).unwrap().len(), 3);
    });
}

#[test]
fn another_registry_is_pulled_through() {
    run(async {
        let (upstream, _upstream) = serve(|_| ()).await;
        let (source, mut parts) = (home(), Parts::default());
        let descriptor = parts.image(oci::host_architecture(), &layers());
        parts.store(&source.store).unwrap();
        let name = image(&format!("{upstream}/team/web:1"));
        let (client, none) = (client(), Progress::none());
        client.push(&source.store, &descriptor.digest, &name, &PushOptions::default(), &none).await.unwrap();
        let remote = Arc::new(Remote::new(client.clone(), upstream.to_string()));
        let (cache, _cache) = serve(|config| {
            let freshness = Duration::from_secs(60);
            config.mirrors.push(Mirror { prefix: "far".into(), upstream: remote.clone(), freshness });
        })
        .await;
        let target = home();
        let through = image(&format!("{cache}/far/team/web:1"));
        let options = PullOptions { evidence: false, ..PullOptions::default() };
        let pulled = client.pull(&through, &target.store, &options, &none).await;
        let pulled = pulled.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!((pulled.image.digest, pulled.totals.moved), (descriptor.digest, 3));

        use kiln_registry::server::Upstream as _;
        let absent = Reference::Digest(crate::kit::sha256(b"absent").into());
        let error = remote.manifest(&name.repository, &absent).await.unwrap_err();
        assert!(matches!(error, UpstreamError::NotFound), "{error:?}");
    });
}
