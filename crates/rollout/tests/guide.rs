//! The guide shows what the engine does: every drawing in it is one that the engine draws.

use kiln_model::{Against, Amount, AnalysisSpec, Approval, Checkpoint, RolloutSpec, Span, Strategy};
use kiln_rollout::{draw, plan};

#[test]
fn every_drawing_of_the_guide_is_drawn_by_the_engine() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rollouts.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let shown: Vec<&str> =
        guide.split("```text\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let rolling = |max_surge, max_unavailable, pause| Strategy::Rolling {
        max_surge,
        max_unavailable,
        batch: None,
        pause,
    };
    let drawings = [
        (Strategy::Recreate, 3, None),
        (Strategy::BlueGreen { hold: Span::from_secs(60) }, 3, Some(3)),
        (rolling(Amount::Percent(25), Amount::Count(0), Span::from_secs(10)), 6, Some(6)),
        (rolling(Amount::Count(0), Amount::Count(1), Span::default()), 3, Some(3)),
        (Strategy::Canary { steps: vec![5, 25, 75], hold: Span::from_secs(120) }, 4, Some(4)),
        (Strategy::Recreate, 3, Some(3)),
    ]
    .map(|(strategy, replicas, old)| {
        let spec = RolloutSpec { strategy, ..RolloutSpec::default() };
        draw(&plan(&spec, replicas, old).unwrap())
    });
    let analysis =
        AnalysisSpec { max_error_rate: Some(0.01), against: Against::Baseline, ..AnalysisSpec::default() };
    let careful = RolloutSpec {
        strategy: Strategy::Canary { steps: vec![10, 25, 50], hold: Span::from_secs(300) },
        analysis: Some(analysis),
        approval: Some(Approval { before: vec![100], by: vec!["alice".into()] }),
        checkpoints: vec![Checkpoint { at: 50, hold: Span::from_secs(3600) }],
        scale_down_delay: Span::from_secs(1800),
        ..RolloutSpec::default()
    };
    let careful = draw(&plan(&careful, 8, Some(8)).unwrap());
    let drawings: Vec<String> = drawings.into_iter().chain([careful]).collect();
    assert_eq!(shown, drawings);
}
