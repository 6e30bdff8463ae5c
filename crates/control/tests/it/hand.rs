//! A person's hand on rollouts: pause, resume, promote, retry, and whose a rollout is.

use kiln_control::What;
use kiln_control::api::*;
use kiln_control::state::RolloutState;
use kiln_model::*;
use kiln_rollout::Gate;
use kiln_testkit::Behaviour;

use crate::world::*;

pub(crate) fn by(who: &str) -> HandRequest {
    HandRequest {
        environment: name("dev"),
        service: name("web"),
        author: who.into(),
        reason: Some("lunch".into()),
    }
}

pub(crate) fn promotion(who: &str) -> PromoteRequest {
    PromoteRequest {
        environment: name("dev"),
        service: name("web"),
        author: who.into(),
        reason: Some("looks good".into()),
        all: false,
        emergency: None,
    }
}

pub(crate) fn again(who: &str) -> RetryRequest {
    RetryRequest {
        environment: name("dev"),
        service: name("web"),
        author: who.into(),
        reason: None,
        emergency: None,
    }
}

fn held(build: u8) -> ReleaseContent {
    rolled_with(content("web", build), Strategy::BlueGreen { hold: Span::from_secs(3600) })
}

fn approved(build: u8, by: &[&str]) -> ReleaseContent {
    let steps = Strategy::Canary { steps: vec![50], hold: Span::from_secs(0) };
    with(rolled_with(content("web", build), steps), |it| {
        let by = by.iter().map(ToString::to_string).collect();
        it.service.rollout.approval = Some(Approval { before: vec![100], by });
    })
}

async fn rollout(world: &World) -> RolloutStatus {
    world.service("web").await.rollout.expect("a rollout is under way")
}

/// Turns until the rollout waits for such a gate.
async fn waits_for(world: &World, so: fn(&Gate) -> bool) -> RolloutStatus {
    world
        .until("the gate", async |it| {
            it.service("web").await.rollout.filter(|it| it.gate.as_ref().is_some_and(so))
        })
        .await
}

#[tokio::test]
async fn a_rollout_waits_for_those_who_may_approve() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let deployed = world.try_deploy(vec![approved(2, &["ann", "eve"])]).await.unwrap();
    let waiting = waits_for(&world, |gate| *gate == Gate::Approved).await;
    assert_eq!(waiting.approvers, Some(vec!["ann".to_owned(), "eve".to_owned()]));
    assert!(waiting.summary.unwrap().sentence.contains("kiln promote"));
    let error = world.control().promote(promotion("bob")).await.unwrap_err();
    assert_eq!(error.to_string(), "bob may not approve the rollout to dev/web/2: it asks for ann or eve");
    assert_eq!(error.hint().unwrap(), "ask ann or eve to run `kiln promote`");
    let all = PromoteRequest { all: true, ..promotion("bob") };
    assert_eq!(world.control().promote(all).await.unwrap_err().kind(), ErrorKind::Conflict);
    // Longer than any deadline of the rollout.
    world.clock.advance(3_600_000);
    world.turn().await;
    assert_eq!(rollout(&world).await.gate, Some(Gate::Approved));
    let answer = world.control().promote(promotion("eve")).await.unwrap();
    let rollout = deployed.services[0].rollout.unwrap();
    assert_eq!((answer.rollout, answer.release), (rollout, ReleaseNumber(2)));
    let told = world.ended(rollout, answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    let history = world.control().history(HistoryQuery::default()).await.unwrap();
    let acts = &history.releases[0].acts;
    assert_eq!(acts.len(), 1, "{acts:?}");
    assert_eq!((acts[0].who.as_str(), acts[0].rollout), ("eve", Some(rollout)));
    let What::Promoted { gate, reason, .. } = &acts[0].what else { panic!("{acts:?}") };
    assert_eq!((gate.as_ref(), reason.as_deref()), (Some(&Gate::Approved), Some("looks good")));
    assert_eq!(history.releases[0].rollouts[0].promotions.len(), 1);
}

