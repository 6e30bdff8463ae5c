//! The cases. Each begins with an empty provider.

use std::collections::BTreeSet;
use std::time::Duration;

use kiln_model::{InstanceId, Span};
use kiln_provider::{ExecRequest, FleetObservation, Phase, Provider, ProviderError, RetireReason};

use super::seen::{Seen, in_phase, stays};
use super::{ContractWorld, Program};

/// Runs one case after the other. A macro, because a list of generic async functions has no common type.
macro_rules! cases {
    ($make:expr, $world:ident: $($case:ident),* $(,)?) => {$(
        eprintln!("contract: {}", stringify!($case));
        let world = ($make)().await;
        $case(&world).await;
    )*};
}

pub(super) async fn all<W: ContractWorld, F: AsyncFn() -> W>(make: &F) {
    cases!(make, world:
        ensuring_twice_changes_nothing,
        a_fleet_grows_and_its_instances_are_told_apart,
        shrinking_drains_and_stops_only_what_is_drained,
        shrinking_takes_unhealthy_instances_first,
        shrinking_empties_one_domain_after_the_other,
        saying_drained_again_is_fine,
        a_retired_instance_is_replaced_at_once,
        retiring_what_is_unknown_or_leaving_changes_nothing,
        a_fleet_is_removed_only_when_it_is_empty,
        a_release_never_changes,
        a_dead_instance_is_replaced_and_its_failure_told,
        a_program_that_exits_counts_failed_starts,
        a_program_that_is_never_healthy_is_never_ready,
        a_change_wakes,
        commands_are_executed_or_unsupported,
        fleets_do_not_touch_each_other,
        a_new_process_finds_the_same_instances,
    );
}

async fn open<W: ContractWorld>(world: &W) -> W::Provider {
    world.open().await
}

fn close<W: ContractWorld>(seen: &Seen<'_, W>) {
    if let Err(what) = seen.world.verdict(seen.provider) {
        panic!("the provider saw what it never should: {what}");
    }
}

fn ids(fleet: &FleetObservation) -> BTreeSet<InstanceId> {
    fleet.instances.iter().filter(|instance| stays(instance)).map(|instance| instance.id.clone()).collect()
}

async fn ensuring_twice_changes_nothing<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 2).await.expect("a new fleet is taken");
    provider.ensure_fleet(&spec, 2).await.expect("the same wish is taken again");
    let before = seen.until_ready(&id, 2).await;
    provider.ensure_fleet(&spec, 2).await.expect("the same wish is taken again later");
    seen.rest().await;
    let after = seen.fleet(&id).await;
    assert_eq!((ids(&before), before.size), (ids(&after), after.size), "a repeated wish changed the fleet");
    close(&seen);
}

async fn a_fleet_grows_and_its_instances_are_told_apart<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 0).await.expect("an empty fleet is a fleet");
    assert!(seen.look().await.fleets.contains_key(&id), "an ensured fleet can be seen even when it is empty");
    provider.ensure_fleet(&spec, 1).await.expect("a fleet may grow");
    let one = ids(&seen.until_ready(&id, 1).await);
    provider.ensure_fleet(&spec, 3).await.expect("a fleet may grow");
    let three = seen.until_ready(&id, 3).await;
    assert_eq!(ids(&three).len(), 3, "every instance has an identity of its own");
    assert!(ids(&three).is_superset(&one), "growing touched an instance that was there");
    for instance in in_phase(&three, Phase::Ready) {
        let since = instance.ready_since_ms.expect("a ready instance says since when");
        assert!(since >= instance.started_ms, "ready before it was started: {instance:?}");
        let ports: Vec<_> = spec.release.content.config.ports.keys().collect();
        assert_eq!(instance.endpoints.keys().collect::<Vec<_>>(), ports, "each port can be reached");
        let prefix = format!("{}-{}-", id.service, id.release);
        assert!(instance.id.as_str().starts_with(&prefix), "{} does not begin with {prefix}", instance.id);
    }
    close(&seen);
}

