//! What stands between one stage and the next beside the gates: the health of everything, freezes, the budget.

use crate::{Gate, Note, NoteKind, Rollout, View, gates, wish};

/// Remembers what was ill before the rollout touched anything.
pub(crate) fn remember(next: &mut Rollout, view: &View) {
    if next.memory.ill_before.is_none() {
        let ready = next.old.as_ref().map_or(0, |old| gates::ready(gates::fleet(view, old)));
        next.memory.ill_before = Some(next.old_size.saturating_sub(ready));
    }
}

/// Why the stage after this gate may not begin yet.
pub(crate) fn hindrance(rollout: &Rollout, (index, gate): (usize, usize), view: &View) -> Option<Note> {
    let stage = &rollout.stages[index];
    if gate + 1 < stage.gates.len() || index + 1 >= rollout.stages.len() {
        return None;
    }
    // A freeze is passed by an emergency, which is on the record, and by no promotion.
    let frozen = view.frozen.clone().map(|text| Note { kind: NoteKind::Frozen, text });
    let ill = || if rollout.memory.promoted { None } else { too_ill(rollout, index, view) };
    frozen.or_else(ill)
}

/// More of all the instances are ill than may be. Those that were before it began are not counted: the release may be
/// their cure.
fn too_ill(rollout: &Rollout, index: usize, view: &View) -> Option<Note> {
    let stage = &rollout.stages[index];
    let ready = |id| gates::ready(gates::fleet(view, id));
    let old_ready = rollout.old.as_ref().map_or(0, ready);
    let old_ill = stage.old.saturating_sub(old_ready);
    let ill = stage.new.saturating_sub(ready(&rollout.new))
        + old_ill.saturating_sub(rollout.memory.ill_before.unwrap_or(0));
    let (all, most) = (stage.new + stage.old, rollout.spec.max_unhealthy);
    let too_many = u64::from(ill) * 100 > u64::from(all) * u64::from(most);
    too_many.then(|| Note {
        kind: NoteKind::Unhealthy,
        text: format!("{ill} of all {all} instances are not healthy, more than the {most} % allowed"),
    })
}

/// Why fewer old instances leave than the batch would take.
pub(crate) fn short_of_budget(rollout: &Rollout, (index, gate): (usize, usize)) -> Option<Note> {
    let stage = &rollout.stages[index];
    let kept = rollout.memory.wish.old.saturating_sub(stage.old);
    let leaving = matches!(stage.gates.get(gate), Some(Gate::Drained));
    (leaving && kept > 0).then(|| Note {
        kind: NoteKind::Budget,
        text: format!(
            "{kept} old instances stay for now, because at least {} must be ready",
            wish::must_be_ready(rollout)
        ),
    })
}
