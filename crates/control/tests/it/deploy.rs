//! Deploying: the ways up, doing nothing, resizing, refusals.

use kiln_control::What;
use kiln_control::api::{ErrorKind, Outcome, PlanRequest};
use kiln_model::*;
use kiln_testkit::Behaviour;

use crate::world::*;

fn strategies() -> Vec<Strategy> {
    vec![
        Strategy::Recreate,
        Strategy::Rolling {
            max_surge: Amount::Count(1),
            max_unavailable: Amount::Count(0),
            batch: None,
            pause: Span::from_secs(0),
        },
        Strategy::BlueGreen { hold: Span::from_millis(200) },
        Strategy::Canary { steps: vec![5, 50], hold: Span::from_millis(100) },
    ]
}

#[tokio::test]
async fn every_strategy_ends_with_the_new_fleet_alone() {
    for strategy in strategies() {
        let world = World::new().await;
        let told = world.deploy(rolled_with(content("web", 1), strategy.clone())).await;
        assert!(matches!(told, What::Succeeded { .. }), "{strategy:?}: {told:?}");
        world.settled(&[("dev/web/1", 3)]).await;
        let told = world.deploy(rolled_with(content("web", 2), strategy.clone())).await;
        assert!(matches!(told, What::Succeeded { .. }), "{strategy:?}: {told:?}");
        world.settled(&[("dev/web/2", 3)]).await;
        let service = world.service("web").await;
        assert_eq!((service.current, service.previous), (Some(ReleaseNumber(2)), Some(ReleaseNumber(1))));
        assert_eq!(service.urls, ["http://127.0.0.1:8119/"]);
        assert_eq!(world.status().await.problems, []);
    }
}

/// From the first table that serves on, but for recreate, no table leaves the service without an instance.
#[tokio::test]
async fn no_table_in_force_leaves_the_service_without_an_instance() {
    for strategy in &strategies()[1..] {
        let world = World::new().await;
        for build in 1..4 {
            world.deploy(rolled_with(content("web", build), strategy.clone())).await;
        }
        world.settled(&[("dev/web/3", 3)]).await;
        let tables = world.plane.history();
        let serving = tables.iter().map(|table| &table.backends["dev/web/http"].fleets);
        let served: Vec<_> = serving.skip_while(|fleets| fleets.iter().all(|it| it.weight == 0)).collect();
        for fleets in served {
            let empty = fleets.iter().any(|it| it.weight > 0 && it.instances.is_empty());
            assert!(!empty && fleets.iter().any(|it| it.weight > 0), "{strategy:?}: {fleets:?}");
        }
    }
}

#[tokio::test]
async fn a_service_without_ports_rolls_too() {
    let world = World::new().await;
    let bare = |build| {
        with(content("worker", build), |it| {
            it.config.ports.clear();
            it.service.expose.clear();
        })
    };
    for build in 1..3 {
        assert!(matches!(world.deploy(bare(build)).await, What::Succeeded { .. }));
    }
    world.settled(&[("dev/worker/2", 3)]).await;
}

#[tokio::test]
async fn the_same_content_is_nothing_to_do_and_another_size_is_a_resize() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let again = world.try_deploy(vec![content("web", 1)]).await.unwrap();
    assert_eq!(again.services[0].outcome, Outcome::Unchanged);
    assert_eq!(again.services[0].rollout, None);
    let more = with(content("web", 1), |it| it.service.replicas = 5);
    let resized = world.try_deploy(vec![more]).await.unwrap();
    assert_eq!(resized.services[0].outcome, Outcome::Resized { from: 3, to: 5 });
    world.settled(&[("dev/web/1", 5)]).await;
    let fewer = with(content("web", 1), |it| it.service.replicas = 1);
    world.try_deploy(vec![fewer]).await.unwrap();
    world.settled(&[("dev/web/1", 1)]).await;
    let history = world.control().history(Default::default()).await.unwrap();
    assert_eq!(history.releases.len(), 1, "a resize is no release");
}

#[tokio::test]
async fn a_plan_shows_stages_and_differences_and_does_nothing() {
    let world = World::new().await;
    let plan = |contents| {
        let request = PlanRequest { environment: name("dev"), releases: contents, freezes: Vec::new() };
        world.control().plan(request)
    };
    let first = plan(vec![content("web", 1)]).await.unwrap();
    assert_eq!((first.services[0].stages.len(), first.services[0].current), (1, None));
    world.deploy(content("web", 1)).await;
    let next = with(content("web", 2), |it| {
        it.service.env.insert("LOG_LEVEL".into(), "debug".into());
    });
    let second = plan(vec![next]).await.unwrap();
    let fields: Vec<&str> = second.services[0].differences.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["image", "service.env.LOG_LEVEL"]);
    assert_eq!((second.services[0].stages.len(), second.services[0].release), (3, ReleaseNumber(2)));
    let again = plan(vec![content("web", 1)]).await.unwrap();
    assert_eq!(again.services[0].outcome, Outcome::Unchanged);
    world.settled(&[("dev/web/1", 3)]).await;
}

