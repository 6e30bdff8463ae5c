//! A home of its own with images made by hand, and the means to look at what happens in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kiln_local::{InstanceDir, LocalConfig, LocalProvider, Status};
use kiln_model::{
    Digest, Health, ImageConfig, InstanceId, Name, Port, Probe, Protocol, ReleaseContent, Span,
};
use kiln_provider::{FleetObservation, FleetSpec, InstanceObservation, Observation, Phase, Provider};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Port that the served program listens on.
pub(crate) const PORT: u16 = 8080;

/// A home and what is in it.
pub(crate) struct World {
    pub(crate) rootless: bool,
    pub(crate) home: Home,
    /// The image that most tests run: the test program and the tables of users.
    pub(crate) image: Digest,
}

/// The folder of a home: one's own, or somebody else's.
pub(crate) enum Home {
    Own(TempDir),
    Of(PathBuf),
}

impl Home {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Of(path) => path,
        }
    }
}

/// The static test program, compiled once per process.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (source, binary) = (folder.path().join("program.c"), folder.path().join("app"));
        fs::write(&source, include_str!("program.c")).unwrap();
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let built = Command::new(&compiler).args(["-static", "-O1", "-o"]).arg(&binary).arg(&source).output();
        let built = built.unwrap_or_else(|error| panic!("a C compiler is needed ({compiler}): {error}"));
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        (folder, binary)
    });
    path
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl World {
    pub(crate) fn new(rootless: bool) -> Self {
        let image = Digest::from_bytes([1; 32]);
        let world = Self { rootless, home: Home::Own(tempfile::tempdir().unwrap()), image };
        fs::set_permissions(world.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        world.add_image(1, |tree| {
            fs::create_dir(tree.join("etc")).unwrap();
            fs::write(tree.join("etc/passwd"), "root:x:0:0::/root:/x\nweb:x:1000:1001::/srv/web:/x\n")
                .unwrap();
            fs::write(tree.join("etc/group"), "root:x:0:\nweb:x:1001:\nssl:x:1002:web\n").unwrap();
            fs::copy(program(), tree.join("app")).unwrap();
        });
        world
    }

    /// The world that another process made.
    pub(crate) fn at(home: PathBuf, rootless: bool) -> Self {
        Self { rootless, home: Home::Of(home), image: Digest::from_bytes([1; 32]) }
    }

    /// Makes the tree of an image; its digest is its number.
    pub(crate) fn add_image(&self, number: u8, fill: impl FnOnce(&Path)) -> Digest {
        let digest = Digest::from_bytes([number; 32]);
        let tree = self.tree(&digest);
        fs::create_dir_all(&tree).unwrap();
        fill(&tree);
        digest
    }

    pub(crate) fn tree(&self, image: &Digest) -> PathBuf {
        self.home.path().join("trees").join(image.short())
    }

    pub(crate) fn config(&self) -> LocalConfig {
        let trees = self.home.path().join("trees");
        let rootfs = move |image: &Digest| {
            let tree = trees.join(image.short());
            if tree.is_dir() { Ok(tree) } else { Err("no such image".into()) }
        };
        let exe = std::env::current_exe().unwrap();
        let mut config = LocalConfig::new(self.home.path(), exe, Arc::new(rootfs));
        config.rootless = self.rootless;
        config
    }

    pub(crate) async fn provider(&self) -> LocalProvider {
        LocalProvider::open(self.config()).await.unwrap()
    }

    /// A fleet whose instances execute `/app` with these arguments.
    pub(crate) fn fleet(&self, arguments: &[&str], change: impl FnOnce(&mut ReleaseContent)) -> FleetSpec {
        let mut spec = kiln_testkit::fleet_spec(1);
        let content = &mut spec.release.content;
        content.image = self.image;
        content.config = ImageConfig {
            entrypoint: vec!["/app".into()],
            cmd: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            ..ImageConfig::default()
        };
        content.config.stop.grace = Span::from_secs(5);
        change(content);
        spec
    }

    /// A fleet that serves HTTP, with a probe.
    pub(crate) fn serving(&self, change: impl FnOnce(&mut ReleaseContent)) -> FleetSpec {
        self.fleet(&["serve", "8080"], |content| {
            let port = Port { number: PORT, protocol: Protocol::Http };
            content.config.ports = BTreeMap::from([(name("http"), port)]);
            content.config.health = Some(http_health());
            change(content);
        })
    }

    /// Where the control groups of the instances are, if they are.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        let instances = fs::read_dir(self.home.path().join("instances")).into_iter().flatten().flatten();
        let intents = instances.filter_map(|entry| fs::read(entry.path().join("intent.json")).ok());
        let names = intents.filter_map(|text| serde_json::from_slice::<kiln_local::Intent>(&text).ok());
        let places = |intent: kiln_local::Intent| {
            ["", "memory", "cpu", "pids"]
                .map(|place| Path::new("/sys/fs/cgroup").join(place).join(&intent.cgroup))
        };
        names.flat_map(places).collect()
    }

    pub(crate) fn dir(&self, id: &InstanceId) -> InstanceDir {
        InstanceDir::new(self.home.path().join("instances").join(id.as_str()))
    }

    pub(crate) fn status(&self, id: &InstanceId) -> Status {
        serde_json::from_slice(&fs::read(self.dir(id).status()).unwrap()).unwrap()
    }
}

