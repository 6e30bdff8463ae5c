//! Freezes: what is refused, what is not, and what passes all the same.

use kiln_control::api::*;
use kiln_control::{ControlError, What};
use kiln_model::*;
use kiln_rollout::NoteKind;
use kiln_testkit::Behaviour;

use crate::hand::{again, promotion};
use crate::world::*;

fn freeze(name: &str, begins: &str, lasts: Span) -> Freeze {
    Freeze { name: name.into(), begins: begins.into(), lasts, timezone: "Europe/Berlin".into() }
}

/// One that is on: it begins with every month and lasts for nearly all of it.
fn on() -> Freeze {
    freeze("quarter end", "0 0 1 * *", Span::from_secs(31 * 86_400 - 3600))
}

fn frozen(build: u8, emergency: Option<&str>) -> DeployRequest {
    DeployRequest {
        freezes: vec![on()],
        emergency: emergency.map(Into::into),
        ..request(vec![content("web", build)])
    }
}

#[tokio::test]
async fn nothing_new_is_rolled_out_while_frozen_but_for_an_emergency() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let error = world.control().deploy(frozen(2, None)).await.unwrap_err();
    let ControlError::Frozen { until, .. } = &error else { panic!("{error}") };
    assert!(until.ends_with(" Europe/Berlin"), "{until}");
    assert!(error.to_string().contains("\"quarter end\""), "{error}");
    assert!(error.hint().unwrap().contains("--emergency"));
    assert_eq!(world.control().history(HistoryQuery::default()).await.unwrap().releases.len(), 1);
    let error = world.control().deploy(frozen(2, Some(" "))).await.unwrap_err();
    assert_eq!(error.to_string(), "an emergency must say why");
    let answer = world.control().deploy(frozen(2, Some("leak"))).await.unwrap();
    let rollout = answer.services[0].rollout.unwrap();
    let told = world.ended(rollout, answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    let release = world.control().history(HistoryQuery::default()).await.unwrap().releases.remove(0);
    let emergency = What::Emergency { freeze: Some("quarter end".into()), reason: "leak".into() };
    assert!(release.acts.iter().any(|act| act.who == "ann" && act.what == emergency), "{:?}", release.acts);
    assert_eq!(release.rollouts[0].emergency.as_deref(), Some("leak"));
}

#[tokio::test]
async fn what_starts_no_rollout_is_not_frozen() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.deploy(content("web", 2)).await;
    let same = world.control().deploy(frozen(2, None)).await.unwrap();
    assert_eq!(same.services[0].outcome, Outcome::Unchanged);
    let mut more = frozen(2, None);
    more.releases[0].service.replicas = 4;
    let resized = world.control().deploy(more).await.unwrap();
    assert_eq!(resized.services[0].outcome, Outcome::Resized { from: 3, to: 4 });
    let back = RollbackRequest {
        environment: name("dev"),
        service: name("web"),
        release: None,
        author: "bob".into(),
        reason: None,
    };
    let answer = world.control().rollback(back).await.unwrap();
    let told = world.ended(answer.rollout, answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
}

#[tokio::test]
async fn trying_again_is_frozen_like_a_deploy() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    world.script("dev/web/2", [Behaviour::exits_at_start(30)]);
    let answer = world.control().deploy(frozen(2, Some("leak"))).await.unwrap();
    let told = world.ended(answer.services[0].rollout.unwrap(), answer.after).await;
    assert!(matches!(told, What::RolledBack { .. }), "{told:?}");
    world.script("dev/web/2", [Behaviour::default()]);
    world.settled(&[("dev/web/1", 3)]).await;
    let error = world.control().retry(again("bob")).await.unwrap_err();
    assert!(matches!(error, ControlError::Frozen { .. }), "{error}");
    assert_eq!(world.service("web").await.quarantined.len(), 1, "nothing was done");
    let urgent = RetryRequest { emergency: Some("still leaking".into()), ..again("bob") };
    let answer = world.control().retry(urgent).await.unwrap();
    let told = world.ended(answer.rollout, answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
}

#[tokio::test]
async fn a_plan_tells_the_freeze_that_is_on_or_comes_next() {
    let world = World::new().await;
    let plan = async |freezes: Vec<Freeze>| {
        let request = PlanRequest { environment: name("dev"), releases: vec![content("web", 1)], freezes };
        world.control().plan(request).await.map(|answer| answer.freeze)
    };
    assert_eq!(plan(Vec::new()).await.unwrap(), None);
    let short = freeze("an instant", "0 0 29 2 *", Span::from_secs(60));
    let first = plan(vec![short.clone()]).await.unwrap().unwrap();
    assert!(!first.active && first.at.contains("-02-29 00:00 Europe/Berlin"), "{first:?}");
    let both = plan(vec![short, on()]).await.unwrap().unwrap();
    assert_eq!((both.active, both.name.as_str()), (true, "quarter end"));
    let wrong = plan(vec![freeze("bad", "whenever", Span::from_secs(60))]).await.unwrap_err();
    assert_eq!(wrong.to_string(), "freeze \"bad\" cannot be evaluated");
}

#[tokio::test]
async fn a_freeze_that_begins_holds_what_is_under_way_until_somebody_calls_it_an_emergency() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    // The world begins with the year.
    let sale = Freeze { timezone: "UTC".into(), ..freeze("sale", "10 0 1 1 *", Span::from_secs(7200)) };
    let step = Strategy::Canary { steps: vec![10], hold: Span::from_secs(900) };
    let deploy = DeployRequest { freezes: vec![sale], ..request(vec![rolled_with(content("web", 2), step)]) };
    let answer = world.control().deploy(deploy).await.unwrap();
    let stands = async |world: &World, stage: usize| {
        let held = |it: &RolloutStatus| matches!(it.gate, Some(kiln_rollout::Gate::Held { .. }));
        world
            .until("the hold", async |it| {
                it.service("web").await.rollout.filter(|it| held(it) && it.stage == stage)
            })
            .await
    };
    stands(&world, 1).await;
    world.clock.advance(960_000);
    let note = world.until("the freeze", async |it| it.service("web").await.rollout.unwrap().note).await;
    assert_eq!(note.kind, NoteKind::Frozen);
    world.control().promote(promotion("bob")).await.unwrap();
    for _ in 0..10 {
        world.turn().await;
    }
    assert_eq!(stands(&world, 1).await.stage, 1, "a promotion passes a gate, and no freeze");
    let urgent = PromoteRequest { emergency: Some("leak".into()), ..promotion("bob") };
    world.control().promote(urgent).await.unwrap();
    stands(&world, 2).await;
    world.clock.advance(960_000);
    let told = world.ended(answer.services[0].rollout.unwrap(), answer.after).await;
    assert!(matches!(told, What::Succeeded { .. }), "{told:?}");
    let events = world.events().await;
    let noted = events.iter().filter(|event| matches!(event.what, What::Noted { note: Some(_) })).count();
    assert_eq!(noted, 1, "told once, not with every look");
    let emergency = What::Emergency { freeze: Some("sale".into()), reason: "leak".into() };
    assert!(events.iter().any(|event| event.who == "bob" && event.what == emergency));
}
