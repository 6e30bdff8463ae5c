//! A folder or file to a project.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hcl_edit::structure::{Body, Structure};
use kiln_model::{Digest, Name, Project};
use sha2::{Digest as _, Sha256};

use crate::build;
use crate::diagnostic::{Diagnostic, Diagnostics, SourceSpan};
use crate::eval::{Room, World};
use crate::files::Files;
use crate::inputs::Inputs;
use crate::language::{self, ROOT};
use crate::parse::{LARGEST, parse};
use crate::places::{Places, collect};
use crate::read::{Reader, Section};
use crate::report::Report;
use crate::source::{FileId, Source, Sources};
use crate::values;

/// Bytes of all files of one spec: the syntax tree takes up to a hundred times as much.
const MOST_BYTES: usize = 2 << 20;
/// Most files of one spec.
const MOST_FILES: usize = 500;

/// A spec that was read and holds.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub project: Project,
    /// The folder that its paths are relative to.
    pub dir: PathBuf,
    /// The spec's own files, in the order they were read.
    pub files: Vec<PathBuf>,
    /// SHA-256 over the names and bytes of the spec's files and of those that `file(…)` read.
    pub digest: Digest,
    /// The texts of the files.
    pub sources: Sources,
    /// What it says but does not do.
    pub warnings: Diagnostics,
    places: Places,
}

impl Loaded {
    /// Where something stands: `image.web`, `image.web.packages`, `image.web.step.0`, `service.web.expose.http`.
    /// When the thing itself is not written out, the place of what it would stand in.
    pub fn place(&self, address: &str) -> Option<SourceSpan> {
        let mut address = address;
        loop {
            if let Some(place) = self.places.get(address) {
                return Some(SourceSpan::new(self.sources.get(place.file), place.start..place.end));
            }
            address = &address[..address.rfind('.')?];
        }
    }

    /// An error about something in the spec that was found later, such as a package that does not exist.
    pub fn error(&self, address: &str, message: impl Into<String>) -> Diagnostic {
        let error = Diagnostic::error(message);
        match self.place(address) {
            Some(span) => error.at(span),
            None => error,
        }
    }
}

/// Reads the spec in a folder (`kiln.hcl` and every `*.kiln.hcl`, in the order of their names), or one file alone.
///
/// # Errors
/// All syntax errors (one for each file), evaluation errors and contradictions of all files at once.
pub fn load(path: &Path, inputs: &Inputs) -> Result<Loaded, Diagnostics> {
    let found = find(path)?;
    let mut report = Report::default();
    let mut ids = Vec::new();
    let mut total = 0;
    for file in &found.files {
        let text = read_text(file);
        total += text.as_ref().map_or(0, String::len);
        if total > MOST_BYTES {
            return Err(too_large(path).into());
        }
        match text {
            Ok(text) => ids.push(report.sources.add(Source::new(shown(file), text))),
            Err(problem) => {
                report.push(*problem);
            }
        }
    }
    let files = Files::new(found.dir.clone());
    let (project, places) = evaluate(&report, &files, &ids, inputs, &found.dir);
    let (all, sources) = report.finish();
    let (Some(project), (0, _)) = (project, all.counts()) else { return Err(all) };
    let digest = digest(&found, &sources, files);
    Ok(Loaded { project, dir: found.dir, files: found.files, digest, sources, warnings: all, places })
}

fn evaluate(
    report: &Report,
    files: &Files,
    ids: &[FileId],
    inputs: &Inputs,
    dir: &Path,
) -> (Option<Project>, Places) {
    let bodies: Vec<(FileId, Body)> =
        ids.iter().filter_map(|id| Some((*id, parse(report, *id).ok()?))).collect();
    let env = |name: &str| inputs.lookup(name);
    let mut world = World::new(report, files, &env);
    // What is missing may well be in a file that could not be read.
    world.partial = report.errors() > 0;
    values::names(&mut world, &bodies);
    values::variables(&mut world, &bodies, inputs);
    values::locals(&mut world, &bodies);
    let root = values::root(&world, &bodies);
    let name = project_name(&world, root.as_ref(), dir);
    let registry = root.as_ref().and_then(|root| root.text("registry"));
    let sections = sections(&world, &bodies);
    let project = match name {
        Some(name) if !world.partial => Some(build::project(&world, name, registry, &sections)),
        _ => None,
    };
    (project, collect(&sections))
}

