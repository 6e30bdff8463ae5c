//! Writes a tree of Debian packages as a tar file, and says how long each step took:
//! `tree SUITE none|run CACHE OUT.tar PACKAGE…`. With `run` it also prints the commands that configure it, each ended
//! by a zero byte, with the character 1 between words.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kiln_debian::{Event, Mirrors, Progress, Request, configure_command, fetch, lock, tree};
use kiln_model::{DebianBase, Scripts};

#[path = "../tests/common/archive.rs"]
mod archive;

struct Lines;

impl Progress for Lines {
    fn event(&self, event: Event<'_>) {
        if !matches!(event, Event::Received { .. } | Event::Unpacked { .. }) {
            eprintln!("{event:?}");
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [suite, scripts, cache, out, packages @ ..] = &arguments[..] else {
        return Err("usage: tree SUITE none|run CACHE OUT.tar PACKAGE…".into());
    };
    let scripts = if scripts == "run" { Scripts::Run } else { Scripts::None };
    let base = DebianBase {
        suite: suite.clone(),
        mirror: None,
        components: Vec::new(),
        updates: true,
        architecture: None,
        scripts,
        essential: false,
        recommends: false,
        keyring: None,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let request = Request {
        base: &base,
        packages,
        cache: Path::new(cache),
        spec_dir: Path::new("."),
        offline: false,
        jobs: 0,
        now: i64::try_from(now)?,
        mirrors: Mirrors::discover(|name| std::env::var(name).ok(), Path::new("/etc"))?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let start = Instant::now();
    let locked = runtime.block_on(lock(&request, &Lines))?;
    let after_lock = start.elapsed();
    let fetched = runtime.block_on(fetch(&request, &locked, &Lines))?;
    let after_fetch = start.elapsed();
    let tree = tree(&fetched, scripts)?;
    let after_tree = start.elapsed();
    archive::write(&tree, std::fs::File::create(out)?)?;
    let (names, bytes) = (tree.nodes.len(), std::fs::metadata(out)?.len());
    eprintln!(
        "lock {after_lock:?}, fetch {:?}, tree {:?}",
        after_fetch - after_lock,
        after_tree - after_fetch
    );
    eprintln!(
        "{} packages, {names} names, {bytes} bytes, all in {:?}",
        locked.packages.len(),
        start.elapsed()
    );
    let mut stdout = std::io::stdout().lock();
    match scripts {
        Scripts::None => writeln!(stdout, "{}", serde_json::to_string_pretty(&locked)?)?,
        Scripts::Run => {
            for command in configure_command(&locked) {
                write!(stdout, "{}\0", command.join("\x01"))?;
            }
        }
    }
    Ok(())
}
