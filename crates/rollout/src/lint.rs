//! Checks a list of stages against the promises, without knowing how it was made.
//!
//! It shares the types with the planner and nothing else: the bounds are computed anew from the spec.

use std::fmt;

use kiln_model::{Amount, RolloutSpec, Strategy};
use serde::{Deserialize, Serialize};

use crate::{Gate, Stage};

/// A promise that a list of stages breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The stage, counted from 0; `None` for the list as a whole.
    pub stage: Option<usize>,
    /// Which promise.
    pub rule: Rule,
    /// What is wrong, told to people.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Some(stage) => write!(f, "stage {}: {}", stage + 1, self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// The promises about a list of stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// It ends with the new fleet alone, whole, and with all the traffic.
    End,
    /// Weights and sizes only ever move towards the end.
    Monotone,
    /// No traffic for a fleet without instances.
    EmptyFleet,
    /// Enough instances stand at every moment.
    Capacity,
    /// Not too many do.
    Surge,
    /// A fleet's share of the traffic fits its share of the instances.
    Overload,
    /// Blue-green and canary keep the old fleet whole until the shift.
    OldIntact,
    /// Growth is healthy, traffic is verified and confirmed, shrinking is drained, in this order.
    Gates,
    /// A baseline has as many instances and as much traffic as the new fleet, and leaves the old fleet some.
    Baseline,
    /// Shares that need approval are asked for, and analysis is not left out.
    Asked,
}

/// Checks `stages` for `replicas` wanted instances that replace `old`. No violation, no entry.
pub fn lint(stages: &[Stage], spec: &RolloutSpec, replicas: u32, old: Option<u32>) -> Vec<Violation> {
    let mut linter = Linter { spec, replicas, old: old.unwrap_or(0), found: Vec::new() };
    linter.end(stages);
    let mut before = Stage { new: 0, old: linter.old, weight: 0, baseline: 0, gates: Vec::new() };
    let mut verified = false;
    for (index, stage) in stages.iter().enumerate() {
        linter.monotone(index, &before, stage);
        linter.empty_fleet(index, &before, stage);
        linter.capacity(index, &before, stage);
        linter.overload(index, stage);
        linter.gates(index, &before, stage, verified);
        linter.baseline(index, stage);
        linter.asked(index, &before, stage);
        verified |= stage.gates.contains(&Gate::Verified);
        before = stage.clone();
    }
    linter.found
}

struct Linter<'a> {
    spec: &'a RolloutSpec,
    replicas: u32,
    old: u32,
    found: Vec<Violation>,
}

