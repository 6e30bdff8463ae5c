//! The window of an analysis: what was counted since it began, also over restarts of the data plane.

use std::collections::BTreeMap;

use kiln_model::{Against, FleetId};

use crate::analysis::{self, Judgement, Sample, Window};
use crate::gates::Verdict;
use crate::{Counted, Note, NoteKind, Rollout, View};

/// Judges what was measured in stage `index`; `end` is when its time has passed.
pub(crate) fn judge(next: &mut Rollout, index: usize, end: i64, view: &View, now: i64) -> Verdict {
    let Some(spec) = next.spec.analysis.clone() else {
        return if now >= end { Verdict::Holds } else { Verdict::Wait(Some(end)) };
    };
    count(next, view);
    let window = window(next, index, spec.against);
    let over = now >= end;
    let mut note = |kind, text| {
        next.memory.note = Some(Note { kind, text });
        Verdict::Wait(None)
    };
    match analysis::judge(&spec, &mut next.memory.analysis, &window, &view.readings, over) {
        Judgement::GoesOn if over => Verdict::Wait(None),
        Judgement::GoesOn => Verdict::Wait(Some(end)),
        Judgement::Pass => Verdict::Holds,
        Judgement::Fail(reason) => Verdict::Fails(reason),
        Judgement::NoData(text) => note(NoteKind::NoData, text),
        Judgement::Inconclusive(text) => note(NoteKind::Inconclusive, text),
        Judgement::Error(reason) => {
            next.memory.blameless = true;
            Verdict::Fails(reason)
        }
    }
}

fn count(next: &mut Rollout, view: &View) {
    let named = [Some(&next.new), next.old.as_ref(), next.baseline.as_ref()];
    let seen = named.into_iter().flatten();
    let seen: BTreeMap<FleetId, Sample> =
        seen.filter_map(|id| Some((id.clone(), view.samples.get(id)?.clone()))).collect();
    let Some(mut counted) = next.memory.window.take() else {
        next.memory.window =
            Some(Counted { epoch_ms: view.epoch_ms, start: seen.clone(), last: seen, ..Counted::default() });
        return;
    };
    if counted.epoch_ms != view.epoch_ms {
        let all: Vec<FleetId> = counted.last.keys().cloned().collect();
        for id in all {
            let total = total(&counted, &id);
            counted.carried.insert(id, total);
        }
        // Whoever was known counts from nothing again.
        counted.start = counted.last.keys().map(|id| (id.clone(), Sample::default())).collect();
        counted.epoch_ms = view.epoch_ms;
    }
    for (id, sample) in &seen {
        counted.start.entry(id.clone()).or_insert_with(|| sample.clone());
    }
    counted.last = seen;
    next.memory.window = Some(counted);
}

fn total(counted: &Counted, id: &FleetId) -> Sample {
    let nothing = Sample::default();
    let last = counted.last.get(id).unwrap_or(&nothing);
    let here = last.since(counted.start.get(id).unwrap_or(&nothing));
    here.plus(counted.carried.get(id).unwrap_or(&nothing))
}

fn window(rollout: &Rollout, index: usize, against: Against) -> Window {
    let stage = &rollout.stages[index];
    let nothing = Counted::default();
    let counted = rollout.memory.window.as_ref().unwrap_or(&nothing);
    let old = rollout.old.as_ref().filter(|_| stage.old_weight() > 0);
    let base = match against {
        Against::Limits => None,
        Against::Baseline => rollout.baseline.as_ref().filter(|_| stage.baseline > 0).or(old),
        Against::Old => old,
    };
    Window { new: total(counted, &rollout.new), base: base.map(|id| total(counted, id)) }
}
