//! Services that depend on each other.

use kiln_control::What;
use kiln_model::*;
use kiln_testkit::Behaviour;

use crate::world::*;

fn caller(build: u8) -> ReleaseContent {
    with(content("web", build), |it| it.service.depends_on.push(name("db")))
}

fn called(build: u8) -> ReleaseContent {
    let port = Port { number: 5432, protocol: Protocol::Tcp };
    with(content("db", build), |it| {
        it.config.ports.insert(name("http"), port);
    })
}

#[tokio::test]
async fn a_service_begins_when_what_it_depends_on_serves() {
    let world = World::new().await;
    let answer = world.try_deploy(vec![called(1), caller(1)]).await.unwrap();
    for deployed in &answer.services {
        let told = world.ended(deployed.rollout.unwrap(), answer.after).await;
        assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    }
    let events = world.events().await;
    let at = |service: &str, wanted: fn(&What) -> bool| {
        let found = events.iter().position(|it| it.service.as_str() == service && wanted(&it.what));
        found.expect("it happened")
    };
    let served = at("db", |what| matches!(what, What::Succeeded { .. }));
    assert!(served < at("web", |what| matches!(what, What::Started { .. })));
    assert!(at("web", |what| matches!(what, What::Waiting { .. })) < served);
}

#[tokio::test]
async fn when_what_it_depends_on_fails_it_never_begins() {
    let world = World::new().await;
    world.script("dev/db/1", [Behaviour::exits_at_start(10)]);
    let answer = world.try_deploy(vec![called(1), caller(1)]).await.unwrap();
    let told = world.ended(answer.services[1].rollout.unwrap(), answer.after).await;
    let What::Cancelled { reason } = told else { panic!("{told:?}") };
    assert_eq!(reason, "db, which it depends on, did not come to release 1");
    world.settled(&[]).await;
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let world = World::new().await;
    let wrong = with(caller(1), |it| it.service.replicas = 0);
    world.try_deploy(vec![called(1), wrong]).await.unwrap_err();
    assert!(world.status().await.services.is_empty());
    assert!(world.events().await.is_empty());
}

#[tokio::test]
async fn callers_leave_before_what_they_call() {
    let world = World::new().await;
    let answer = world.try_deploy(vec![called(1), caller(1)]).await.unwrap();
    world.ended(answer.services[1].rollout.unwrap(), answer.after).await;
    let busy = world.instances("dev/web/1")[0].id.clone();
    world.plane.work(&busy, 1, 0);
    let down = kiln_control::api::DownRequest {
        environment: None,
        project: Some(name("shop")),
        service: None,
        author: "bob".into(),
        reason: None,
    };
    assert_eq!(world.control().down(down.clone()).await.unwrap().services.len(), 2);
    assert_eq!(world.control().down(down).await.unwrap().services.len(), 0, "once is enough");
    world.until("the idle ones to go", async |it| (it.instances("dev/web/1").len() == 1).then_some(())).await;
    let called = world.instances("dev/db/1");
    assert!(called.iter().all(|it| it.phase == kiln_provider::Phase::Ready) && called.len() == 3);
    assert_eq!(world.plane.weights("db").len(), 1, "the last request of web can still ask db");
    world.plane.work(&busy, 0, 0);
    world.settled(&[]).await;
}

#[tokio::test]
async fn without_root_a_service_cannot_listen_where_it_is_to_call() {
    let world = World::new().await;
    let error = world.try_deploy(vec![content("db", 1), caller(1)]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "service web listens on port 8080 itself and calls db on port 8080; without root, both are on the loopback \
         of the same instance"
    );
}
