//! Rollouts that are judged by what their fleets answer, and what they wait for.

use kiln_control::What;
use kiln_model::*;
use kiln_testkit::Behaviour;

use crate::world::*;

fn canary(build: u8, analysis: AnalysisSpec) -> ReleaseContent {
    let strategy = Strategy::Canary { steps: vec![10, 50], hold: Span::from_secs(60) };
    with(rolled_with(content("web", build), strategy), |it| it.service.rollout.analysis = Some(analysis))
}

fn strict() -> AnalysisSpec {
    AnalysisSpec { max_error_rate: Some(0.01), ..AnalysisSpec::default() }
}

/// Deploys while requests flow, of which some fail on release 2, and tells how it ended.
async fn deploy_under_load(world: &World, content: ReleaseContent, bad: &str, failing: u64) -> What {
    let answer = world.try_deploy(vec![content]).await.unwrap();
    let rollout = answer.services[0].rollout.unwrap();
    world
        .until("the end of the rollout", async |world| {
            world.plane.serve("web", bad, failing);
            let events = world.events().await.into_iter().filter(|event| event.rollout == Some(rollout));
            events.map(|event| event.what).find(What::ends_rollout)
        })
        .await
}

#[tokio::test]
async fn a_release_that_answers_well_passes_its_analysis() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let told = deploy_under_load(&world, canary(2, strict()), "", 0).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    world.settled(&[("dev/web/2", 3)]).await;
}

#[tokio::test]
async fn a_release_that_fails_requests_goes_back_and_is_quarantined() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let told = deploy_under_load(&world, canary(2, strict()), "dev/web/2", 20).await;
    let What::RolledBack { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.contains("requests failed"), "{reason}");
    world.settled(&[("dev/web/1", 3)]).await;
    let refused = world.try_deploy(vec![canary(2, strict())]).await.unwrap_err().to_string();
    assert!(refused.contains("quarantine"), "{refused}");
    // What serves well is not measured against what failed.
    let history = world.plane.history();
    let backends = history.iter().flat_map(|table| table.backends.values());
    let new = backends.flat_map(|it| &it.fleets).filter(|it| it.id.release.0 == 2);
    let most = new.map(|it| it.weight);
    assert_eq!(most.max(), Some(10), "it never got more than the first step");
}

#[tokio::test]
async fn a_baseline_is_as_large_as_the_canary_and_leaves_with_it() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let against = AnalysisSpec { against: Against::Baseline, ..strict() };
    let told = deploy_under_load(&world, canary(2, against), "", 0).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    world.settled(&[("dev/web/3", 3)]).await;
    let shares: Vec<Vec<u8>> = world
        .plane
        .history()
        .iter()
        .flat_map(|table| table.backends.values())
        .map(|backend| backend.fleets.iter().map(|it| it.weight).collect())
        .collect();
    assert!(shares.contains(&vec![80, 10, 10]), "old, baseline and new: {shares:?}");
    let history = world.control().history(kiln_control::api::HistoryQuery::default()).await.unwrap();
    let reasons: Vec<_> = history.releases.iter().filter_map(|it| it.reason.clone()).collect();
    assert_eq!(reasons, ["release 1 again, as the baseline that release 3 is compared with"]);
}

#[tokio::test]
async fn a_source_that_cannot_be_read_stops_the_rollout_and_blames_nobody() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let metric = Metric {
        name: "orders".into(),
        source: MetricSource::Command { argv: vec!["/nonexistent/orders".into()] },
        max: None,
        min: Some(1.0),
        failure_limit: 0,
        error_limit: 1,
    };
    let spec = AnalysisSpec { metrics: vec![metric], interval: Span::from_millis(100), ..strict() };
    let told = deploy_under_load(&world, canary(2, spec.clone()), "", 0).await;
    let What::RolledBack { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.contains("orders") && reason.contains("/nonexistent/orders"), "{reason}");
    world.settled(&[("dev/web/1", 3)]).await;
    world.try_deploy(vec![canary(2, spec)]).await.unwrap();
}

