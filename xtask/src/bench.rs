//! Measurements of Kiln's release binary beside its peers, in the same run on the same machine.
//!
//! Every row is a function that gives [`Row`]s. A row that cannot be measured says why in the table; it never
//! disappears. What is written: `docs/benchmarks.md` for people and `bench.json` in the target folder for tools.

mod bake;
mod deploy;
mod machine;
mod memory;
mod peers;
mod project;
mod proxy;
mod registry;
mod report;
mod rollouts;
mod scan;
mod start;
mod stats;

use std::fs;
use std::path::{Path, PathBuf};

use crate::setup::{self, Strictness};
use crate::{Cmd, Error, cache, cargo};

pub use report::{Aim, Row, Unit};

/// What a row needs to know.
struct Bench {
    /// The release binary.
    kiln: PathBuf,
    /// A folder of this run, removed at its end.
    work: PathBuf,
    /// Fewer repetitions, to see that the rows work at all.
    quick: bool,
}

type Measure = fn(&Bench) -> Result<Vec<Row>, Error>;

const ROWS: &[(&str, Measure)] = &[
    ("bake-cold", bake::cold),
    ("bake-cached", bake::cached),
    ("rebuild", bake::rebuild),
    ("start", start::start),
    ("proxy", proxy::plain),
    ("proxy-tls", proxy::tls),
    ("proxy-h2", proxy::http2),
    ("deploy", deploy::blue_green),
    ("rollback", deploy::rollback),
    ("memory", memory::memory),
    ("engine", rollouts::engine),
    ("bad-release", rollouts::bad_release),
    ("registry", registry::registry),
    ("scan", scan::scan),
];

/// Runs the rows that the arguments name, or all.
pub fn run(args: &[String]) -> Result<(), Error> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let names: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--quick").collect();
    for name in &names {
        if !ROWS.iter().any(|(row, _)| row == name) {
            let known: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
            return Err(Error::Usage(format!("there is no row {name:?}; rows are {}", known.join(", "))));
        }
    }
    setup::run(Strictness::Complete)?;
    let bench = Bench { kiln: build()?, work: workspace()?, quick };
    let mut measured = Vec::new();
    for (name, measure) in ROWS.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        eprintln!("measuring {name}");
        let rows = measure(&bench).unwrap_or_else(|error| vec![Row::unmeasured(name, &explain(&error))]);
        for row in &rows {
            eprintln!("  {}", row.line());
        }
        measured.extend(rows);
    }
    drop(fs::remove_dir_all(&bench.work));
    report::write(&measured, names.is_empty() && !quick, &target())
}

fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(reason) = cause {
        text.push_str(": ");
        text.push_str(&reason.to_string());
        cause = reason.source();
    }
    text
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from)
}

/// The binary that `$KILN_BENCH_BINARY` names, else one that is built now.
fn build() -> Result<PathBuf, Error> {
    if let Some(given) = std::env::var_os("KILN_BENCH_BINARY") {
        return fs::canonicalize(&given).map_err(Error::file("find", given));
    }
    cargo().args(["build", "--release", "--package", "kiln-cli"]).run()?;
    Ok(target().join("release/kiln"))
}

fn workspace() -> Result<PathBuf, Error> {
    let folder = cache().join(format!("bench-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    Ok(folder)
}

impl Bench {
    /// How often something is repeated.
    fn times(&self, thorough: usize) -> usize {
        if self.quick { thorough.div_ceil(10).max(2) } else { thorough }
    }

    /// A fresh folder for one purpose.
    fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.work.join(name);
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        Ok(folder)
    }

    /// Kiln with a home of its own.
    fn kiln(&self, home: &Path) -> Cmd {
        Cmd::new(&self.kiln).env("KILN_HOME", home).env("PATH", setup::path())
    }
}

/// Writes a file, and its folder before it.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    fs::write(path, text).map_err(Error::file("write", path))
}

/// A program that runs beside the measurement and ends with it.
struct Running {
    child: std::process::Child,
}

impl Running {
    fn start(cmd: &Cmd, log: &Path) -> Result<Self, Error> {
        let out = fs::File::create(log).map_err(Error::file("create", log))?;
        let err = out.try_clone().map_err(Error::file("open", log))?;
        let child = cmd
            .command()
            .stdin(std::process::Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| Error::Start { program: cmd.line(), source })?;
        Ok(Self { child })
    }

    fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Politely first: dockerd and nginx have children of their own to end.
        drop(Cmd::new("kill").args(["-TERM", &self.id().to_string()]).output());
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