pub(crate) fn http_health() -> Health {
    Health {
        probe: Probe::Http { path: "/healthz".into(), port: None },
        interval: Span::from_millis(100),
        timeout: Span::from_secs(20),
        rise: 1,
        fall: 2,
        grace: Span::from_secs(90),
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if matches!(self.home, Home::Of(_)) {
            return;
        }
        // Whatever still runs dies with its supervisor.
        let Ok(entries) = fs::read_dir(self.home.path().join("instances")) else { return };
        for entry in entries.flatten() {
            let status = fs::read(entry.path().join("status.json")).unwrap_or_default();
            let Ok(status) = serde_json::from_slice::<Status>(&status) else { continue };
            if status.exit.is_none() {
                signal(status.shim_pid, "KILL");
                let _ =
                    eventually_sync(|| !lives(status.shim_pid) && status.pid.is_none_or(|pid| !lives(pid)));
            }
            groups_gone(&entry.path());
        }
        kiln_testkit::remove_network(self.home.path());
    }
}

/// Removes an instance's control groups and, with the last one, the home's.
fn groups_gone(instance: &Path) {
    let intent = fs::read(instance.join("intent.json")).unwrap_or_default();
    let Ok(intent) = serde_json::from_slice::<kiln_local::Intent>(&intent) else { return };
    for controller in ["", "memory", "cpu", "pids"] {
        let group = Path::new("/sys/fs/cgroup").join(controller).join(&intent.cgroup);
        let _ = eventually_sync(|| fs::remove_dir(&group).is_ok() || !group.exists());
        let _ = group.parent().map(fs::remove_dir);
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).output();
}

/// Whether a process exists and is not just waiting to be buried.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn eventually_sync(mut wanted: impl FnMut() -> bool) -> Result<(), &'static str> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if wanted() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("waited too long")
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut wanted: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the one fleet there is looks as wanted.
pub(crate) async fn until(
    provider: &LocalProvider,
    what: &str,
    mut wanted: impl FnMut(&FleetObservation) -> bool,
) -> FleetObservation {
    let begun = Instant::now();
    loop {
        let fleet = only_fleet(provider.observe().await.unwrap());
        if wanted(&fleet) {
            return fleet;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}: {fleet:#?}");
        let _ = tokio::time::timeout(Duration::from_millis(100), provider.changed()).await;
    }
}

fn only_fleet(observation: Observation) -> FleetObservation {
    observation.fleets.into_values().next().unwrap_or_default()
}

pub(crate) fn in_phase(fleet: &FleetObservation, phase: Phase) -> Vec<InstanceObservation> {
    fleet.instances.iter().filter(|instance| instance.phase == phase).cloned().collect()
}

/// Ensures a fleet of one and waits until it is ready.
pub(crate) async fn one_ready(provider: &LocalProvider, spec: &FleetSpec) -> InstanceObservation {
    provider.ensure_fleet(spec, 1).await.unwrap();
    let fleet = until(provider, "a ready instance", |fleet| in_phase(fleet, Phase::Ready).len() == 1).await;
    in_phase(&fleet, Phase::Ready).remove(0)
}

/// Ensures a fleet of one and waits for its first failure.
pub(crate) async fn one_failure(provider: &LocalProvider, spec: &FleetSpec) -> kiln_provider::Failure {
    provider.ensure_fleet(spec, 1).await.unwrap();
    let fleet = until(provider, "a failure", |fleet| fleet.last_failure.is_some()).await;
    fleet.last_failure.unwrap()
}

/// Waits until a line of an instance's log contains the text; returns all lines.
pub(crate) async fn logged(dir: &InstanceDir, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    eventually(&format!("{text:?} in the log"), || {
        lines = kiln_local::logs::tail(dir, 1000);
        lines.iter().any(|line| line.contains(text))
    })
    .await;
    lines
}