#[tokio::test]
async fn a_pause_holds_and_its_time_counts_for_no_deadline() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.script("dev/web/2", [Behaviour::never_ready()]);
    let patient = with(content("web", 2), |it| it.service.rollout.healthy_deadline = Span::from_secs(86_400));
    let deployed = world.try_deploy(vec![patient]).await.unwrap();
    waits_for(&world, |gate| *gate == Gate::Healthy).await;
    let answer = world.control().pause(by("bob")).await.unwrap();
    assert!(answer.sentence.contains("paused by bob"), "{}", answer.sentence);
    let error = world.control().pause(by("eve")).await.unwrap_err();
    assert_eq!(error.to_string(), "the rollout to dev/web/2 was paused by bob already");
    // The progress deadline is ten minutes.
    world.clock.advance(3_600_000);
    for _ in 0..10 {
        world.turn().await;
    }
    let paused = rollout(&world).await;
    assert_eq!((paused.status, paused.paused.unwrap().by.as_str()), (RolloutState::Running, "bob"));
    world.control().resume(by("eve")).await.unwrap();
    assert!(world.control().resume(by("eve")).await.unwrap_err().to_string().contains("not paused"));
    world.turn().await;
    assert_eq!(rollout(&world).await.status, RolloutState::Running, "the hour does not count");
    world.clock.advance(660_000);
    let told = world.ended(deployed.services[0].rollout.unwrap(), answer.after).await;
    let What::RolledBack { reason, .. } = told else { panic!("{told:?}") };
    assert!(reason.contains("no progress for 10m"), "{reason}");
    let acts = world.control().history(HistoryQuery::default()).await.unwrap().releases[0].acts.clone();
    let who: Vec<&str> = acts.iter().map(|act| act.who.as_str()).collect();
    assert_eq!(who, ["bob", "eve"], "{acts:?}");
}

#[tokio::test]
async fn a_promotion_passes_a_hold_and_one_of_all_every_gate_to_come() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let deployed = world.try_deploy(vec![held(2)]).await.unwrap();
    waits_for(&world, |gate| matches!(gate, Gate::Held { .. })).await;
    let answer = world.control().promote(promotion("bob")).await.unwrap();
    let told = world.ended(deployed.services[0].rollout.unwrap(), answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    let steps = Strategy::Canary { steps: vec![10, 50], hold: Span::from_secs(3600) };
    world.script("dev/web/3", [Behaviour { ready_after: Some(5_000), ..Behaviour::default() }]);
    let deployed = world.try_deploy(vec![rolled_with(content("web", 3), steps)]).await.unwrap();
    waits_for(&world, |gate| *gate == Gate::Healthy).await;
    let error = world.control().promote(promotion("bob")).await.unwrap_err();
    assert!(error.to_string().contains("which no promotion can replace"), "{error}");
    assert!(error.hint().unwrap().contains("--all"));
    let all = PromoteRequest { all: true, ..promotion("bob") };
    let answer = world.control().promote(all).await.unwrap();
    let told = world.ended(deployed.services[0].rollout.unwrap(), answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
}

#[tokio::test]
async fn what_is_not_under_way_cannot_be_touched() {
    let world = World::new().await;
    let error = world.control().pause(by("bob")).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no service web in environment dev");
    world.deploy(content("web", 1)).await;
    let errors = [
        world.control().pause(by("bob")).await.unwrap_err(),
        world.control().resume(by("bob")).await.unwrap_err(),
        world.control().promote(promotion("bob")).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), "no rollout of service web is under way in environment dev");
    }
    let error = world.control().retry(again("bob")).await.unwrap_err();
    assert_eq!(error.to_string(), "the last rollout of service web in environment dev did not fail");
    world.try_deploy(vec![held(2)]).await.unwrap();
    waits_for(&world, |gate| matches!(gate, Gate::Held { .. })).await;
    let error = world.control().retry(again("bob")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("release 2 of service web is under way: ann began it "), "{text}");
}

