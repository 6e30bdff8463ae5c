//! Declared volumes are the only durable places.

use kiln_local::LocalProvider;
use kiln_model::{Span, VolumeDecl, VolumeMount};
use kiln_provider::{ExecRequest, InstanceObservation, Phase, Provider, RetireReason};

use crate::world::{World, in_phase, name, one_failure, one_ready, until};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases!(Both: kept_volumes_outlive_their_instances, host_folders_are_bound, volumes_without_a_mount_are_memory,
        unknown_volumes_are_refused)
    .to_vec()
}

fn declare(path: &str) -> VolumeDecl {
    VolumeDecl { path: path.into(), size: None }
}

pub(crate) async fn run(
    provider: &LocalProvider,
    instance: &InstanceObservation,
    argv: &[&str],
) -> (i32, String) {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let request = ExecRequest { argv, timeout: Span::from_secs(60), user: None };
    let result = provider.exec(&instance.id, &request).await.unwrap();
    (result.status, result.stdout + &result.stderr)
}

async fn kept_volumes_outlive_their_instances(world: &World) {
    let provider = world.provider().await;
    let spec = world.serving(|content| {
        content.config.user = Some("web".into());
        content.config.volumes.insert(name("data"), declare("/var/lib/shop"));
        content.service.volumes.insert(name("data"), VolumeMount::default());
    });
    let first = one_ready(&provider, &spec).await;
    let (status, said) = run(&provider, &first, &["/app", "stat", "/var/lib/shop"]).await;
    assert!(status == 0 && said.starts_with("1000:1001 "), "{said}");
    assert_eq!(run(&provider, &first, &["/app", "touch", "/var/lib/shop/till"]).await.0, 0);
    provider.retire(&first.id, RetireReason::Requested).await.unwrap();
    let other = |fleet: &kiln_provider::FleetObservation| {
        in_phase(fleet, Phase::Ready).into_iter().find(|instance| instance.id != first.id)
    };
    let fleet = until(&provider, "a replacement", |fleet| other(fleet).is_some()).await;
    let second = other(&fleet).unwrap();
    assert_eq!(run(&provider, &second, &["/app", "exists", "/var/lib/shop/till"]).await.0, 0);
    assert!(world.home.path().join("volumes/test/web/data/till").exists());
    let (status, said) = run(&provider, &second, &["/app", "touch", "/var/lib/other"]).await;
    assert!(status != 0 && said.contains("Read-only"), "{said}");
}

async fn host_folders_are_bound(world: &World) {
    let folder = world.home.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("given"), "").unwrap();
    let provider = world.provider().await;
    let mount = |read_only| VolumeMount { host_path: Some(folder.to_string_lossy().into_owned()), read_only };
    let spec = world.serving(|content| {
        content.config.volumes.insert(name("rw"), declare("/rw"));
        content.config.volumes.insert(name("ro"), declare("/ro"));
        content.service.volumes.insert(name("rw"), mount(false));
        content.service.volumes.insert(name("ro"), mount(true));
    });
    let instance = one_ready(&provider, &spec).await;
    assert_eq!(run(&provider, &instance, &["/app", "exists", "/ro/given"]).await.0, 0);
    assert_eq!(run(&provider, &instance, &["/app", "touch", "/rw/made"]).await.0, 0);
    let (status, said) = run(&provider, &instance, &["/app", "touch", "/ro/made too"]).await;
    assert!(status != 0 && said.contains("Read-only"), "{said}");
    assert!(folder.join("made").exists());
}

async fn volumes_without_a_mount_are_memory(world: &World) {
    let provider = world.provider().await;
    let spec = world.serving(|content| {
        content.config.user = Some("web".into());
        content.config.volumes.insert(name("cache"), declare("/var/cache/web"));
    });
    let instance = one_ready(&provider, &spec).await;
    assert_eq!(run(&provider, &instance, &["/app", "touch", "/var/cache/web/page"]).await.0, 0);
    assert!(!world.home.path().join("volumes").exists());
}

async fn unknown_volumes_are_refused(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["sleep"], |content| {
        content.config.volumes.insert(name("data"), declare("/data"));
        content.service.volumes.insert(name("date"), VolumeMount::default());
    });
    let failure = one_failure(&provider, &spec).await;
    assert!(
        failure.what.contains("mounts volume date") && failure.what.contains("it has data"),
        "{failure:?}"
    );
    let world = World::new(world.rootless);
    let provider = world.provider().await;
    let missing = VolumeMount { host_path: Some("/nowhere/at/all".into()), read_only: false };
    let spec = world.fleet(&["sleep"], |content| {
        content.config.volumes.insert(name("data"), declare("/data"));
        content.service.volumes.insert(name("data"), missing);
    });
    let failure = one_failure(&provider, &spec).await;
    assert!(
        failure.what.contains("/nowhere/at/all") && failure.what.contains("does not exist"),
        "{failure:?}"
    );
}