#[tokio::test]
async fn a_release_that_never_starts_is_rolled_back_and_quarantined() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.script("dev/web/2", [Behaviour::exits_at_start(30)]);
    let told = world.deploy(content("web", 2)).await;
    let What::RolledBack { reason, to, .. } = told else { panic!("{told:?}") };
    assert_eq!(to, Some(ReleaseNumber(1)));
    assert!(reason.contains("last words"), "{reason}");
    world.settled(&[("dev/web/1", 3)]).await;
    for table in world.plane.history() {
        let fleets = &table.backends["dev/web/http"].fleets;
        let new = fleets.iter().filter(|it| it.id.release == ReleaseNumber(2));
        assert!(new.into_iter().all(|it| it.weight == 0), "a bad release never got traffic");
    }
    let refused = world.try_deploy(vec![content("web", 2)]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Quarantined);
    assert!(refused.to_string().contains("since release 2 was rolled back"), "{refused}");
    world.script("dev/web/3", [Behaviour::default()]);
    let forced = kiln_control::api::DeployRequest { force: true, ..request(vec![content("web", 2)]) };
    let answer = world.control().deploy(forced).await.unwrap();
    let told = world.ended(answer.services[0].rollout.unwrap(), answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
}

#[tokio::test]
async fn without_automatic_rollback_a_failure_waits_for_a_person() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.script("dev/web/2", [Behaviour::exits_at_start(30)]);
    let manual = with(content("web", 2), |it| it.service.rollout.auto_rollback = false);
    let told = world.deploy(manual).await;
    assert!(matches!(told, What::Failed { .. }), "{told:?}");
    assert_eq!(world.plane.weights("web").len(), 1, "the old one serves");
    // The next deploy takes the failed one back first.
    let told = world.deploy(content("web", 3)).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    world.settled(&[("dev/web/3", 3)]).await;
}

#[tokio::test]
async fn a_newer_release_replaces_one_under_way() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.script("dev/web/2", [Behaviour::never_ready()]);
    let second = world.try_deploy(vec![content("web", 2)]).await.unwrap();
    for _ in 0..10 {
        world.turn().await;
    }
    let third = world.deploy(content("web", 3)).await;
    assert!(matches!(third, What::Succeeded { .. }), "{third:?}");
    let second = world.ended(second.services[0].rollout.unwrap(), second.after).await;
    let What::RolledBack { reason, .. } = second else { panic!("{second:?}") };
    assert!(reason.contains("superseded by release 3"), "{reason}");
    world.settled(&[("dev/web/3", 3)]).await;
    assert!(world.service("web").await.quarantined.is_empty(), "its content is not to blame");
}

#[tokio::test]
async fn routes_that_the_data_plane_refuses_turn_the_rollout_back() {
    let world = World::new().await;
    world.plane.refuse(Some("cannot listen on 127.0.0.1:8119: address in use"));
    let told = world.deploy(content("web", 1)).await;
    let What::RolledBack { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.contains("address in use"), "{reason}");
    world.plane.refuse(None);
    world.settled(&[]).await;
    let told = world.deploy(content("web", 1)).await;
    assert!(matches!(told, What::Succeeded { .. }), "not quarantined: {told:?}");
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_next_step_and_change_nothing() {
    let world = World::new().await;
    let tls = Tls { certificate: "web.pem".into(), key: "/k".into() };
    let wrong = [
        (vec![], "there is no service to deploy"),
        (vec![content("web", 1), content("web", 2)], "service web is deployed twice"),
        (vec![with(content("web", 1), |it| it.service.depends_on.push(name("db")))], "depends on db"),
        (vec![with(content("web", 1), |it| it.service.expose[0].port = name("grpc"))], "only http"),
        (
            vec![with(content("web", 1), |it| it.service.expose[0].address = Some("moon".into()))],
            "\"moon\", which is not an IP address",
        ),
        (vec![with(content("web", 1), |it| it.service.expose[0].tls = Some(tls))], "relative path"),
        (vec![with(content("web", 1), |it| it.service.replicas = 0)], "cannot be planned"),
        (vec![content("web", 1), content("wiki", 1)], "dev/wiki wants requests to 127.0.0.1:8119"),
    ];
    for (contents, text) in wrong {
        let error = world.try_deploy(contents).await.unwrap_err();
        assert!(error.to_string().contains(text), "{error} lacks {text}");
        assert!(error.hint().is_some(), "{error}");
    }
    world.deploy(content("web", 1)).await;
    let other = with(content("web", 2), |it| it.project = name("blog"));
    let error = world.try_deploy(vec![other]).await.unwrap_err();
    assert_eq!(error.to_string(), "service web in environment dev is of project shop, not of blog");
    world.settled(&[("dev/web/1", 3)]).await;
}

#[tokio::test]
async fn a_rolling_update_takes_from_one_failure_domain_at_a_time() {
    let world = World::new().await;
    world.provider.zones(["a".to_owned(), "b".to_owned()]);
    let sized = |build| {
        let strategy = Strategy::Rolling {
            max_surge: Amount::Count(0),
            max_unavailable: Amount::Count(3),
            batch: None,
            pause: Span::from_secs(0),
        };
        with(rolled_with(content("web", build), strategy), |it| it.service.replicas = 4)
    };
    world.deploy(sized(1)).await;
    let answer = world.try_deploy(vec![sized(2)]).await.unwrap();
    world.ended(answer.services[0].rollout.unwrap(), answer.after).await;
    let stages = world.events().await.into_iter().rev().find_map(|event| match event.what {
        What::Started { stages, .. } => Some(stages),
        _ => None,
    });
    let sizes: Vec<_> = stages.unwrap().iter().map(|stage| (stage.new, stage.old)).collect();
    assert_eq!(sizes, [(0, 2), (2, 0), (4, 0)], "two domains of two instances each");
}
