//! Going back: rollback, abort, down.

use kiln_control::What;
use kiln_control::api::*;
use kiln_model::*;
use kiln_testkit::Behaviour;

use crate::world::*;

fn back(to: Option<u64>) -> RollbackRequest {
    RollbackRequest {
        environment: name("dev"),
        service: name("web"),
        release: to.map(ReleaseNumber),
        author: "bob".into(),
        reason: Some("it is slow".into()),
    }
}

fn down() -> DownRequest {
    DownRequest { environment: None, project: None, service: None, author: "bob".into(), reason: None }
}

#[tokio::test]
async fn while_the_old_fleet_stands_traffic_goes_back_at_once() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let held = Strategy::BlueGreen { hold: Span::from_secs(3600) };
    let deployed = world.try_deploy(vec![rolled_with(content("web", 2), held)]).await.unwrap();
    let new: FleetId = "dev/web/2".parse().unwrap();
    world
        .until("the shift", async |it| it.plane.weights("web").get(&new).filter(|it| **it == 100).copied())
        .await;
    let answer = world.control().rollback(back(None)).await.unwrap();
    assert_eq!((answer.from, answer.to), (Some(ReleaseNumber(2)), Some(ReleaseNumber(1))));
    assert_eq!(Some(answer.rollout), deployed.services[0].rollout);
    // No instance has to start or be waited for: time stands still until the weight is back.
    let begun = std::time::Instant::now();
    while world.plane.weights("web").contains_key(&new) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", world.plane.weights("web"));
        tokio::task::yield_now().await;
    }
    let told = world.ended(answer.rollout, answer.after).await;
    assert!(matches!(told, What::RolledBack { .. }), "{told:?}");
    world.settled(&[("dev/web/1", 3)]).await;
}

#[tokio::test]
async fn a_rollback_brings_the_release_before_straight() {
    let world = World::new().await;
    let canary = Strategy::Canary { steps: vec![10], hold: Span::from_secs(1) };
    for build in 1..4 {
        world.deploy(rolled_with(content("web", build), canary.clone())).await;
    }
    let answer = world.control().rollback(back(None)).await.unwrap();
    let told = world.ended(answer.rollout, answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    world.settled(&[("dev/web/2", 3)]).await;
    let started = world.events().await.into_iter().rev().find_map(|event| match event.what {
        What::Started { stages, .. } => Some(stages.len()),
        _ => None,
    });
    assert_eq!(started, Some(3), "blue-green without a hold, no canary steps");
    let answer = world.control().rollback(back(Some(1))).await.unwrap();
    world.ended(answer.rollout, answer.after).await;
    world.settled(&[("dev/web/1", 3)]).await;
    assert_eq!(world.service("web").await.previous, Some(ReleaseNumber(2)));
}

#[tokio::test]
async fn what_cannot_be_gone_back_to_is_said() {
    let world = World::new().await;
    let error = world.control().rollback(back(None)).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no service web in environment dev");
    world.deploy(content("web", 1)).await;
    let error = world.control().rollback(back(None)).await.unwrap_err();
    assert!(error.to_string().contains("no earlier release"), "{error}");
    let error = world.control().rollback(back(Some(1))).await.unwrap_err();
    assert_eq!(error.to_string(), "release 1 of service web serves already");
    let error = world.control().rollback(back(Some(9))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_aborted_first_deploy_leaves_nothing() {
    let world = World::new().await;
    world.script("dev/web/1", [Behaviour::never_ready()]);
    let deployed = world.try_deploy(vec![content("web", 1)]).await.unwrap();
    for _ in 0..5 {
        world.turn().await;
    }
    let request =
        AbortRequest { environment: name("dev"), service: name("web"), author: "bob".into(), reason: None };
    let answer = world.control().abort(request.clone()).await.unwrap();
    assert_eq!(Some(answer.rollout), deployed.services[0].rollout);
    let told = world.ended(answer.rollout, answer.after).await;
    assert!(matches!(told, What::RolledBack { to: None, .. }), "{told:?}");
    world.settled(&[]).await;
    assert_eq!(world.control().abort(request).await.unwrap_err().kind(), ErrorKind::NotFound);
    let events = world.events().await;
    let back = events.iter().find(|event| matches!(event.what, What::RollingBack { .. })).unwrap();
    assert_eq!(back.who, "bob");
}

#[tokio::test]
async fn down_drains_everything_and_up_begins_again() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let busy = world.instances("dev/web/1")[0].id.clone();
    world.plane.work(&busy, 1, 0);
    let answer = world.control().down(down()).await.unwrap();
    assert_eq!(answer.services, [(name("dev"), name("web"))]);
    world.until("the idle ones to go", async |it| (it.instances("dev/web/1").len() == 1).then_some(())).await;
    assert!(world.plane.table().listeners.is_empty());
    world.plane.work(&busy, 0, 0);
    world.settled(&[]).await;
    world
        .until("the word of it", async |it| it.events().await.into_iter().find(|it| it.what == What::Gone))
        .await;
    assert!(world.control().down(down()).await.unwrap().services.is_empty(), "nothing is left to stop");
    let told = world.deploy(content("web", 1)).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    world.settled(&[("dev/web/2", 3)]).await;
}

#[tokio::test]
async fn a_rollback_after_down_brings_the_last_release_back() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.control().down(down()).await.unwrap();
    world.settled(&[]).await;
    let answer = world.control().rollback(back(None)).await.unwrap();
    world.ended(answer.rollout, answer.after).await;
    world.settled(&[("dev/web/1", 3)]).await;
}

#[tokio::test]
async fn a_rollback_of_a_rollback_works_and_one_to_the_same_content_does_not() {
    let world = World::new().await;
    for build in [1, 2, 1] {
        world.deploy(content("web", build)).await;
    }
    let error = world.control().rollback(back(Some(1))).await.unwrap_err();
    assert_eq!(error.to_string(), "release 1 of service web has the same content as release 3, which serves");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    for serves in [2, 3, 2] {
        let answer = world.control().rollback(back(None)).await.unwrap();
        let told = world.ended(answer.rollout, answer.after).await;
        assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
        assert_eq!(world.service("web").await.current, Some(ReleaseNumber(serves)));
    }
    world.settled(&[("dev/web/2", 3)]).await;
}

#[tokio::test]
async fn a_rollback_to_what_is_quarantined_says_how_to_lift_that() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.script("dev/web/2", [Behaviour::exits_at_start(10)]);
    world.deploy(content("web", 2)).await;
    let error = world.control().rollback(back(Some(2))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Quarantined);
    assert!(error.hint().unwrap().contains("kiln quarantine lift 2 --service web"), "{:?}", error.hint());
}
