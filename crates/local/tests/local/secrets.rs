//! Secrets reach the program and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kiln_model::{Delivery, ReleaseContent, Secret};
use kiln_provider::{FleetObservation, Phase, Provider, RetireReason};

use crate::volumes::run;
use crate::world::{World, in_phase, one_failure, one_ready, until};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases!(Both: secrets_reach_the_program_and_no_disk, a_secret_that_changed_arrives_with_the_next_instance,
        an_instance_without_its_secret_does_not_start)
    .to_vec()
}

/// A file of the one who runs the provider.
fn keep(world: &World, name: &str, value: &str) -> PathBuf {
    let file = world.home.path().join(name);
    fs::write(&file, value).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    file
}

fn wants(content: &mut ReleaseContent, name: &str, file: &Path, delivery: Delivery) {
    let from = format!("file://{}", file.display()).parse().unwrap();
    content.service.secrets.insert(name.into(), Secret { from: Some(from), delivery });
}

/// Files below a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(holding(&entry.path(), text));
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
    found
}

async fn secrets_reach_the_program_and_no_disk(world: &World) {
    let (token, key) = (keep(world, "token", "t0ken-of-shop\n"), keep(world, "key", "k3y-of-shop\n"));
    let provider = world.provider().await;
    let spec = world.serving(|content| {
        content.config.user = Some("web".into());
        wants(content, "TOKEN", &token, Delivery::Env);
        wants(content, "tls.key", &key, Delivery::File);
    });
    let instance = one_ready(&provider, &spec).await;
    let own = "/proc/1/environ";
    assert_eq!(run(&provider, &instance, &["/app", "has", own, "TOKEN=t0ken-of-shop"]).await.0, 0);
    assert_eq!(run(&provider, &instance, &["/app", "has", own, "k3y-of-shop"]).await.0, 1);
    let (_, said) = run(&provider, &instance, &["/app", "getenv", "TOKEN"]).await;
    assert_eq!(said, "t0ken-of-shop\n");
    let (_, said) = run(&provider, &instance, &["/app", "print", "/run/secrets/tls.key"]).await;
    assert!(said.contains("k3y-of-shop"), "{said:?}");
    let (_, said) = run(&provider, &instance, &["/app", "stat", "/run/secrets/tls.key"]).await;
    assert!(said.starts_with("1000:1001 ") && said.contains("400"), "{said:?}");
    let (status, said) = run(&provider, &instance, &["/app", "touch", "/run/secrets/more"]).await;
    assert!(status != 0 && said.contains("Read-only"), "{said:?}");
    // Variables are not there as files.
    assert_ne!(run(&provider, &instance, &["/app", "exists", "/run/secrets/TOKEN"]).await.0, 0);

    let home = world.home.path();
    for (file, value) in [(&token, "t0ken-of-shop"), (&key, "k3y-of-shop")] {
        assert_eq!(holding(home, value), std::slice::from_ref(file));
        assert!(holding(home, &hex(value)).is_empty(), "{value} is there in digits");
    }
    let arguments = fs::read(format!("/proc/{}/cmdline", world.status(&instance.id).shim_pid)).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains("t0ken"));
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

async fn a_secret_that_changed_arrives_with_the_next_instance(world: &World) {
    let token = keep(world, "token", "first");
    let provider = world.provider().await;
    let spec = world.serving(|content| wants(content, "TOKEN", &token, Delivery::Env));
    let first = one_ready(&provider, &spec).await;
    fs::remove_file(&token).unwrap();
    keep(world, "token", "second");
    assert_eq!(run(&provider, &first, &["/app", "getenv", "TOKEN"]).await.1, "first\n");
    provider.retire(&first.id, RetireReason::Requested).await.unwrap();
    let other = |fleet: &FleetObservation| {
        in_phase(fleet, Phase::Ready).into_iter().find(|instance| instance.id != first.id)
    };
    let fleet = until(&provider, "a replacement", |fleet| other(fleet).is_some()).await;
    let second = other(&fleet).unwrap();
    assert_eq!(run(&provider, &second, &["/app", "getenv", "TOKEN"]).await.1, "second\n");
}

async fn an_instance_without_its_secret_does_not_start(world: &World) {
    let token = world.home.path().join("token");
    let provider = world.provider().await;
    let spec = world.serving(|content| wants(content, "TOKEN", &token, Delivery::Env));
    let error = provider.check(&spec.release.content).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot start instances of web");
    let failure = one_failure(&provider, &spec).await;
    let wanted = format!("cannot get the secret TOKEN from file://{0}: cannot read {0}", token.display());
    assert!(failure.what.contains(&wanted), "{failure:?}");
    keep(world, "token", "late");
    provider.check(&spec.release.content).await.unwrap();
    let fleet = until(&provider, "a ready instance", |fleet| !in_phase(fleet, Phase::Ready).is_empty()).await;
    let ready = in_phase(&fleet, Phase::Ready).remove(0);
    assert_eq!(run(&provider, &ready, &["/app", "getenv", "TOKEN"]).await.1, "late\n");
}