async fn shrinking_drains_and_stops_only_what_is_drained<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 2).await.expect("a new fleet is taken");
    seen.until_ready(&id, 2).await;
    provider.ensure_fleet(&spec, 1).await.expect("a fleet may shrink");
    let fleet =
        seen.until(&id, "a draining instance", |fleet| in_phase(fleet, Phase::Draining).len() == 1).await;
    let leaving = in_phase(&fleet, Phase::Draining)[0].clone();
    assert_eq!(leaving.retiring, Some(RetireReason::Surplus));
    assert_eq!(leaving.ready_since_ms, None, "an instance that drains is not ready");
    seen.rest().await;
    let fleet = seen.fleet(&id).await;
    let still = fleet.instances.iter().find(|instance| instance.id == leaving.id);
    assert_eq!(
        still.map(|instance| instance.phase),
        Some(Phase::Draining),
        "it was stopped before it had drained"
    );
    assert_eq!(in_phase(&fleet, Phase::Ready).len(), 1, "the other one stays");
    provider.drained(&leaving.id).await.expect("a draining instance may be stopped");
    let gone = |fleet: &FleetObservation| {
        fleet.instances.iter().all(|instance| instance.id != leaving.id || instance.phase == Phase::Exited)
    };
    seen.until(&id, "the drained instance to stop", gone).await;
    close(&seen);
}

async fn shrinking_takes_unhealthy_instances_first<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    let ready = ids(&seen.until_ready(&id, 1).await);
    // The second one cannot be ready yet when it is taken away again.
    provider.ensure_fleet(&spec, 2).await.expect("a fleet may grow");
    provider.ensure_fleet(&spec, 1).await.expect("a fleet may shrink");
    let fleet = seen.until(&id, "one instance", |fleet| ids(fleet).len() == 1).await;
    assert_eq!(ids(&fleet), ready, "the ready one should have stayed");
    provider.ensure_fleet(&spec, 0).await.expect("a fleet may shrink to nothing");
    seen.until_empty(&id).await;
    close(&seen);
}

/// Where a provider has one domain, which it need not name, there is nothing to choose.
async fn shrinking_empties_one_domain_after_the_other<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 3).await.expect("a new fleet is taken");
    let mut left = seen.until_ready(&id, 3).await;
    for size in [2, 1] {
        let first = in_phase(&left, Phase::Ready).into_iter().map(|it| it.zone.clone()).min();
        provider.ensure_fleet(&spec, size).await.expect("a fleet may shrink");
        let count = 3 - size as usize;
        let what = format!("{count} draining instances");
        let before = ids(&left);
        left = seen.until(&id, &what, |fleet| in_phase(fleet, Phase::Draining).len() == count).await;
        let now = in_phase(&left, Phase::Draining).into_iter().filter(|it| before.contains(&it.id));
        let zones: Vec<_> = now.map(|it| Some(it.zone.clone())).collect();
        assert_eq!(zones, [first], "the first domain is emptied before the next one");
    }
    close(&seen);
}

async fn saying_drained_again_is_fine<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    let instance = ids(&seen.until_ready(&id, 1).await).pop_first().expect("one instance");
    provider.ensure_fleet(&spec, 0).await.expect("a fleet may shrink to nothing");
    seen.until(&id, "a draining instance", |fleet| in_phase(fleet, Phase::Draining).len() == 1).await;
    provider.drained(&instance).await.expect("a draining instance may be stopped");
    provider.drained(&instance).await.expect("saying it twice changes nothing");
    seen.until_empty(&id).await;
    match provider.drained(&instance).await {
        Ok(()) | Err(ProviderError::NoInstance(_)) => {}
        Err(error) => panic!("saying it once more when it is gone is a fault: {error}"),
    }
    close(&seen);
}

async fn a_retired_instance_is_replaced_at_once<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    let first = ids(&seen.until_ready(&id, 1).await).pop_first().expect("one instance");
    provider.retire(&first, RetireReason::Tainted).await.expect("an instance may be retired");
    let replaced = |fleet: &FleetObservation| in_phase(fleet, Phase::Ready).iter().any(|it| it.id != first);
    let fleet = seen.until(&id, "a ready replacement", replaced).await;
    let old =
        fleet.instances.iter().find(|instance| instance.id == first).expect("nobody said it had drained");
    assert_eq!((old.phase, old.retiring), (Phase::Draining, Some(RetireReason::Tainted)));
    provider.drained(&first).await.expect("a draining instance may be stopped");
    seen.until(&id, "the retired instance to go", |fleet| {
        fleet.instances.iter().all(|instance| instance.id != first || instance.phase == Phase::Exited)
    })
    .await;
    seen.rest().await;
    assert_eq!(ids(&seen.fleet(&id).await).len(), 1, "it is replaced once");
    close(&seen);
}

