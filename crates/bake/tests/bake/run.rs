//! Commands in the sandbox: what they change, what they cannot see, how they fail.
use kiln_bake::{BakeError, Outcome};
use kiln_model::{Command, RunStep, Span, Step};

use crate::kit::{Kitchen, Mount, chain, is_root, recipe, steps};

#[test]
fn a_command_changes_the_image_and_runs_once() {
    let kitchen = Kitchen::with_busybox();
    let text =
        "copy bin /bin\n run mkdir -p /srv/data\n run echo hi > /srv/data/x; rm /bin/wget; chmod 700 /srv";
    let baked = kitchen.bake(text);
    let tree = kitchen.tree(&baked);
    assert_eq!(std::fs::read_to_string(tree.join("srv/data/x")).unwrap(), "hi\n");
    assert!(std::fs::symlink_metadata(tree.join("bin/wget")).is_err());
    assert!(tree.join("bin/busybox").exists());
    assert_eq!(Kitchen::mode(&tree.join("srv")), 0o700);
    let again = kitchen.bake(text);
    assert_eq!(again.digest, baked.digest);
    assert!(again.steps.iter().all(|step| step.outcome == Outcome::Cached));
}

#[test]
fn nothing_of_the_host_is_visible() {
    let kitchen = Kitchen::with_busybox();
    let secret = kitchen.folder.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    let checks = format!(
        "copy bin /bin\n run ls / > /srv.list; ls /dev >> /srv.list; cat /proc/1/cmdline > /cmd; \
         ip -o link > /links; cat /proc/mounts > /mounts; id -u > /uid; cat /proc/sys/kernel/hostname > /host; \
         ls {} && exit 7; mount -t tmpfs x /tmp && exit 8; cat /proc/kcore > /dev/null; \
         echo 1 > /proc/sys/kernel/panic && exit 9; true",
        secret.display()
    );
    let tree = kitchen.tree(&kitchen.bake(&checks));
    let read = |name: &str| std::fs::read_to_string(tree.join(name)).unwrap();
    let listed = read("srv.list");
    assert!(!listed.contains("home") && !listed.contains("vda"), "{listed}");
    assert_eq!(read("links").lines().count(), 1, "only the loopback: {}", read("links"));
    assert!(!read("mounts").contains("/root"), "{}", read("mounts"));
    assert_eq!((read("uid").as_str(), read("host").as_str()), ("0\n", "kiln\n"));
}

#[test]
fn a_failing_command_shows_its_last_lines_and_leaves_nothing() {
    let kitchen = Kitchen::with_busybox();
    let error = kitchen.try_bake("copy bin /bin\n run echo first; echo wrong >&2; exit 3").unwrap_err();
    let text = chain(&error);
    assert!(text.contains("status 3") && text.contains("wrong") && text.contains("run echo first"), "{text}");
    let error = kitchen.try_bake("copy bin /bin\n run nosuch --flag").unwrap_err();
    assert!(chain(&error).contains("no program \"nosuch\""), "{}", chain(&error));
    let error =
        Kitchen { helper: kitchen.helper.clone(), ..Kitchen::new() }.try_bake("run echo $HOME").unwrap_err();
    assert!(chain(&error).contains("/bin/sh"), "{}", chain(&error));
    assert!(kitchen.store.tagged("web").unwrap().is_none());
}

fn run_step(command: Command) -> RunStep {
    let env = std::collections::BTreeMap::new();
    RunStep { command, network: false, env, workdir: None, timeout: None }
}

#[test]
fn only_true_changes_make_a_layer() {
    let kitchen = Kitchen::with_busybox();
    kitchen.file("etc/a", "1").file("etc/b", "2");
    let before = "copy bin /bin\n copy etc /etc";
    let touch = format!(
        "{before}\n run touch /etc/a; chmod 644 /etc/b; echo 1 > /etc/a; echo x > /tmp/x; echo y > /run/y; mkfifo /etc/p"
    );
    kitchen.file("etc/a", "1\n");
    let baked = kitchen.bake(&touch);
    assert_eq!(baked.steps[2].layer, None, "{:?}", baked.steps[2]);
    assert_eq!(kitchen.store.image(&baked.digest).unwrap().layers.len(), 2);
    let changed = kitchen.bake(&format!("{before}\n run echo 2 > /etc/a; ln /etc/b /etc/c; rm /bin/wget"));
    let layers = kitchen.store.image(&changed.digest).unwrap().layers;
    let last = kitchen.store.contents(&layers[2..], false).unwrap();
    let names: Vec<_> = last.items.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    assert_eq!(names, ["bin", "etc", "etc/a", "etc/b", "etc/c"]);
    assert!(last.items.values().all(|item| item.entry.mtime == 0), "no time of today");
}