/// The world begins at midnight; the freeze begins a minute later and lasts for an hour.
fn frozen_canary(build: u8) -> kiln_control::api::DeployRequest {
    let (begins, lasts) = ("1 0 * * *".into(), Span::from_secs(3600));
    let freeze = Freeze { name: "sale".into(), begins, lasts, timezone: "UTC".into() };
    let step = Strategy::Canary { steps: vec![10], hold: Span::from_secs(120) };
    let mut asked = request(vec![rolled_with(content("web", build), step)]);
    asked.freezes = vec![freeze];
    asked
}

#[tokio::test]
async fn a_freeze_holds_a_rollout_between_its_stages() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let answer = world.control().deploy(frozen_canary(2)).await.unwrap();
    world
        .until("it has its first share", async |it| (it.plane.weights("web").len() == 2).then_some(()))
        .await;
    world.clock.advance(1_000_000);
    for _ in 0..40 {
        world.turn().await;
        assert_eq!(world.plane.weights("web").len(), 2, "it went on in the freeze");
    }
    world.clock.advance(3_600_000);
    let told = world.ended(answer.services[0].rollout.unwrap(), answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
}

#[tokio::test]
async fn an_emergency_goes_on_in_a_freeze() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let mut asked = frozen_canary(2);
    asked.emergency = Some("the shop is down".into());
    let answer = world.control().deploy(asked).await.unwrap();
    world
        .until("it has its first share", async |it| (it.plane.weights("web").len() == 2).then_some(()))
        .await;
    world.clock.advance(1_000_000);
    let told = world.ended(answer.services[0].rollout.unwrap(), answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
}

#[tokio::test]
async fn what_was_deployed_together_goes_back_together_in_reverse_order() {
    let world = World::new().await;
    let db = |build| {
        let port = Port { number: 5432, protocol: Protocol::Tcp };
        with(content("db", build), |it| {
            it.config.ports.insert(name("http"), port);
        })
    };
    let web = |build| with(content("web", build), |it| it.service.depends_on.push(name("db")));
    let first = world.try_deploy(vec![db(1), web(1), content("other", 1)]).await.unwrap();
    for deployed in &first.services {
        world.ended(deployed.rollout.unwrap(), first.after).await;
    }
    world.script("dev/web/2", [Behaviour::exits_at_start(10)]);
    let second = world.try_deploy(vec![db(2), web(2), content("other", 2)]).await.unwrap();
    let told = world.ended(second.services[1].rollout.unwrap(), second.after).await;
    assert!(matches!(told, What::RolledBack { .. }), "{told:?}");
    world.settled(&[("dev/db/1", 3), ("dev/other/2", 3), ("dev/web/1", 3)]).await;
    assert_eq!(world.service("db").await.current, Some(ReleaseNumber(1)));
    let back = world.events().await.into_iter().rev().find(|it| it.service.as_str() == "db").unwrap();
    assert!(matches!(back.what, What::Succeeded { .. }), "{back:?}");
}

#[tokio::test]
async fn testers_and_copies_reach_the_new_fleet_only_while_an_older_one_serves() {
    let world = World::new().await;
    let rules = CanaryTraffic {
        sticky: Some(Sticky::Header { name: "x-user".into() }),
        testers: vec![HeaderMatch { header: "x-tester".into(), value: None }],
        mirror: 20,
    };
    let ruled = |build| with(content("web", build), |it| it.service.rollout.canary_traffic = rules.clone());
    world.deploy(ruled(1)).await;
    world.deploy(ruled(2)).await;
    world.settled(&[("dev/web/2", 3)]).await;
    let seen: Vec<_> = world.plane.history().iter().flat_map(|it| it.backends.values().cloned()).collect();
    let with_rules = seen.iter().filter(|it| it.mirror.is_some());
    for backend in with_rules.clone() {
        assert_eq!(backend.mirror.as_ref().map(|it| (it.fleet.release.0, it.percent)), Some((2, 20)));
        assert_eq!(backend.testers[0].fleet.release.0, 2);
        assert!(backend.sticky.is_some() && backend.fleets.len() == 2);
    }
    assert!(with_rules.count() > 0);
    let last = seen.last().unwrap();
    assert!(last.mirror.is_none() && last.testers.is_empty(), "{last:?}");
}
