//! Keeping services well between deploys: deaths, ill health, taints, drains, a data plane that comes and goes.

use kiln_control::What;
use kiln_control::api::*;
use kiln_model::*;
use kiln_provider::{Phase, RetireReason};
use kiln_testkit::Behaviour;

use crate::world::*;

fn asked() -> InstanceRequest {
    InstanceRequest { author: "bob".into(), reason: None }
}

#[tokio::test]
async fn a_dead_instance_is_replaced_and_told_of() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let victim = world.instances("dev/web/1")[0].id.clone();
    assert!(world.provider.kill(&victim));
    world.settled(&[("dev/web/1", 3)]).await;
    world
        .until("the word of it", async |it| {
            it.events().await.into_iter().find(|it| matches!(it.what, What::InstanceFailed { .. }))
        })
        .await;
}

#[tokio::test]
async fn unhealthy_instances_are_replaced_one_at_a_time() {
    let world = World::new().await;
    let ill = Behaviour { unready: vec![(500, 1_000_000)], ..Behaviour::default() };
    world.script("dev/web/1", [ill.clone(), ill.clone(), ill, Behaviour::default()]);
    world.deploy(content("web", 1)).await;
    let mut least = 3;
    world
        .until("three replacements", async |it| {
            let here = it.instances("dev/web/1");
            let up = here.iter().filter(|it| matches!(it.phase, Phase::Ready | Phase::Unready)).count();
            least = least.min(up);
            let retired = it
                .events()
                .await
                .into_iter()
                .filter(|it| matches!(it.what, What::Retired { reason: RetireReason::Unhealthy, .. }));
            (retired.count() == 3).then_some(())
        })
        .await;
    world.settled(&[("dev/web/1", 3)]).await;
    assert_eq!(least, 2, "never more than one away");
}

#[tokio::test]
async fn executing_taints_and_the_replacement_serves_before_the_tainted_one_leaves() {
    let world = World::new().await;
    let single = with(content("web", 1), |it| it.service.replicas = 1);
    world.deploy(single).await;
    let touched = world.instances("dev/web/1")[0].id.clone();
    let body =
        ExecBody { argv: vec!["ls".into()], timeout: Span::from_secs(1), author: "bob".into(), reason: None };
    let result = world.control().exec(&touched, body).await.unwrap();
    assert_eq!(result.stdout, "ls\n");
    world
        .until("the replacement", async |it| {
            let here = it.instances("dev/web/1");
            here.iter().all(|it| it.id != touched).then_some(()).filter(|()| here.len() == 1)
        })
        .await;
    world.settled(&[("dev/web/1", 1)]).await;
    let tables = world.plane.history();
    let serving = tables.iter().map(|it| &it.backends["dev/web/http"].fleets[0]);
    let mut weighty = serving.filter(|it| it.weight == 100);
    assert!(weighty.all(|it| it.instances.len() == 1), "there was always one that served");
    let executed = world.events().await.into_iter().find(|it| matches!(it.what, What::Executed { .. }));
    assert_eq!(executed.unwrap().who, "bob");
}

#[tokio::test]
async fn an_instance_stopped_by_a_person_is_replaced() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let gone = world.instances("dev/web/1")[1].id.clone();
    world.control().stop_instance(&gone, asked()).await.unwrap();
    world
        .until("it to go", async |it| it.instances("dev/web/1").iter().all(|it| it.id != gone).then_some(()))
        .await;
    world.settled(&[("dev/web/1", 3)]).await;
    let unknown = InstanceId("web-1-none".into());
    let error = world.control().taint(&unknown, asked()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no instance web-1-none");
}

#[tokio::test]
async fn a_request_under_way_holds_its_instance_until_the_deadline() {
    let world = World::new().await;
    let quick =
        |build| with(content("web", build), |it| it.service.rollout.drain_deadline = Span::from_secs(5));
    world.deploy(quick(1)).await;
    let busy = world.instances("dev/web/1")[0].id.clone();
    world.plane.work(&busy, 1, 0);
    let answer = world.try_deploy(vec![quick(2)]).await.unwrap();
    world.until("the others to go", async |it| (it.instances("dev/web/1").len() == 1).then_some(())).await;
    let since = world.clock.now_ms();
    assert_eq!(world.instances("dev/web/1")[0].phase, Phase::Draining);
    world.ended(answer.services[0].rollout.unwrap(), answer.after).await;
    let waited = world.clock.now_ms() - since;
    assert!((3_000..8_000).contains(&waited), "{waited}");
    world.settled(&[("dev/web/2", 3)]).await;
}

#[tokio::test]
async fn a_data_plane_that_goes_and_comes_loses_nothing() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let before = world.plane.table();
    world.plane.set_down(true);
    let answer = world.try_deploy(vec![content("web", 2)]).await.unwrap();
    for _ in 0..40 {
        world.turn().await;
    }
    let problems = world.status().await.problems;
    assert!(problems.iter().any(|it| it.why.contains("does not answer")), "{problems:?}");
    assert_eq!(world.plane.table(), before);
    world.plane.set_down(false);
    let told = world.ended(answer.services[0].rollout.unwrap(), answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    world.settled(&[("dev/web/2", 3)]).await;
    world.plane.lose();
    world.until("the table again", async |it| (it.plane.table().version > 0).then_some(())).await;
    assert_eq!(world.plane.weights("web").len(), 1);
    world.settled(&[("dev/web/2", 3)]).await;
    assert_eq!(world.status().await.problems, []);
}