#[test]
fn a_replaced_folder_hides_the_old_one() {
    let kitchen = Kitchen::with_busybox();
    kitchen.file("d/old", "1").file("e/f/old", "1");
    let text = "copy bin /bin\n copy d /d\n copy e /e\n run rm -r /d; mkdir /d; echo 2 > /d/new; rm -r /e; echo 3 > /e";
    let tree = kitchen.tree(&kitchen.bake(text));
    assert!(tree.join("d/new").exists() && !tree.join("d/old").exists());
    assert!(tree.join("e").is_file());
}

#[test]
fn the_environment_is_the_images_and_nothing_else() {
    let kitchen = Kitchen::with_busybox();
    let mut recipe = recipe("web");
    recipe.config.env.insert("MINE".into(), "yes".into());
    recipe.epoch = Some(1_234_567_890);
    recipe.steps = steps("copy bin /bin\n run env > /env");
    let text =
        std::fs::read_to_string(kitchen.tree(&kitchen.try_recipe(recipe).unwrap()).join("env")).unwrap();
    let mut lines: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("PWD=") && !line.starts_with("SHLVL=")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "HOME=/root",
            "LANG=C.UTF-8",
            "MINE=yes",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SOURCE_DATE_EPOCH=1234567890",
            "TZ=UTC",
        ]
    );
}

#[test]
fn a_command_that_takes_too_long_is_stopped_with_all_it_started() {
    let kitchen = Kitchen::with_busybox();
    let mut recipe = recipe("web");
    recipe.steps = steps("copy bin /bin");
    // A number that no other run of this test has; and time enough for the sandbox to come so far.
    let rest = format!("9{}", std::process::id());
    let line = Command::Line(format!("sleep {rest} & echo started; sleep {rest}"));
    recipe.steps.push(Step::Run(RunStep { timeout: Some(Span::from_secs(5)), ..run_step(line) }));
    let error = kitchen.try_recipe(recipe).unwrap_err();
    let text = chain(&error);
    assert!(text.contains("5s") && text.contains("started"), "{text}");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let wanted = format!("sleep\0{rest}\0");
    let is_one = |line: Vec<u8>| line.ends_with(wanted.as_bytes());
    let alive = processes.filter(|one| std::fs::read(one.path().join("cmdline")).is_ok_and(is_one));
    assert_eq!(alive.count(), 0);
}

#[test]
fn an_argv_is_executed_as_it_is_and_faults_are_told_apart() {
    let kitchen = Kitchen::with_busybox();
    kitchen.file("bin/script", "#!/no/such/interpreter\n").executable("bin/script");
    let attempt = |step: RunStep| {
        let mut recipe = recipe("web");
        recipe.steps = steps("copy bin /bin");
        recipe.steps.push(Step::Run(step));
        kitchen.try_recipe(recipe)
    };
    let argv =
        |words: &[&str]| run_step(Command::Argv(words.iter().map(|word| (*word).to_owned()).collect()));
    let baked = attempt(argv(&["/bin/touch", "/a b $HOME"])).unwrap();
    assert!(kitchen.tree(&baked).join("a b $HOME").exists());
    let text = chain(&attempt(argv(&[])).unwrap_err());
    assert!(text.contains("empty"), "{text}");
    let text = chain(&attempt(argv(&["/bin/script"])).unwrap_err());
    assert!(text.contains("cannot be executed") && text.contains("interpreter"), "{text}");
    let text =
        chain(&attempt(RunStep { workdir: Some("/nowhere".into()), ..argv(&["/bin/ls"]) }).unwrap_err());
    assert!(text.contains("/nowhere") && text.contains("workdir"), "{text}");
    let text = chain(&attempt(argv(&["/bin/sh", "-c", "kill -9 $$"])).unwrap_err());
    assert!(text.contains("signal 9") || text.contains("status 137"), "{text}");
    let error = attempt(argv(&["/bin/sh", "-c", "for i in $(ls /bin /bin /bin); do echo $i; done; exit 1"]))
        .unwrap_err();
    let BakeError::Run { source, .. } = error else { panic!("{error}") };
    let kiln_bake::SandboxError::Failed { output, .. } = *source else { panic!("{source}") };
    assert_eq!(output.len(), 20, "the last lines, not all");
}

