//! Where a rollout rests, and where a person must approve.

use kiln_model::{Approval, Checkpoint, Strategy};

use super::strategy::descent;
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::source::Place;

pub(super) fn build(
    world: &World<'_>,
    section: &Section<'_>,
    strategy: &Strategy,
) -> (Vec<Checkpoint>, Option<Approval>) {
    let stops = Stops { world, shares: section.readable(&["steps"]).then(|| shares(strategy)).flatten() };
    let approval = section.one("approval").and_then(|block| stops.approval(block));
    (stops.checkpoints(section), approval)
}

/// The shares of the traffic at which the new release ever stands; `None` when that follows from the sizes.
fn shares(strategy: &Strategy) -> Option<Vec<u8>> {
    match strategy {
        Strategy::Rolling { .. } => None,
        Strategy::Recreate | Strategy::BlueGreen { .. } => Some(vec![100]),
        Strategy::Canary { steps, .. } => {
            // Steps that are no way up were reported.
            descent(steps).is_none().then_some(())?;
            let last = steps.last().filter(|last| **last < 100).map(|_| 100);
            Some(steps.iter().copied().chain(last).collect())
        }
    }
}

struct Stops<'s> {
    world: &'s World<'s>,
    shares: Option<Vec<u8>>,
}

impl Stops<'_> {
    fn approval(&self, block: &Section<'_>) -> Option<Approval> {
        let by = self.approvers(block);
        let before = block.shares("before")?;
        if let Some(index) = descent(&before) {
            let problem = Problem::error(block.item_at("before", index), "`before` must ascend");
            self.world.report.add(
                problem
                    .label(format!("not above {}", before[index - 1]))
                    .help("write it like before = [50, 100]"),
            );
        }
        for (index, share) in before.iter().enumerate() {
            self.check(*share, block.item_at("before", index));
        }
        Some(Approval { before, by })
    }

    fn approvers(&self, block: &Section<'_>) -> Vec<String> {
        let by = block.texts("by").unwrap_or_default();
        if block.readable(&["by"]) && block.has("by") && by.is_empty() {
            let problem = Problem::error(block.at("by"), "`by` names nobody, so nobody could approve");
            self.world.report.add(
                problem.help("write it like by = [\"alice\"], or take it out: anyone with a name may then"),
            );
        }
        for (index, _) in by.iter().enumerate().filter(|(_, name)| name.trim().is_empty()) {
            let problem = Problem::error(block.item_at("by", index), "this name is empty");
            self.world.report.add(problem.help("write it like by = [\"alice\"]"));
        }
        by
    }

    /// In ascending order, however they stand.
    fn checkpoints(&self, section: &Section<'_>) -> Vec<Checkpoint> {
        let mut checkpoints: Vec<(Checkpoint, Place)> = Vec::new();
        for block in section.all("checkpoint") {
            let (Some(at), Some(hold)) = (block.share("at"), block.span("hold")) else { continue };
            self.check(at, block.at("at"));
            if let Some((_, first)) = checkpoints.iter().find(|(other, _)| other.at == at) {
                self.world.report.add(
                    Problem::error(block.place, format!("there is a second checkpoint at {at}%"))
                        .also(*first, "the first one")
                        .help("keep one of the two"),
                );
            }
            if hold.millis() == 0 {
                let problem = Problem::error(block.at("hold"), "a checkpoint must hold for a while");
                self.world
                    .report
                    .add(problem.help("write it like hold = \"1h\"; for a person's word use `approval`"));
            }
            checkpoints.push((Checkpoint { at, hold }, block.place));
        }
        checkpoints.sort_by_key(|(checkpoint, _)| checkpoint.at);
        checkpoints.into_iter().map(|(checkpoint, _)| checkpoint).collect()
    }

    /// A stop at a share that is passed over would never be made.
    fn check(&self, share: u8, place: Place) {
        let Some(shares) = self.shares.as_ref().filter(|shares| !shares.contains(&share)) else { return };
        let problem = if let [100] = shares.as_slice() {
            Problem::error(place, format!("this rollout never stands at {share}%"))
                .note("the new release gets all the traffic at once")
                .help("write 100, or use rollout \"canary\" with steps")
        } else {
            let list: Vec<_> = shares.iter().map(u8::to_string).collect();
            Problem::error(place, format!("this canary never stands at {share}%")).help(format!(
                "its steps are {}: take one of them, or add {share} to `steps`",
                list.join(", ")
            ))
        };
        self.world.report.add(problem);
    }
}
