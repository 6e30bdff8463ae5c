//! `kiln sbom`: what is in an image.

use std::path::PathBuf;
use std::process::ExitCode;

use kiln_scan::{Subject, cyclonedx, inventory, inventory_of_folder, spdx};

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::ui::columns;

/// Arguments of `kiln sbom`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tag, digest, or the beginning of a digest
    #[arg(required_unless_present = "folder")]
    image: Option<String>,
    /// A root file system instead of an image
    #[arg(long, conflicts_with = "image")]
    folder: Option<PathBuf>,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// File to write; standard output unless given
    #[arg(short, long)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    Table,
    /// CycloneDX 1.6, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let fail = |error| Failure::from_error(Kind::Failed, &error);
    let (found, name) = match (&args.folder, &args.image) {
        (Some(folder), _) => (inventory_of_folder(folder).map_err(fail)?, folder.display().to_string()),
        (None, Some(image)) => {
            let store = crate::context::store()?;
            let digest = super::image::resolve_here(&store, image)?.digest;
            (inventory(&store, &digest).map_err(fail)?, image.clone())
        }
        (None, None) => return Err(Failure::new(Kind::NotFound, "there is no image to look into")),
    };
    let subject = Subject { name: &name, created: None };
    let written = match args.format {
        Form::Table => None,
        Form::Cyclonedx => Some(cyclonedx(&found, &subject)),
        Form::Spdx => Some(spdx(&found, &subject)),
    };
    let text = written.unwrap_or_else(|| table(&found.packages));
    for problem in &found.problems {
        context.ui.line(format!("note: {problem}"));
    }
    match &args.output {
        Some(path) => {
            std::fs::write(path, &text).map_err(|error| {
                Failure::new(Kind::Failed, format!("cannot write {}", path.display())).because(&error)
            })?;
            context.ui.line(format!("wrote {} packages to {}", found.packages.len(), path.display()));
        }
        None if args.format == Form::Table => context.ui.result(&found, || text),
        None => context.ui.text(&text),
    }
    Ok(ExitCode::SUCCESS)
}

fn table(packages: &[kiln_scan::Package]) -> String {
    let mut rows = vec![["PACKAGE", "VERSION", "LICENCES", "WHERE"].map(String::from).to_vec()];
    rows.extend(packages.iter().map(|package| {
        let place = package.locations.first().map(|it| it.path.clone()).unwrap_or_default();
        let kind = package.purl.split('/').next().unwrap_or_default().trim_start_matches("pkg:");
        vec![
            format!("{kind} {}", package.name),
            package.version.clone(),
            shortened(&package.licenses.join(", ")),
            place,
        ]
    }));
    columns(&rows)
}

/// A list of licences as wide as a table can bear; the documents have all of it.
fn shortened(text: &str) -> String {
    const WIDTH: usize = 40;
    match text.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
