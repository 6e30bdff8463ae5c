//! Words of other tools for what has a name here. They are not accepted, since one thing has one name; whoever writes
//! one is told the name.

/// A word of a peer.
struct Word {
    word: &'static str,
    /// Whose it is.
    peer: &'static str,
    /// The block here in which it is looked up.
    block: &'static str,
    /// How it is written here.
    here: &'static str,
}

const fn word(peer: &'static str, word: &'static str, block: &'static str, here: &'static str) -> Word {
    Word { word, peer, block, here }
}

/// What to say about a word that a block does not have, when it is one of a peer's.
pub(crate) fn word_of_a_peer(block: &str, word: &str) -> Option<String> {
    let known = WORDS.iter().find(|known| known.block == block && known.word == word)?;
    Some(format!("`{word}` of {} is written here as: {}", known.peer, known.here))
}

const KUBERNETES: &str = "Kubernetes";
const ARGO: &str = "Argo Rollouts";
const FLAGGER: &str = "Flagger";
const NOMAD: &str = "Nomad";
const ASG: &str = "EC2 Auto Scaling";
const AZURE: &str = "Azure";
const CODEDEPLOY: &str = "CodeDeploy";
const ECS: &str = "ECS";
const GCP: &str = "Google Cloud";
const KAMAL: &str = "Kamal";

const POLICY: &str = "rolling_upgrade_policy { … }, with the fields as Azure has them";
const APPROVE: &str = "approval { before = [100] }";
const UNAVAILABLE: &str = "max_unavailable = \"10%\", which is what may be missing";

