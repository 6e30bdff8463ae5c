//! `kiln fmt`: the canonical layout of spec files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::context::Context;
use crate::error::{Failure, Kind, Result};

/// Arguments of `kiln fmt`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files, or folders whose *.hcl files are meant
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Write nothing; exit with 1 when a file is not in the canonical layout
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let mut changed = Vec::new();
    for path in &args.paths {
        for file in files(path)? {
            if tidy(&file, args.check, context)? {
                changed.push(file);
            }
        }
    }
    let verb = if args.check { "would change" } else { "changed" };
    context.ui.result(&serde_json::json!({ "changed": changed }), || {
        changed.iter().map(|file| format!("{verb} {}\n", file.display())).collect()
    });
    Ok(if args.check && !changed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error: std::io::Error| {
        Failure::new(Kind::Spec, format!("cannot read {}", path.display()))
            .because(&error)
            .hint("name a spec file, or a folder that holds one")
    };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "hcl") {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether the file is not (or was not) in the canonical layout.
fn tidy(file: &Path, check: bool, context: &Context) -> Result<bool> {
    let failed = |act: &str, error: std::io::Error| {
        Failure::new(Kind::Failed, format!("cannot {act} {}", file.display())).because(&error)
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed("read", error))?;
    let tidy = kiln_spec::format_named(&file.to_string_lossy(), &text)
        .map_err(|errors| context.spec_failure(&errors))?;
    if tidy == text {
        return Ok(false);
    }
    if !check {
        crate::files::replace(file, tidy.as_bytes()).map_err(|error| failed("write", error))?;
    }
    Ok(true)
}
