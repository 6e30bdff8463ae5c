//! Promotion: what must be proven before something is deployed, and what is put on the record.

use kiln_control::What;
use kiln_control::api::*;
use kiln_model::{ReleaseContent, Requirement};

use crate::world::{World, content, name, request};

fn requires(texts: &[&str]) -> Vec<Requirement> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The content with a listener of its own, as an environment's variables give it.
fn there(mut content: ReleaseContent) -> ReleaseContent {
    content.service.expose[0].listen = Some(9000);
    content
}

fn promotion(content: ReleaseContent, asked: &[&str]) -> DeployRequest {
    let proof = ProofRules {
        from: Some(name("dev")),
        protected: true,
        requires: requires(asked),
        ..ProofRules::default()
    };
    DeployRequest { environment: name("prod"), proof, ..request(vec![there(content)]) }
}

async fn promoted(world: &World, request: DeployRequest) -> What {
    let answer = world.control().deploy(request).await.unwrap();
    world.ended(answer.services[0].rollout.unwrap(), answer.after).await
}

#[tokio::test]
async fn what_serves_is_promoted_on_evidence_and_the_record_says_on_which() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let asked = promotion(content("web", 1), &["tested", "scanned"]);
    let refused = world.control().deploy(asked.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("tested: nobody said so; `kiln prove tested`"), "{refused}");
    assert!(refused.contains("scanned: nobody said so"), "{refused}");
    world.proofs.there.lock().unwrap().push("tested".into());
    let refused = world.control().deploy(asked.clone()).await.unwrap_err().to_string();
    assert!(!refused.contains("tested: nobody"), "{refused}");
    world.proofs.there.lock().unwrap().push("scanned".into());
    assert!(matches!(promoted(&world, asked).await, What::Succeeded { .. }));
    let events = world.events().await;
    let proven = events.iter().find_map(|event| match &event.what {
        What::Proven { from, requires, evidence } => Some((from.clone(), requires.len(), evidence.len())),
        _ => None,
    });
    assert_eq!(proven, Some((Some(name("dev")), 2, 2)));
    // Nothing of it was begun by what was refused.
    assert_eq!(events.iter().filter(|event| matches!(event.what, What::Released { .. })).count(), 2);
}

#[tokio::test]
async fn another_image_than_the_one_that_serves_is_not_promoted() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let refused = world.control().deploy(promotion(content("web", 2), &[])).await.unwrap_err();
    assert!(matches!(refused, kiln_control::ControlError::NotThere { .. }), "{refused}");
    let refused = world.control().deploy(promotion(content("api", 1), &[])).await.unwrap_err();
    assert!(matches!(refused, kiln_control::ControlError::NotThere { .. }), "{refused}");
    assert!(matches!(promoted(&world, promotion(content("web", 1), &[])).await, What::Succeeded { .. }));
}

#[tokio::test]
async fn a_protected_environment_takes_nothing_but_promotions() {
    let world = World::new().await;
    let proof = ProofRules { protected: true, ..ProofRules::default() };
    let direct = DeployRequest { environment: name("prod"), proof, ..request(vec![content("web", 1)]) };
    let refused = world.control().deploy(direct.clone()).await.unwrap_err();
    assert!(matches!(refused, kiln_control::ControlError::Protected(_)), "{refused}");
    let silent = ProofRules { bypass: Some(" ".into()), ..direct.proof.clone() };
    let refused =
        world.control().deploy(DeployRequest { proof: silent, ..direct.clone() }).await.unwrap_err();
    assert!(matches!(refused, kiln_control::ControlError::NoBypass), "{refused}");
    let why = ProofRules { bypass: Some("the site is down".into()), ..direct.proof.clone() };
    assert!(matches!(promoted(&world, DeployRequest { proof: why, ..direct }).await, What::Succeeded { .. }));
    let bypassed = world.events().await.into_iter().find_map(|event| match event.what {
        What::Bypassed { missing, reason } => Some((event.who, missing, reason)),
        _ => None,
    });
    let (who, missing, reason) = bypassed.expect("the bypass is on the record");
    assert_eq!((who.as_str(), reason.as_str()), ("ann", "the site is down"));
    assert!(missing[0].starts_with("promotion:"), "{missing:?}");
}

#[tokio::test]
async fn the_control_plane_swears_to_how_long_something_ran() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let asked = promotion(content("web", 1), &["soaked(dev, 10s)"]);
    let refused = world.control().deploy(asked.clone()).await.unwrap_err();
    assert!(matches!(refused, kiln_control::ControlError::Unproven { .. }), "{refused}");
    let soon = world.clock.now_ms() + 10_000;
    world.until("ten seconds", async |world| (world.clock.now_ms() > soon).then_some(())).await;
    assert!(matches!(promoted(&world, asked).await, What::Succeeded { .. }));
    let sworn = world.proofs.sworn.lock().unwrap().clone();
    assert_eq!(sworn.len(), 1, "{sworn:?}");
    assert_eq!((sworn[0].1.service.as_str(), sworn[0].1.failures), ("web", 0));
}

#[tokio::test]
async fn what_failed_meanwhile_did_not_soak() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    let victim = world.instances("dev/web/1")[0].id.clone();
    assert!(world.provider.kill(&victim));
    world.settled(&[("dev/web/1", 3)]).await;
    let soon = world.clock.now_ms() + 10_000;
    world.until("ten seconds", async |world| (world.clock.now_ms() > soon).then_some(())).await;
    let asked = promotion(content("web", 1), &["soaked(dev, 10s)"]);
    let refused = world.control().deploy(asked).await.unwrap_err();
    assert!(matches!(refused, kiln_control::ControlError::Unproven { .. }), "{refused}");
    assert!(world.proofs.sworn.lock().unwrap().is_empty());
}

#[tokio::test]
async fn two_environments_are_compared_field_by_field() {
    let world = World::new().await;
    world.deploy(content("web", 1)).await;
    promoted(&world, promotion(content("web", 1), &[])).await;
    let asked = CompareRequest { from: name("dev"), to: name("prod"), project: None };
    let answer = world.control().compare(asked.clone()).await.unwrap();
    let [web] = answer.services.as_slice() else { panic!("{answer:?}") };
    let (from, to) = (web.from.as_ref().unwrap(), web.to.as_ref().unwrap());
    assert_eq!(from.image, to.image);
    assert_ne!(from.config, to.config);
    let fields: Vec<&str> = web.differences.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, ["service.expose"]);
    world.deploy(content("web", 2)).await;
    let answer = world.control().compare(asked).await.unwrap();
    assert!(answer.services[0].differences.iter().any(|it| it.field == "image"));
}