static WORDS: &[Word] = &[
    word(KUBERNETES, "maxSurge", "rollout", "max_surge = \"25%\""),
    word(KUBERNETES, "maxUnavailable", "rollout", "max_unavailable = \"25%\""),
    word(KUBERNETES, "minReadySeconds", "rollout", "min_healthy = \"10s\""),
    word(KUBERNETES, "progressDeadlineSeconds", "rollout", "progress_deadline = \"10m\""),
    word(
        KUBERNETES,
        "rollingUpdate",
        "rollout",
        "max_surge and max_unavailable, right in rollout \"rolling\"",
    ),
    word(KUBERNETES, "terminationGracePeriodSeconds", "rollout", "stop { grace = \"30s\" }, in the image"),
    word(KUBERNETES, "maxUnavailable", "service", "max_disrupted = \"25%\""),
    word(KUBERNETES, "minAvailable", "service", "max_disrupted = \"25%\", which is what may be away"),
    word(KUBERNETES, "strategy", "service", "rollout \"rolling\" { … }"),
    word(ARGO, "progressDeadlineAbort", "rollout", "auto_rollback = true"),
    word(ARGO, "scaleDownDelaySeconds", "rollout", "scale_down_delay = \"30s\""),
    word(ARGO, "autoPromotionEnabled", "rollout", APPROVE),
    word(ARGO, "autoPromotionSeconds", "rollout", "checkpoint { … }"),
    word(ARGO, "setWeight", "rollout", "steps = [5, 25, 75, 100]"),
    word(ARGO, "analysis", "rollout", "analyse { … }"),
    word(ARGO, "prePromotionAnalysis", "rollout", "analyse { … }"),
    word(ARGO, "postPromotionAnalysis", "rollout", "analyse { … }"),
    word(ARGO, "setHeaderRoute", "rollout", "tester { header = \"x-tester\" }"),
    word(ARGO, "setMirrorRoute", "rollout", "mirror = \"10%\""),
    word(ARGO, "failureLimit", "metric", "failure_limit = 0"),
    word(ARGO, "consecutiveErrorLimit", "metric", "error_limit = 4"),
    word(ARGO, "successCondition", "metric", "max = 0.01, or min"),
    word(ARGO, "failureCondition", "metric", "max = 0.01, or min"),
    word(ARGO, "web", "metric", "webhook { … }"),
    word(ARGO, "job", "metric", "command = [\"…\"]"),
    word(ARGO, "interval", "metric", "interval = \"10s\", in analyse"),
    word(FLAGGER, "stepWeight", "rollout", "steps = [20, 40, 60, 100]"),
    word(FLAGGER, "stepWeights", "rollout", "steps = [5, 25, 75, 100]"),
    word(FLAGGER, "maxWeight", "rollout", "steps = [20, 40, 60, 100]"),
    word(FLAGGER, "mirrorWeight", "rollout", "mirror = \"10%\""),
    word(FLAGGER, "sessionAffinity", "rollout", "sticky { cookie = \"name\" }"),
    word(FLAGGER, "threshold", "rollout", "failure_limit, in a metric of analyse"),
    word(NOMAD, "max_parallel", "rollout", "batch = 1"),
    word(NOMAD, "min_healthy_time", "rollout", "min_healthy = \"10s\""),
    word(NOMAD, "auto_revert", "rollout", "auto_rollback = true"),
    word(NOMAD, "auto_promote", "rollout", APPROVE),
    word(NOMAD, "stagger", "rollout", "pause = \"30s\""),
    word(NOMAD, "canary", "rollout", "steps = [5, 25, 75, 100], in rollout \"canary\""),
    word(NOMAD, "update", "service", "rollout \"rolling\" { … }"),
    word(ASG, "MinHealthyPercentage", "rollout", UNAVAILABLE),
    word(
        ASG,
        "MaxHealthyPercentage",
        "rollout",
        "max_surge = \"10%\", which is what may be there in addition",
    ),
    word(ASG, "InstanceWarmup", "rollout", "min_healthy = \"5m\""),
    word(ASG, "CheckpointPercentages", "rollout", "checkpoint { … }, one for each"),
    word(ASG, "CheckpointDelay", "rollout", "hold = \"1h\", in a checkpoint"),
    word(ASG, "BakeTime", "rollout", "scale_down_delay = \"1h\""),
    word(ASG, "AutoRollback", "rollout", "auto_rollback = true"),
    word(ASG, "AlarmSpecification", "rollout", "a metric, in analyse"),
    word(AZURE, "rollingUpgradePolicy", "rollout", POLICY),
    word(AZURE, "maxBatchInstancePercent", "rollout", POLICY),
    word(AZURE, "maxUnhealthyInstancePercent", "rollout", POLICY),
    word(AZURE, "maxUnhealthyUpgradedInstancePercent", "rollout", POLICY),
    word(AZURE, "pauseTimeBetweenBatches", "rollout", POLICY),
    word(AZURE, "prioritizeUnhealthyInstances", "rollout", POLICY),
    word(AZURE, "rollbackFailedInstancesOnPolicyBreach", "rollout", POLICY),
    word(CODEDEPLOY, "deploymentConfigName", "rollout", "preset = \"Canary10Percent5Minutes\""),
    word(CODEDEPLOY, "minimumHealthyHosts", "rollout", UNAVAILABLE),
    word(CODEDEPLOY, "terminationWaitTimeInMinutes", "rollout", "scale_down_delay = \"5m\""),
    word(CODEDEPLOY, "deploymentReadyOption", "rollout", APPROVE),
    word(CODEDEPLOY, "autoRollbackConfiguration", "rollout", "auto_rollback = true"),
    word(CODEDEPLOY, "alarmConfiguration", "rollout", "a metric, in analyse"),
    word(ECS, "minimumHealthyPercent", "rollout", UNAVAILABLE),
    word(ECS, "maximumPercent", "rollout", "max_surge = \"100%\", which is what may be there in addition"),
    word(ECS, "canaryPercent", "rollout", "steps = [5, 100], in rollout \"canary\""),
    word(ECS, "canaryBakeTimeInMinutes", "rollout", "hold = \"10m\""),
    word(ECS, "stepPercent", "rollout", "steps = [10, 20, 30, 100], in rollout \"canary\""),
    word(ECS, "stepBakeTimeInMinutes", "rollout", "hold = \"6m\""),
    word(ECS, "bakeTimeInMinutes", "rollout", "hold = \"10m\", in rollout \"blue-green\""),
    word(GCP, "minReady", "rollout", "min_healthy = \"10s\""),
    word(GCP, "minReadySec", "rollout", "min_healthy = \"10s\""),
    word(KAMAL, "deploy_timeout", "rollout", "healthy_deadline = \"30s\""),
    word(KAMAL, "drain_timeout", "rollout", "drain_deadline = \"30s\""),
];

#[cfg(test)]
mod tests {
    use super::super::{Block, ROOT};
    use super::*;

    fn find<'b>(block: &'b Block, name: &str) -> Option<&'b Block> {
        (block.name == name).then_some(block).or_else(|| block.blocks.iter().find_map(|b| find(b, name)))
    }

    #[test]
    fn no_word_of_a_peer_is_one_of_ours_and_all_can_be_met() {
        for known in WORDS {
            let block = find(&ROOT, known.block).unwrap_or_else(|| panic!("no block {}", known.block));
            assert!(block.attribute(known.word).is_none(), "{} has {}", known.block, known.word);
            assert!(block.block(known.word).is_none(), "{} has {}", known.block, known.word);
            let same = WORDS.iter().filter(|w| (w.block, w.word) == (known.block, known.word));
            assert_eq!(same.count(), 1, "{} stands twice", known.word);
            let name: String =
                known.here.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let ours = |b: &Block| b.attribute(&name).is_some() || b.block(&name).is_some();
            let inner = ["metric", "analyse", "checkpoint", "image"].iter().filter_map(|b| find(&ROOT, b));
            assert!(name == "a" || ours(block) || inner.into_iter().any(ours), "{}: {name}", known.word);
        }
    }
}