async fn retiring_what_is_unknown_or_leaving_changes_nothing<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    let nobody = InstanceId("web-1-00000000".into());
    provider.retire(&nobody, RetireReason::Requested).await.expect("an unknown instance is left as it is");
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    let first = ids(&seen.until_ready(&id, 1).await).pop_first().expect("one instance");
    provider.retire(&first, RetireReason::Requested).await.expect("an instance may be retired");
    seen.until_ready(&id, 1).await;
    provider.retire(&first, RetireReason::Unhealthy).await.expect("a leaving instance is left as it is");
    seen.rest().await;
    let fleet = seen.fleet(&id).await;
    let old = fleet.instances.iter().find(|instance| instance.id == first).expect("it still drains");
    assert_eq!(old.retiring, Some(RetireReason::Requested), "the first reason stands");
    assert_eq!(ids(&fleet).len(), 1);
    close(&seen);
}

async fn a_fleet_is_removed_only_when_it_is_empty<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.remove_fleet(&id).await.expect("an unknown fleet is gone already");
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    seen.until_ready(&id, 1).await;
    assert!(provider.remove_fleet(&id).await.is_err(), "a fleet that serves was removed");
    provider.ensure_fleet(&spec, 0).await.expect("a fleet may shrink to nothing");
    seen.until(&id, "a draining instance", |fleet| in_phase(fleet, Phase::Draining).len() == 1).await;
    assert!(provider.remove_fleet(&id).await.is_err(), "a fleet that still drains was removed");
    seen.until_empty(&id).await;
    provider.remove_fleet(&id).await.expect("an empty fleet can be removed");
    assert!(!seen.look().await.fleets.contains_key(&id), "a removed fleet can still be seen");
    provider.remove_fleet(&id).await.expect("removing it again changes nothing");
    provider.ensure_fleet(&spec, 1).await.expect("a release may come back, as a rollback does");
    seen.until_ready(&id, 1).await;
}

async fn a_release_never_changes<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    let before = ids(&seen.until_ready(&id, 1).await);
    let other = world.fleet(1, Program::NeverHealthy);
    match provider.ensure_fleet(&other, 2).await {
        Err(ProviderError::ReleaseChanged(fleet)) => assert_eq!(fleet, id),
        other => panic!("another release in the same fleet must be refused: {other:?}"),
    }
    seen.rest().await;
    let after = seen.fleet(&id).await;
    assert_eq!((ids(&after), after.size), (before, 1), "a refused wish changed the fleet");
}

async fn a_dead_instance_is_replaced_and_its_failure_told<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 2).await.expect("a new fleet is taken");
    let victim = ids(&seen.until_ready(&id, 2).await).pop_first().expect("two instances");
    world.kill(&provider, &victim).await;
    let replaced =
        |fleet: &FleetObservation| in_phase(fleet, Phase::Ready).len() == 2 && !ids(fleet).contains(&victim);
    let fleet = seen.until(&id, "a replacement for the dead instance", replaced).await;
    assert!(fleet.last_failure.is_some(), "nothing tells why it was replaced: {fleet:#?}");
    close(&seen);
}

async fn a_program_that_exits_counts_failed_starts<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::ExitsAtOnce);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    let fleet = seen.until(&id, "three failed starts", |fleet| fleet.failed_starts >= 3).await;
    let failure = fleet.last_failure.expect("a failed start says why");
    assert!(!failure.what.is_empty());
    let tail = failure.log_tail.join("\n");
    assert!(tail.contains("last words"), "the failure does not carry what it printed last: {tail:?}");
    provider.ensure_fleet(&spec, 0).await.expect("a fleet may shrink to nothing");
    seen.until_empty(&id).await;
    let starts = seen.fleet(&id).await.failed_starts;
    seen.rest().await;
    assert_eq!(seen.fleet(&id).await.failed_starts, starts, "it is started though nobody wants it");
    close(&seen);
}

async fn a_program_that_is_never_healthy_is_never_ready<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::NeverHealthy);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    seen.until(&id, "a start", |fleet| !in_phase(fleet, Phase::Starting).is_empty()).await;
    seen.rest().await;
    let fleet = seen.fleet(&id).await;
    assert!(in_phase(&fleet, Phase::Ready).is_empty(), "it was never healthy: {fleet:#?}");
    assert!(fleet.instances.iter().all(|instance| instance.ready_since_ms.is_none()));
    provider.ensure_fleet(&spec, 0).await.expect("a fleet may shrink to nothing");
    seen.until_empty(&id).await;
    close(&seen);
}

