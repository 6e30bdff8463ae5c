//! Limits are kept, or said not to be.

use kiln_model::Bytes;
use kiln_provider::Provider;

use crate::world::{World, logged, one_failure, one_ready};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases!(Root: a_memory_hog_is_killed_and_told_why, a_fork_bomb_is_bounded,
        limits_are_in_the_control_groups, limits_can_be_seen_from_inside, groups_are_gone_with_the_instance)
    .to_vec();
    all.extend(cases!(User: what_cannot_be_limited_is_said));
    all
}

async fn a_memory_hog_is_killed_and_told_why(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["hog"], |content| content.service.limits.memory = Some(Bytes::new(64 << 20)));
    let failure = one_failure(&provider, &spec).await;
    assert!(failure.what.starts_with("killed: out of memory, limit 64MiB after "), "{failure:?}");
}

async fn a_fork_bomb_is_bounded(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["fork"], |content| content.service.limits.pids = Some(40));
    let instance = one_ready(&provider, &spec).await;
    let lines = logged(&world.dir(&instance.id), "forked").await;
    // The supervisor may still be on its way out of the group.
    let last = lines.last().unwrap();
    assert!(["forked 38 then EAGAIN", "forked 39 then EAGAIN"].contains(&last.as_str()), "{last}");
}

/// The group's folder in a v1 controller, or in the unified tree.
fn group(world: &World, controller: &str) -> Option<std::path::PathBuf> {
    let intents = std::fs::read_dir(world.home.path().join("instances")).unwrap();
    let intent =
        intents.map(|entry| std::fs::read(entry.unwrap().path().join("intent.json")).unwrap()).next()?;
    let intent: kiln_local::Intent = serde_json::from_slice(&intent).unwrap();
    let roots = ["/sys/fs/cgroup".to_owned(), format!("/sys/fs/cgroup/{controller}")];
    roots.iter().map(|root| std::path::Path::new(root).join(&intent.cgroup)).find(|path| path.exists())
}

async fn limits_are_in_the_control_groups(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["sleep"], |content| {
        content.service.limits.memory = Some(Bytes::new(64 << 20));
        content.service.limits.cpu = Some(0.5);
        content.service.limits.pids = Some(17);
    });
    let instance = one_ready(&provider, &spec).await;
    let read = |controller: &str, files: [&str; 2]| {
        let folder = group(world, controller).unwrap();
        let text = files.iter().find_map(|file| std::fs::read_to_string(folder.join(file)).ok()).unwrap();
        text.trim().to_owned()
    };
    assert_eq!(read("memory", ["memory.max", "memory.limit_in_bytes"]), "67108864");
    assert_eq!(read("pids", ["pids.max", "pids.max"]), "17");
    assert!(["50000", "50000 100000"].contains(&read("cpu", ["cpu.max", "cpu.cfs_quota_us"]).as_str()));
    let pids = read("pids", ["cgroup.procs", "cgroup.procs"]);
    assert_eq!(pids, instance.pid.unwrap().to_string(), "the supervisor stayed in its instance's group");
    assert_eq!(world.status(&instance.id).warnings, Vec::<String>::new());
}

async fn groups_are_gone_with_the_instance(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["sleep"], |_| {});
    let instance = one_ready(&provider, &spec).await;
    let folder = group(world, "pids").unwrap();
    provider.ensure_fleet(&spec, 0).await.unwrap();
    provider.drained(&instance.id).await.unwrap();
    crate::world::eventually("the group's end", || !folder.exists()).await;
    crate::world::until(&provider, "the end", |fleet| {
        fleet.instances.iter().all(|instance| instance.phase == kiln_provider::Phase::Exited)
    })
    .await;
    provider.close().await.unwrap();
    assert!(!folder.parent().unwrap().exists(), "the home's folder of groups is left");
}

async fn what_cannot_be_limited_is_said(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["sleep"], |content| content.service.limits.memory = Some(Bytes::new(64 << 20)));
    let instance = one_ready(&provider, &spec).await;
    let warnings = provider.warnings().1.remove(&instance.id).unwrap_or_default();
    let limited = group(world, "memory").is_some();
    assert!(limited || warnings.iter().any(|warning| warning.contains("limit is kept")), "{warnings:?}");
}

async fn limits_can_be_seen_from_inside(world: &World) {
    let provider = world.provider().await;
    let spec = world.serving(|content| content.service.limits.memory = Some(Bytes::new(64 << 20)));
    let instance = one_ready(&provider, &spec).await;
    let mut seen = String::new();
    for file in ["memory.max", "memory/memory.limit_in_bytes"] {
        let argv = ["/app", "print", &format!("/sys/fs/cgroup/{file}")].map(str::to_owned).to_vec();
        let request =
            kiln_provider::ExecRequest { argv, timeout: kiln_model::Span::from_secs(60), user: None };
        seen += &provider.exec(&instance.id, &request).await.unwrap().stdout;
    }
    assert!(seen.contains("67108864"), "{seen}");
    let argv = ["/app", "touch", "/sys/fs/cgroup/memory/cgroup.procs"].map(str::to_owned).to_vec();
    let request = kiln_provider::ExecRequest { argv, timeout: kiln_model::Span::from_secs(60), user: None };
    let result = provider.exec(&instance.id, &request).await.unwrap();
    assert!(result.status != 0 && result.stderr.contains("Read-only"), "{result:?}");
}