#[test]
fn dangerous_calls_are_refused() {
    let kitchen = Kitchen::with_busybox();
    let text = "copy bin /bin\n run mknod /dev/x c 1 3 && exit 1; mount -o remount,rw /proc/sys && exit 2; \
                ip link add d type dummy && exit 3; echo b > /proc/sysrq-trigger && exit 4; \
                dd if=/dev/kmsg count=1 && exit 5; id -G > /groups; chown 12:34 /groups || true";
    let tree = kitchen.tree(&kitchen.bake(text));
    assert_eq!(std::fs::read_to_string(tree.join("groups")).unwrap().trim(), "0");
}

#[test]
fn an_ordinary_user_gets_the_same_image() {
    if !is_root() {
        return;
    }
    let text = "copy bin /bin\n run mkdir -p /srv/x; echo 1 > /srv/x/y; rm /bin/wget; touch /bin/cat; chmod 700 /srv";
    let rootful = Kitchen::with_busybox();
    let digest = rootful.bake(text).digest;
    let output = crate::same::as_user(&rootful, text);
    assert_eq!(output, digest.to_string());
}

#[test]
fn an_ordinary_user_is_told_why_owners_fail() {
    if !is_root() {
        return;
    }
    let kitchen = Kitchen::with_busybox();
    let text = "copy bin /bin\n run touch /x; chown 12:34 /x";
    let contents = |digest| {
        let layers = kitchen.store.image(&digest).unwrap().layers;
        kitchen.store.contents(&layers, false).unwrap().items.remove(&b"x"[..]).unwrap().entry
    };
    let entry = contents(kitchen.bake(text).digest);
    assert_eq!((entry.uid, entry.gid), (12, 34));
    let output = crate::same::try_as_user(&kitchen, text).unwrap_err();
    assert!(output.contains("status 1") && output.contains("run Kiln as root"), "{output}");
}

#[test]
fn the_network_is_there_only_when_asked_for() {
    let kitchen = Kitchen::with_busybox();
    let mut recipe = recipe("web");
    recipe.steps = steps("copy bin /bin");
    let line = Command::Line("ip -o link > /links; cat /etc/resolv.conf > /names".into());
    recipe.steps.push(Step::Run(RunStep { network: true, ..run_step(line) }));
    let tree = kitchen.tree(&kitchen.try_recipe(recipe).unwrap());
    let here = std::fs::read_dir("/sys/class/net").unwrap().count();
    let links = std::fs::read_to_string(tree.join("links")).unwrap();
    assert_eq!(links.lines().filter(|line| !line.is_empty()).count(), here, "{links}");
    assert_eq!(std::fs::read(tree.join("names")).unwrap(), std::fs::read("/etc/resolv.conf").unwrap());
    assert_eq!(
        std::fs::read(tree.join("etc/resolv.conf")).unwrap(),
        b"",
        "the machine's names are not in the image"
    );
}

#[test]
fn where_overlays_do_not_stack_a_copy_gives_the_same_image() {
    if !is_root() {
        return;
    }
    let kitchen = Kitchen::with_busybox();
    kitchen.file("d/old", "1").file("e/f/old", "1").file("etc/a", "1");
    let text = "copy bin /bin\n copy d /d\n copy e /e\n copy etc /etc\n run rm -r /d; mkdir /d; echo 2 > /d/new; rm -r /e; \
                echo 3 > /e; ln /etc/a /etc/b; touch /bin/busybox; chmod 700 /bin; chown 3:4 /etc/b";
    let expected = kitchen.bake(text);
    let path = |name: &str| {
        let path = kitchen.folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (lower, upper, work, merged) = (path("l"), path("u"), path("w"), path("m"));
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    crate::kit::run("mount", &["-t", "overlay", "-o", &options, "kiln-test", merged.to_str().unwrap()]);
    let mount = Mount(merged.clone());
    let store = kiln_store::Store::open(&merged.join("store")).unwrap();
    let other = Kitchen { store, ..kitchen };
    let baked = other.bake(text);
    let differences = (baked.digest != expected.digest).then(|| other.tree(&baked));
    assert_eq!(baked.digest, expected.digest, "{differences:?}");
    drop((other, mount));
}
