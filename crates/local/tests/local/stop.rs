//! Signal, grace, kill.

use std::time::Instant;

use kiln_model::Span;
use kiln_provider::{InstanceObservation, Phase, Provider};

use crate::world::{World, eventually, lives, logged, one_ready, until};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases!(Both: a_polite_program_is_asked, a_stubborn_one_is_killed_after_its_grace,
        a_program_without_a_handler_does_not_wait_for_its_grace, children_die_too)
    .to_vec()
}

/// Lets a fleet of one go and waits until it is gone; returns how it ended and how long that took.
async fn let_go(
    world: &World,
    arguments: &[&str],
    grace_ms: u64,
    says: &str,
) -> (String, u128, InstanceObservation) {
    let provider = world.provider().await;
    let spec = world.fleet(arguments, |content| content.config.stop.grace = Span::from_millis(grace_ms));
    let instance = one_ready(&provider, &spec).await;
    if !says.is_empty() {
        logged(&world.dir(&instance.id), says).await;
    }
    provider.ensure_fleet(&spec, 0).await.unwrap();
    until(&provider, "draining", |fleet| fleet.instances[0].phase == Phase::Draining).await;
    let begun = Instant::now();
    provider.drained(&instance.id).await.unwrap();
    until(&provider, "the end", |fleet| fleet.instances.iter().all(|known| known.phase == Phase::Exited))
        .await;
    let took = begun.elapsed().as_millis();
    let status = world.status(&instance.id);
    eventually("the supervisor's end", || !lives(status.shim_pid)).await;
    (status.exit.unwrap().what, took, instance)
}

async fn a_polite_program_is_asked(world: &World) {
    let (what, took, instance) = let_go(world, &["graceful"], 300_000, "waiting").await;
    assert_eq!(what, "exited with status 0");
    assert!(took < 90_000, "{took} ms");
    logged(&world.dir(&instance.id), "bye").await;
}

async fn a_stubborn_one_is_killed_after_its_grace(world: &World) {
    let (what, took, instance) = let_go(world, &["ignore"], 700, "ignoring").await;
    assert_eq!(what, "did not stop within 700ms of SIGTERM and was killed");
    assert!((700..90_000).contains(&took), "{took} ms");
    assert!(!lives(instance.pid.unwrap()));
}

async fn a_program_without_a_handler_does_not_wait_for_its_grace(world: &World) {
    let (what, took, _) = let_go(world, &["sleep"], 300_000, "").await;
    assert_eq!(what, "stopped by SIGTERM");
    assert!(took < 90_000, "{took} ms");
}

async fn children_die_too(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["children"], |_| {});
    let instance = one_ready(&provider, &spec).await;
    let pid = instance.pid.unwrap();
    let children = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    };
    eventually("twenty children", || children().len() == 20).await;
    let all = children();
    provider.ensure_fleet(&spec, 0).await.unwrap();
    until(&provider, "draining", |fleet| fleet.instances[0].phase == Phase::Draining).await;
    provider.drained(&instance.id).await.unwrap();
    until(&provider, "the end", |fleet| fleet.instances.iter().all(|known| known.phase == Phase::Exited))
        .await;
    assert!(all.into_iter().all(|pid| !lives(pid)), "a child outlived its instance");
}