/// Reads all blocks of the top but `variable` and `locals`, which came first.
fn sections<'t>(world: &World<'_>, bodies: &'t [(FileId, Body)]) -> Vec<Section<'t>> {
    let mut sections = Vec::new();
    let mut seen = BTreeMap::new();
    for (file, body) in bodies {
        for structure in body {
            let Structure::Block(block) = structure else { continue };
            let name = block.ident.value().as_str();
            let room = if name == "image" { Room::Image } else { Room::Free };
            let reader = Reader { world, file: *file, room };
            match ROOT.block(name) {
                Some(_) if matches!(name, "variable" | "locals") => {}
                Some(def) => {
                    let section = reader.block(def, block);
                    reader.check_repeated(&section, &mut seen);
                    sections.push(section);
                }
                None => reader.unknown_block(&ROOT, name, reader.place(&block.ident)),
            }
        }
    }
    sections
}

fn project_name(world: &World<'_>, root: Option<&Section<'_>>, dir: &Path) -> Option<Name> {
    let root = root?;
    if root.has("project") {
        return root.named("project");
    }
    let full = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let folder = full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = language::fit_name(&folder);
    if name.is_none() {
        let problem =
            Diagnostic::error(format!("the folder's name {folder:?} cannot be the name of the project"));
        world.report.push(problem.help("write at the top of kiln.hcl: project = \"name\""));
    }
    name
}

struct Found {
    dir: PathBuf,
    files: Vec<PathBuf>,
}

fn find(path: &Path) -> Result<Found, Diagnostics> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        Diagnostic::error(format!("cannot read {}: {error}", path.display()))
            .help("give the folder with kiln.hcl, or the file itself")
    })?;
    if metadata.is_file() {
        let dir = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        return Ok(Found { dir, files: vec![path.to_path_buf()] });
    }
    let entries = std::fs::read_dir(path)
        .map_err(|error| Diagnostic::error(format!("cannot list {}: {error}", path.display())))?;
    let is_spec = |name: &str| name == "kiln.hcl" || name.ends_with(".kiln.hcl");
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(is_spec))
        .map(|entry| entry.path())
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        let problem = Diagnostic::error(format!("there is no kiln.hcl in {}", path.display()));
        return Err(problem.help("run `kiln init` there to write one that fits the folder").into());
    }
    if files.len() > MOST_FILES {
        return Err(
            Diagnostic::error(format!("{} has more than {MOST_FILES} spec files", path.display())).into()
        );
    }
    Ok(Found { dir: path.to_path_buf(), files })
}

fn read_text(file: &Path) -> Result<String, Box<Diagnostic>> {
    let name = shown(file);
    let error = |why: String, help: &str| {
        Box::new(Diagnostic::error(format!("cannot read {name}: {why}")).help(help))
    };
    let io = |e: std::io::Error| error(e.to_string(), "the files of a spec must be readable");
    let length = std::fs::metadata(file).map_err(io)?.len();
    if length > LARGEST as u64 {
        let why = format!("it is larger than {} KiB", LARGEST >> 10);
        return Err(error(why, "split it into several files"));
    }
    let text = String::from_utf8(std::fs::read(file).map_err(io)?).map_err(|e| {
        let why = format!("byte {} is not UTF-8", e.utf8_error().valid_up_to());
        error(why, "save the file as UTF-8 text")
    })?;
    Ok(crate::source::without_mark(&text).to_owned())
}

fn too_large(path: &Path) -> Diagnostic {
    let message =
        format!("the spec files in {} are larger than {} KiB together", path.display(), MOST_BYTES >> 10);
    Diagnostic::error(message).help("move long texts into files of their own and read them with file(…)")
}

fn shown(file: &Path) -> String {
    file.strip_prefix(".").unwrap_or(file).display().to_string()
}

fn digest(found: &Found, sources: &Sources, files: Files) -> Digest {
    let mut all: BTreeMap<PathBuf, Vec<u8>> = files.into_read();
    for (file, source) in found.files.iter().zip(sources.iter()) {
        let name = file.file_name().map(PathBuf::from).unwrap_or_default();
        all.insert(name, source.text().as_bytes().to_vec());
    }
    let mut hash = Sha256::new();
    for (path, bytes) in all {
        let path = path.as_os_str().as_encoded_bytes();
        for part in [path, bytes.as_slice()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Digest::from_bytes(hash.finalize().into())
}
