//! Azure's `rollingUpgradePolicy` of a virtual machine scale set, as its API documents it.

use kiln_model::{Amount, RolloutSpec, Strategy};

use crate::eval::World;
use crate::language::iso_duration;
use crate::read::Section;
use crate::report::Problem;

/// Every share of the policy that is not written.
const DEFAULT: u8 = 20;

/// Puts the policy's values under the fields of the rollout.
pub(super) fn apply(world: &World<'_>, policy: &Section<'_>, spec: &mut RolloutSpec) {
    let percent = |name: &str| policy.whole::<u8>(name).unwrap_or(DEFAULT);
    let share = Amount::Percent(percent("maxBatchInstancePercent").into());
    let surge = policy.flag("maxSurge").unwrap_or(false);
    let pause = policy.text("pauseTimeBetweenBatches").and_then(|text| iso_duration(&text));
    let (max_surge, max_unavailable) =
        if surge { (share, Amount::Count(0)) } else { (Amount::Count(0), share) };
    spec.strategy = Strategy::Rolling {
        max_surge,
        max_unavailable,
        batch: Some(share),
        pause: pause.unwrap_or_default(),
    };
    spec.max_unhealthy = percent("maxUnhealthyInstancePercent");
    spec.max_unhealthy_new = percent("maxUnhealthyUpgradedInstancePercent");
    if let Some(rollback) = policy.flag("rollbackFailedInstancesOnPolicyBreach") {
        spec.auto_rollback = rollback;
    }
    check_shares(world, policy);
    tell_differences(world, policy);
}

/// Azure refuses a batch that alone could make more unhealthy than is allowed.
fn check_shares(world: &World<'_>, policy: &Section<'_>) {
    let (batch, all) = ("maxBatchInstancePercent", "maxUnhealthyInstancePercent");
    let (Some(most), Some(unhealthy)) = (policy.whole::<u8>(batch), policy.whole::<u8>(all)) else { return };
    if most > unhealthy {
        let message = format!("a batch of {most}% is more than the {unhealthy}% that may be unhealthy");
        world.report.add(
            Problem::error(policy.at(batch), message)
                .also(policy.at(all), "the share that may be unhealthy")
                .help(format!("write {batch} = {unhealthy} or less, or raise {all}")),
        );
    }
}

/// What Kiln does otherwise than Azure.
fn tell_differences(world: &World<'_>, policy: &Section<'_>) {
    let differences = [
        (
            "rollbackFailedInstancesOnPolicyBreach",
            true,
            "Kiln brings the last release back on all instances, not only on those that failed",
            "take it out: `auto_rollback` is on unless you turn it off",
        ),
        (
            "prioritizeUnhealthyInstances",
            false,
            "Kiln always replaces unhealthy instances first",
            "take it out",
        ),
        (
            "enableCrossZoneUpgrade",
            true,
            "`enableCrossZoneUpgrade` has no effect: Kiln's instances of one machine have no zones",
            "take it out",
        ),
    ];
    for (name, written, message, help) in differences {
        if policy.flag(name) == Some(written) {
            world.report.add(Problem::warning(policy.at(name), message).help(help));
        }
    }
}
