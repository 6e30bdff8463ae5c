//! How long the provider takes from being asked for an instance to the exec of its program.
//!
//! `start KILN HOME COUNT` prints a JSON list of milliseconds. KILN is the release binary, which is executed as the
//! supervisor, as it always is. The program is a static one that says what time it is and waits to be stopped.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kiln_local::{LocalConfig, LocalProvider};
use kiln_model::{Digest, ImageConfig, InstanceId};
use kiln_provider::{FleetSpec, Phase, Provider};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Starts that are not counted: the first ones make the bridge and warm caches.
const WARM_UP: u64 = 3;

const PROGRAM: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
static void stop(int number) { _exit(number - number); }
int main(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    signal(SIGTERM, stop);
    printf("%lld%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    fflush(stdout);
    for (;;) pause();
}
"#;

fn main() -> Outcome<()> {
    // `cargo bench` adds flags of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [kiln, home, count] = args.as_slice() else {
        return Err("usage: start KILN HOME COUNT".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let times = runtime.block_on(measure(Path::new(kiln), Path::new(home), count.parse()?))?;
    println!("{}", serde_json::to_string(&times)?);
    Ok(())
}

async fn measure(kiln: &Path, home: &Path, count: u64) -> Outcome<Vec<f64>> {
    let tree = tree(home)?;
    let rootfs = move |_: &Digest| Ok(tree.clone());
    let provider = LocalProvider::open(LocalConfig::new(home, kiln, Arc::new(rootfs))).await?;
    let times = rounds(&provider, home, count).await;
    // The bridge and its rules would stay otherwise.
    provider.clear().await?;
    times
}

async fn rounds(provider: &LocalProvider, home: &Path, count: u64) -> Outcome<Vec<f64>> {
    let mut times = Vec::new();
    for round in 1..=count + WARM_UP {
        let taken = one(provider, home, &fleet(round)).await?;
        if round > WARM_UP {
            times.push(taken);
        }
    }
    Ok(times)
}

/// A root file system with the program and nothing else.
fn tree(home: &Path) -> Outcome<PathBuf> {
    let tree = home.join("tree");
    fs::create_dir_all(&tree)?;
    let source = home.join("program.c");
    fs::write(&source, PROGRAM)?;
    let built =
        Command::new("cc").args(["-O1", "-static", "-o"]).arg(tree.join("program")).arg(&source).output()?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned().into());
    }
    Ok(tree)
}

fn fleet(release: u64) -> FleetSpec {
    let mut spec = kiln_testkit::fleet_spec(release);
    spec.release.content.config =
        ImageConfig { entrypoint: vec!["/program".into()], ..ImageConfig::default() };
    spec
}

/// Starts one instance and ends it again; milliseconds from the wish to the program's first word.
async fn one(provider: &LocalProvider, home: &Path, spec: &FleetSpec) -> Outcome<f64> {
    let asked = SystemTime::now();
    provider.ensure_fleet(spec, 1).await?;
    let (id, said) = first_word(provider, home, spec).await?;
    let taken = said.duration_since(asked)?;
    provider.ensure_fleet(spec, 0).await?;
    provider.drained(&id).await?;
    let fleet = spec.release.fleet();
    wait(async || {
        let observed = provider.observe().await?;
        let gone = observed
            .fleets
            .get(&fleet)
            .is_none_or(|fleet| fleet.instances.iter().all(|instance| instance.phase == Phase::Exited));
        Ok(gone.then_some(()))
    })
    .await?;
    provider.remove_fleet(&fleet).await?;
    Ok(taken.as_secs_f64() * 1000.0)
}

/// The instance, and the time its program printed.
async fn first_word(
    provider: &LocalProvider,
    home: &Path,
    spec: &FleetSpec,
) -> Outcome<(InstanceId, SystemTime)> {
    let fleet = spec.release.fleet();
    wait(async || {
        let observed = provider.observe().await?;
        let instance = observed.fleets.get(&fleet).and_then(|fleet| fleet.instances.first());
        let Some(id) = instance.map(|instance| instance.id.clone()) else { return Ok(None) };
        let log = home.join("instances").join(id.as_str()).join("log/current");
        let text = fs::read_to_string(log).unwrap_or_default();
        // Whatever stands beside it in a line of the log: the time is its only number of 19 digits.
        let time = text.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 19);
        let Some(nanos) = time.and_then(|word| word.parse().ok()) else { return Ok(None) };
        Ok(Some((id, UNIX_EPOCH + Duration::from_nanos(nanos))))
    })
    .await
}

async fn wait<T>(mut attempt: impl AsyncFnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Some(found) = attempt().await? {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err("the instance did not come, or did not go, within 20 s".into())
}