async fn a_change_wakes<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    let becomes_ready = async {
        while in_phase(&seen.fleet(&id).await, Phase::Ready).is_empty() {
            provider.changed().await;
        }
    };
    let time_passes = async {
        loop {
            world.pass(&provider).await;
        }
    };
    let woken = async {
        tokio::select! {
            () = becomes_ready => {}
            () = time_passes => {}
        }
    };
    let in_time = tokio::time::timeout(world.patience(), woken).await;
    in_time.expect("changed() slept through an instance's becoming ready");
    close(&seen);
}

async fn commands_are_executed_or_unsupported<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 1).await.expect("a new fleet is taken");
    let instance = ids(&seen.until_ready(&id, 1).await).pop_first().expect("one instance");
    let timeout = Span::from_secs(60);
    let Some(argv) = world.hello() else {
        let request = ExecRequest { argv: vec!["true".into()], timeout, user: None };
        let answer = provider.exec(&instance, &request).await;
        assert!(matches!(answer, Err(ProviderError::Unsupported { .. })), "expected Unsupported: {answer:?}");
        return;
    };
    let request = ExecRequest { argv, timeout, user: None };
    let result = provider.exec(&instance, &request).await.expect("a command is executed");
    assert_eq!((result.status, result.stdout.as_str()), (0, "hello\n"), "{result:?}");
    let nobody = InstanceId("web-1-00000000".into());
    let answer = provider.exec(&nobody, &request).await;
    assert!(matches!(answer, Err(ProviderError::NoInstance(_))), "expected NoInstance: {answer:?}");
    close(&seen);
}

async fn fleets_do_not_touch_each_other<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let (old, new) = (world.fleet(1, Program::Good), world.fleet(2, Program::Good));
    let (old_id, new_id) = (old.release.fleet(), new.release.fleet());
    provider.ensure_fleet(&old, 1).await.expect("a new fleet is taken");
    let before = ids(&seen.until_ready(&old_id, 1).await);
    provider.ensure_fleet(&new, 1).await.expect("a second fleet of the service is taken");
    seen.until_ready(&new_id, 1).await;
    assert_eq!(ids(&seen.fleet(&old_id).await), before, "the old fleet was touched");
    provider.ensure_fleet(&new, 0).await.expect("a fleet may shrink to nothing");
    seen.until_empty(&new_id).await;
    provider.remove_fleet(&new_id).await.expect("an empty fleet can be removed");
    assert_eq!(ids(&seen.fleet(&old_id).await), before, "the old fleet was touched");
    close(&seen);
}

async fn a_new_process_finds_the_same_instances<W: ContractWorld>(world: &W) {
    let provider = open(world).await;
    let spec = world.fleet(1, Program::Good);
    let id = spec.release.fleet();
    provider.ensure_fleet(&spec, 3).await.expect("a new fleet is taken");
    let before = Seen { world, provider: &provider };
    before.until_ready(&id, 3).await;
    provider.ensure_fleet(&spec, 2).await.expect("a fleet may shrink");
    let fleet =
        before.until(&id, "a draining instance", |fleet| in_phase(fleet, Phase::Draining).len() == 1).await;
    let draining = in_phase(&fleet, Phase::Draining)[0].id.clone();
    let stay = ids(&fleet);
    drop(provider);
    tokio::time::sleep(Duration::from_millis(50)).await;

    let provider = open(world).await;
    let seen = Seen { world, provider: &provider };
    let fleet = seen.until_ready(&id, 2).await;
    assert_eq!((ids(&fleet), fleet.size), (stay.clone(), 2), "an instance was lost, or started twice");
    let still = fleet
        .instances
        .iter()
        .find(|instance| instance.id == draining)
        .expect("it was not said to be drained");
    assert_eq!(still.phase, Phase::Draining, "the new process forgot that it drains");
    provider.ensure_fleet(&spec, 2).await.expect("the same wish is taken again");
    provider.drained(&draining).await.expect("a draining instance may be stopped");
    seen.until(&id, "the drained instance to stop", |fleet| in_phase(fleet, Phase::Draining).is_empty())
        .await;
    assert_eq!(ids(&seen.fleet(&id).await), stay);
    close(&seen);
}
