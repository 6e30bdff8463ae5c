//! Each action of each strategy goes wrong in turn, and each way back is gone twice.

use kiln_model::{Against, Amount, AnalysisSpec, Approval, Checkpoint, RolloutSpec, Span, Strategy as Kind};
use kiln_testkit::fail_every_action;

fn rules(strategy: Kind) -> RolloutSpec {
    RolloutSpec {
        strategy,
        healthy_deadline: Span::from_secs(10),
        progress_deadline: Span::from_secs(60),
        drain_deadline: Span::from_secs(2),
        ..RolloutSpec::default()
    }
}

fn rolling(surge: u32, unavailable: u32, batch: Option<u32>) -> RolloutSpec {
    let count = Amount::Count;
    rules(Kind::Rolling {
        max_surge: count(surge),
        max_unavailable: count(unavailable),
        batch: batch.map(count),
        pause: Span::from_millis(100),
    })
}

fn all(spec: &RolloutSpec, old: Option<u32>) {
    match fail_every_action(spec, 3, old) {
        Ok(acts) => println!("{acts} actions, each of them six times wrong"),
        Err(what) => panic!("{:?} from {old:?}: {what}", spec.strategy),
    }
}

#[test]
fn every_action_of_recreate_may_go_wrong() {
    all(&rules(Kind::Recreate), Some(3));
    all(&rules(Kind::Recreate), None);
}

#[test]
fn every_action_of_rolling_may_go_wrong() {
    all(&rolling(1, 0, None), Some(3));
    all(&rolling(0, 1, None), Some(2));
    all(&rolling(2, 1, Some(1)), Some(3));
}

#[test]
fn every_action_of_blue_green_may_go_wrong() {
    let spec = rules(Kind::BlueGreen { hold: Span::from_millis(300) });
    all(&spec, Some(3));
    all(&RolloutSpec { scale_down_delay: Span::from_millis(300), ..spec }, Some(4));
}

#[test]
fn every_action_of_canary_may_go_wrong() {
    let spec = rules(Kind::Canary { steps: vec![34], hold: Span::from_millis(200) });
    let approval = Some(Approval { before: vec![100], by: Vec::new() });
    let checkpoints = vec![Checkpoint { at: 20, hold: Span::from_millis(400) }];
    all(&RolloutSpec { approval, checkpoints, ..spec.clone() }, Some(3));
    let against = Against::Limits;
    let analysis = AnalysisSpec { against, max_error_rate: Some(0.05), ..AnalysisSpec::default() };
    all(&RolloutSpec { analysis: Some(analysis), ..spec }, Some(3));
}
