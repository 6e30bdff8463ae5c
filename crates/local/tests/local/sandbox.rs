//! What an instance may not do.

use kiln_model::Span;
use kiln_provider::{ExecRequest, Provider};

use crate::world::{World, logged, one_failure, one_ready};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    let mut all =
        cases!(Both: the_sandbox_holds, commands_are_in_the_same_sandbox, the_users_tables_are_the_images,
        what_cannot_be_executed_is_explained, a_missing_workdir_is_explained)
        .to_vec();
    all.extend(cases!(Root: further_groups_are_given));
    all
}

/// The value of a fact that the program printed.
fn fact<'a>(lines: &'a [String], what: &str) -> &'a str {
    let line = lines.iter().find_map(|line| line.strip_prefix(what)?.strip_prefix(['=', ':']));
    line.unwrap_or_else(|| panic!("no {what} in {lines:#?}")).trim()
}

fn assert_sandboxed(lines: &[String]) {
    for (what, answer) in [
        ("write /", "EROFS"),
        ("write /etc", "EROFS"),
        ("remount /", "EPERM"),
        ("write /tmp", "ok"),
        ("write /run", "ok"),
        ("write /dev/shm", "ok"),
        ("mknod", "EPERM"),
        ("mount", "EPERM"),
        ("unshare", "EPERM"),
        ("ptrace", "EPERM"),
        ("keyctl", "EPERM"),
        ("bpf", "EPERM"),
        ("clone3", "ENOSYS"),
        ("clone newns", "EPERM"),
        ("af_alg", "EPERM"),
        ("tiocsti", "EPERM"),
        ("unknown", "ENOSYS"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(fact(lines, what), answer, "{what}: {lines:#?}");
    }
    // The C library's own signals (32, 33) may have been ignored by whoever started the tests.
    let ignored = u64::from_str_radix(fact(lines, "SigIgn"), 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff, 0, "an ignored signal was handed on: {lines:#?}");
    assert!(["EROFS", "EACCES"].contains(&fact(lines, "write sysctl")), "{lines:#?}");
    assert!(["ETXTBSY", "EROFS", "EACCES"].contains(&fact(lines, "write /app")), "{lines:#?}");
}

/// CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_BIND_SERVICE as bits of capabilities(7).
const ROOT_CAPS: &str = "00000000000004eb";

async fn the_sandbox_holds(world: &World) {
    let provider = world.provider().await;
    let instance = one_ready(&provider, &world.fleet(&["look"], |_| {})).await;
    let lines = logged(&world.dir(&instance.id), "localhost ip6").await;
    assert_sandboxed(&lines);
    assert_eq!(fact(&lines, "CapEff"), ROOT_CAPS);
    assert_eq!(fact(&lines, "CapBnd"), ROOT_CAPS);
    assert!(lines[0].starts_with(&format!("pid=1 uid=0 gid=0 host={}", instance.id)), "{lines:#?}");
    let tree = world.tree(&kiln_model::Digest::from_bytes([1; 32]));
    let mut names: Vec<_> =
        std::fs::read_dir(tree).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["app", "etc"], "the shared tree was written to");
}

async fn commands_are_in_the_same_sandbox(world: &World) {
    let provider = world.provider().await;
    let instance =
        one_ready(&provider, &world.serving(|content| content.config.user = Some("web".into()))).await;
    let request =
        ExecRequest { argv: vec!["/app".into(), "facts".into()], timeout: Span::from_secs(60), user: None };
    let result = provider.exec(&instance.id, &request).await.unwrap();
    assert_eq!(result.status, 0, "{result:?}");
    let lines: Vec<String> = result.stdout.lines().map(str::to_owned).collect();
    assert_sandboxed(&lines);
    assert_eq!(fact(&lines, "CapEff"), "0000000000000000");
    assert!(lines[0].contains("uid=1000 gid=1001") && !lines[0].contains("pid=1 "), "{lines:#?}");
    let missing = ExecRequest { argv: vec!["/nowhere".into()], timeout: Span::from_secs(60), user: None };
    let result = provider.exec(&instance.id, &missing).await.unwrap();
    assert!(result.status != 0 && result.stderr.contains("/nowhere"), "{result:?}");
    let endless = ExecRequest {
        argv: vec!["/app".into(), "sleep".into()],
        timeout: Span::from_millis(200),
        user: None,
    };
    let error = provider.exec(&instance.id, &endless).await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("within 200ms"), "{error:?}");
}

async fn the_users_tables_are_the_images(world: &World) {
    let provider = world.provider().await;
    let instance =
        one_ready(&provider, &world.fleet(&["look"], |c| c.config.user = Some("web".into()))).await;
    let lines = logged(&world.dir(&instance.id), "localhost ip6").await;
    assert!(lines[0].contains("uid=1000 gid=1001"), "{lines:#?}");
    assert_eq!(fact(&lines, "home"), "/srv/web");
    assert_eq!(fact(&lines, "CapBnd"), "0000000000000000");
    assert_sandboxed(&lines);
}

async fn further_groups_are_given(world: &World) {
    let provider = world.provider().await;
    let instance =
        one_ready(&provider, &world.fleet(&["look"], |c| c.config.user = Some("web".into()))).await;
    let lines = logged(&world.dir(&instance.id), "localhost ip6").await;
    assert_eq!(fact(&lines, "groups"), "1002");
}

async fn what_cannot_be_executed_is_explained(world: &World) {
    let foreign = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
    let broken = world.add_image(2, |tree| {
        use std::os::unix::fs::PermissionsExt;
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[16] = 2;
        elf[18] = foreign;
        let file = |name: &str, bytes: &[u8], mode| {
            std::fs::write(tree.join(name), bytes).unwrap();
            std::fs::set_permissions(tree.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        file("foreign", &elf, 0o755);
        file("script", b"#!/usr/bin/python3\nprint(1)\n", 0o755);
        file("data", b"hello", 0o644);
        std::fs::create_dir(tree.join("folder")).unwrap();
    });
    for (entrypoint, expected) in [
        ("/srv/missing", "/srv/missing is not in the image"),
        ("missing", "missing is in no folder of PATH"),
        ("/script", "its interpreter /usr/bin/python3 is not in the image"),
        ("/data", "not executable"),
        ("/folder", "is a folder"),
        ("/foreign", "built for another machine"),
    ] {
        let provider = world.provider().await;
        let mut spec = world.fleet(&[], |content| {
            content.image = broken;
            content.config.entrypoint = vec![entrypoint.into()];
        });
        spec.release.number = kiln_model::ReleaseNumber(7);
        let failure = one_failure(&provider, &spec).await;
        assert!(failure.what.contains(expected), "{entrypoint}: {}", failure.what);
        let groups = world.groups();
        crate::world::eventually("the groups of what never ran to go", || {
            groups.iter().all(|group| !group.exists())
        })
        .await;
        provider.ensure_fleet(&spec, 0).await.unwrap();
        crate::world::until(&provider, "an empty fleet", |fleet| {
            fleet.instances.iter().all(|instance| instance.phase == kiln_provider::Phase::Exited)
        })
        .await;
        provider.remove_fleet(&spec.release.fleet()).await.unwrap();
    }
}

async fn a_missing_workdir_is_explained(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["sleep"], |content| content.config.workdir = Some("/srv/till".into()));
    let failure = one_failure(&provider, &spec).await;
    assert!(failure.what.contains("the working folder /srv/till is not in the image"), "{failure:?}");
    let world = World::new(world.rootless);
    let provider = world.provider().await;
    one_ready(&provider, &world.fleet(&["sleep"], |content| content.config.workdir = Some("/tmp".into())))
        .await;
}