#[tokio::test]
async fn a_failed_rollout_is_tried_again_where_it_stood() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.script("dev/web/2", [Behaviour::exits_at_start(30)]);
    let manual = with(content("web", 2), |it| it.service.rollout.auto_rollback = false);
    let deployed = world.try_deploy(vec![manual]).await.unwrap();
    let rollout = deployed.services[0].rollout.unwrap();
    assert!(matches!(world.ended(rollout, deployed.after).await, What::Failed { .. }));
    // What was missing is there now, and the fleet that was left alone comes up.
    world.script("dev/web/2", [Behaviour::default()]);
    world.settled(&[("dev/web/1", 3), ("dev/web/2", 3)]).await;
    assert_eq!(world.plane.weights("web").len(), 1, "the old one serves until somebody decides");
    let answer = world.control().retry(again("bob")).await.unwrap();
    assert_eq!(answer.rollout, rollout, "the same rollout goes on");
    let told = world.ended(rollout, answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    world.settled(&[("dev/web/2", 3)]).await;
    let acts = world.control().history(HistoryQuery::default()).await.unwrap().releases[0].acts.clone();
    assert!(matches!(acts[0].what, What::Retried { instead: None, .. }), "{acts:?}");
}

#[tokio::test]
async fn a_release_that_was_rolled_back_is_tried_again_under_its_number() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.script("dev/web/2", [Behaviour::exits_at_start(30)]);
    let told = world.deploy(content("web", 2)).await;
    assert!(matches!(told, What::RolledBack { .. }), "{told:?}");
    assert_eq!(world.service("web").await.quarantined.len(), 1);
    world.script("dev/web/2", [Behaviour::default()]);
    world.settled(&[("dev/web/1", 3)]).await;
    let answer = world.control().retry(again("bob")).await.unwrap();
    assert_eq!(answer.release, ReleaseNumber(2));
    assert!(world.service("web").await.quarantined.is_empty());
    let told = world.ended(answer.rollout, answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    world.settled(&[("dev/web/2", 3)]).await;
    let release = world.control().history(HistoryQuery::default()).await.unwrap().releases.remove(0);
    let authors: Vec<&str> = release.rollouts.iter().map(|it| it.author.as_str()).collect();
    assert_eq!((release.release, authors), (ReleaseNumber(2), vec!["ann", "bob"]));
    assert!(release.acts.iter().any(|act| matches!(act.what, What::Retried { instead: Some(_), .. })));
    let same = world.try_deploy(vec![content("web", 2)]).await.unwrap();
    assert_eq!(same.services[0].outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn whose_rollout_is_superseded_is_told() {
    let world = World::new().await;
    let first = world.try_deploy(vec![content("web", 1)]).await.unwrap();
    assert_eq!(first.services[0].supersedes, None);
    world.ended(first.services[0].rollout.unwrap(), first.after).await;
    world.try_deploy(vec![held(2)]).await.unwrap();
    waits_for(&world, |gate| matches!(gate, Gate::Held { .. })).await;
    let bob = DeployRequest { author: "bob".into(), ..request(vec![content("web", 3)]) };
    let plan =
        PlanRequest { environment: name("dev"), releases: vec![content("web", 3)], freezes: Vec::new() };
    let planned = world.control().plan(plan).await.unwrap();
    let second = rollout(&world).await;
    let answer = world.control().deploy(bob).await.unwrap();
    let expected = UnderWay {
        rollout: second.id,
        release: ReleaseNumber(2),
        author: "ann".into(),
        since_ms: second.created_ms,
    };
    assert_eq!(answer.services[0].supersedes.as_ref(), Some(&expected));
    assert_eq!(planned.services[0].supersedes.as_ref(), Some(&expected));
    let told = world.ended(answer.services[0].rollout.unwrap(), answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
}