impl Linter<'_> {
    fn check(&mut self, stage: Option<usize>, rule: Rule, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.found.push(Violation { stage, rule, what: what() });
        }
    }

    fn end(&mut self, stages: &[Stage]) {
        let wanted = (self.replicas, 0, 100);
        let last = stages.last().map(|stage| (stage.new, stage.old, stage.weight));
        self.check(None, Rule::End, last == Some(wanted), || {
            format!("the last stage must be {wanted:?} (new, old, weight) and is {last:?}")
        });
    }

    fn monotone(&mut self, index: usize, before: &Stage, stage: &Stage) {
        let (index, replicas) = (Some(index), self.replicas);
        self.check(index, Rule::Monotone, stage.weight >= before.weight && stage.weight <= 100, || {
            format!("the weight goes from {} to {}", before.weight, stage.weight)
        });
        self.check(index, Rule::Monotone, stage.new >= before.new && stage.new <= replicas, || {
            format!("the new fleet goes from {} to {} of {}", before.new, stage.new, replicas)
        });
        self.check(index, Rule::Monotone, stage.old <= before.old, || {
            format!("the old fleet goes from {} to {}", before.old, stage.old)
        });
    }

    fn recreates(&self) -> bool {
        matches!(self.spec.strategy, Strategy::Recreate)
    }

    fn empty_fleet(&mut self, index: usize, before: &Stage, stage: &Stage) {
        self.check(Some(index), Rule::EmptyFleet, stage.weight == 0 || stage.new > 0, || {
            format!("{} % of the traffic goes to a new fleet without instances", stage.weight)
        });
        // Recreate alone may serve nothing, and only by taking the whole old fleet away.
        let nothing = self.recreates() && stage.new == 0 && stage.weight == 0;
        let served = stage.weight == 100 || stage.old > 0 || nothing;
        self.check(Some(index), Rule::EmptyFleet, served || before.old == 0 && before.weight == 0, || {
            format!("{} % of the traffic goes to an old fleet without instances", stage.old_weight())
        });
    }

    /// (instances above, instances below) the wanted number that the strategy allows.
    fn bounds(&self) -> (u64, u64) {
        let whole = u64::from(self.replicas);
        let percent = |amount: Amount, up: u64| match amount {
            Amount::Count(count) => u64::from(count),
            Amount::Percent(percent) => (whole * u64::from(percent) + up) / 100,
        };
        match &self.spec.strategy {
            Strategy::Recreate => (0, whole.max(u64::from(self.old))),
            Strategy::BlueGreen { .. } | Strategy::Canary { .. } => (whole, 0),
            Strategy::Rolling { max_surge, max_unavailable, .. } => {
                match (percent(*max_surge, 99), percent(*max_unavailable, 0)) {
                    (0, 0) => (0, 1),
                    bounds => bounds,
                }
            }
        }
    }

    fn capacity(&mut self, index: usize, before: &Stage, stage: &Stage) {
        let (surge, unavailable) = self.bounds();
        let (wanted, old) = (u64::from(self.replicas), u64::from(self.old));
        let at = Some(index);
        let least = wanted.min(old).saturating_sub(unavailable);
        let (standing, most) =
            (u64::from(stage.new) + u64::from(stage.old), u64::from(stage.new) + u64::from(before.old));
        self.check(at, Rule::Capacity, standing >= least, || {
            format!("{standing} instances are fewer than the {least} that must stand")
        });
        let limit = wanted.max(old) + surge;
        self.check(at, Rule::Surge, most <= limit, || {
            format!("{most} instances are more than the {limit} that may stand")
        });
        let intact = matches!(self.spec.strategy, Strategy::BlueGreen { .. } | Strategy::Canary { .. });
        if intact && stage.old < before.old {
            self.check(at, Rule::OldIntact, before.weight == 100, || {
                format!("the old fleet shrinks while it has {} % of the traffic", 100 - before.weight)
            });
        }
    }

    /// Nobody gets a larger share of the traffic than its share of the least capacity that must stand, give or take
    /// the one percent that whole percents cannot express.
    fn overload(&mut self, index: usize, stage: &Stage) {
        let (_, unavailable) = self.bounds();
        let least = u64::from(self.replicas.min(self.old)).saturating_sub(unavailable).max(1);
        let shares = [("new", stage.weight, stage.new), ("old", stage.old_weight(), stage.old)];
        for (fleet, weight, size) in shares {
            let fits = u64::from(weight) * least <= 100 * u64::from(size) + least;
            // An empty fleet is a fault of its own kind.
            self.check(Some(index), Rule::Overload, fits || size == 0, || {
                format!("{weight} % of the traffic on {size} {fleet} instances is more than their share of {least}")
            });
        }
    }

    fn baseline(&mut self, index: usize, stage: &Stage) {
        let fits = stage.baseline == 0 || stage.baseline == stage.new && u32::from(stage.weight) * 2 < 100;
        self.check(Some(index), Rule::Baseline, fits, || {
            format!(
                "a baseline of {} instances is not the equal of {} new ones at {} % of the traffic",
                stage.baseline, stage.new, stage.weight
            )
        });
    }

    fn asked(&mut self, index: usize, before: &Stage, stage: &Stage) {
        if self.old == 0 {
            return;
        }
        let percent = |it: &Stage| match self.spec.strategy {
            Strategy::Rolling { .. } => u64::from(it.new) * 100 / u64::from(self.replicas.max(1)),
            Strategy::Recreate | Strategy::BlueGreen { .. } | Strategy::Canary { .. } => u64::from(it.weight),
        };
        let (from, to) = (percent(before), percent(stage));
        let mut marks = self.spec.approval.iter().flat_map(|it| &it.before);
        let crosses = marks.any(|mark| from < u64::from(*mark) && u64::from(*mark) <= to);
        let strategy = !self.recreates();
        let asks = stage.gates.contains(&Gate::Approved);
        self.check(Some(index), Rule::Asked, !strategy || asks || !crosses, || {
            format!("the new fleet comes from {from} to {to} % and nobody is asked")
        });
        let analysed = stage.gates.iter().any(|gate| matches!(gate, Gate::Analysed { .. }));
        let moves = stage.weight > before.weight && strategy && self.spec.analysis.is_some();
        self.check(Some(index), Rule::Asked, !moves || analysed, || {
            "the new fleet gets more traffic and is not analysed".into()
        });
    }

    fn gates(&mut self, index: usize, before: &Stage, stage: &Stage, verified: bool) {
        let at = Some(index);
        let ranks: Vec<u8> = stage.gates.iter().map(rank).collect();
        self.check(at, Rule::Gates, ranks.windows(2).all(|pair| pair[0] < pair[1]), || {
            "its gates are not in the order healthy, verified, approved, acknowledged, held, delayed, drained"
                .into()
        });
        let has = |gate: &Gate| stage.gates.contains(gate);
        self.check(at, Rule::Gates, stage.new <= before.new || has(&Gate::Healthy), || {
            "the new fleet grows without being healthy".into()
        });
        let shifts = stage.weight != before.weight || (stage.old == 0 && stage.weight == 0 && before.old > 0);
        self.check(at, Rule::Gates, !shifts || has(&Gate::Acknowledged), || {
            "the weights change without being confirmed".into()
        });
        self.check(at, Rule::Gates, stage.weight == 0 || verified || has(&Gate::Verified), || {
            "the new fleet has traffic before it is verified".into()
        });
        self.check(at, Rule::Gates, stage.old >= before.old || has(&Gate::Drained), || {
            "the old fleet shrinks without being drained".into()
        });
    }
}

fn rank(gate: &Gate) -> u8 {
    match gate {
        Gate::Healthy => 0,
        Gate::Verified => 1,
        Gate::Approved => 2,
        Gate::Acknowledged => 3,
        Gate::Held { .. } | Gate::Analysed { .. } => 4,
        Gate::Delayed { .. } => 5,
        Gate::Drained => 6,
    }
}
