//! `kill -9` of the control plane at any await: the next one goes on from what was written down.

use kiln_control::What;
use kiln_model::*;
use kiln_testkit::{Behaviour, Faults, Rng};

use crate::world::*;

/// Deploys while the control plane dies again and again, and looks at where it all ends.
async fn deploy_through_crashes(seed: u64, strategy: Strategy, good: bool) {
    let mut rng = Rng::new(seed);
    let mut world = World::seeded(seed).await;
    world.deploy(rolled_with(content("web", 1), strategy.clone())).await;
    if !good {
        world.script("dev/web/2", [Behaviour::exits_at_start(40)]);
    }
    world.provider.faults(Faults { error_before: 20, error_after: 20 });
    let next = rolled_with(content("web", 2), strategy);
    let answer = world.try_deploy(vec![next]).await.unwrap();
    let rollout = answer.services[0].rollout.unwrap();
    for _ in 0..rng.below(12) {
        for _ in 0..rng.below(6) {
            world.turn().await;
        }
        for _ in 0..rng.below(40) {
            tokio::task::yield_now().await;
        }
        world.crash().await;
        if rng.below(4) == 0 {
            world.plane.lose();
        }
        world.start();
    }
    world.provider.faults(Faults::default());
    let told = world.ended(rollout, answer.after).await;
    match (good, &told) {
        (true, What::Succeeded { .. }) => world.settled(&[("dev/web/2", 3)]).await,
        (false, What::RolledBack { .. }) => world.settled(&[("dev/web/1", 3)]).await,
        _ => panic!("seed {seed}: {told:?}"),
    }
}

#[tokio::test]
async fn a_good_deploy_survives_crashes_anywhere() {
    for seed in 0..12 {
        deploy_through_crashes(seed, Strategy::BlueGreen { hold: Span::from_millis(50) }, true).await;
    }
}

#[tokio::test]
async fn a_rolling_deploy_survives_crashes_anywhere() {
    let rolling = Strategy::Rolling {
        max_surge: Amount::Count(1),
        max_unavailable: Amount::Count(1),
        batch: None,
        pause: Span::from_secs(0),
    };
    for seed in 100..112 {
        deploy_through_crashes(seed, rolling.clone(), true).await;
    }
}

#[tokio::test]
async fn a_bad_deploy_is_rolled_back_through_crashes_anywhere() {
    for seed in 200..212 {
        deploy_through_crashes(seed, Strategy::BlueGreen { hold: Span::from_secs(0) }, false).await;
    }
}

#[tokio::test]
async fn a_restart_puts_no_weight_and_no_instance_anywhere_else() {
    let mut world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.settled(&[("dev/web/1", 3)]).await;
    let (table, instances) = (world.plane.table(), world.instances("dev/web/1"));
    let events = world.events().await.len();
    for _ in 0..3 {
        world.crash().await;
        world.start();
        for _ in 0..5 {
            world.turn().await;
        }
    }
    assert_eq!(world.plane.table(), table, "not even a new version");
    let ids = |all: &[kiln_provider::InstanceObservation]| -> Vec<_> {
        all.iter().map(|it| it.id.clone()).collect()
    };
    assert_eq!(ids(&world.instances("dev/web/1")), ids(&instances));
    assert_eq!(world.events().await.len(), events, "nothing happened, so nothing is told");
}
