//! The update: fetch, build beside, replace the pointer, sweep.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_model::Digest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::archive::Archive;
use super::download::{Downloader, discard};
use super::{Input, Limits, Part, Skipped, Source, Step, UpdateOptions, alpine, debian, local};
use crate::advisories::AdvisoryError;
use crate::advisories::osv::Advisory;
use crate::advisories::store::build::{Builder, Built, Member, Previous};
use crate::advisories::store::entry::Entry;
use crate::advisories::store::pointer::{Dataset, Pointer, data_dir, sync_dir};

/// What an ecosystem's name may have in an address as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~').remove(b':');
/// Of documents that were passed over, so many are named.
const NAMED: usize = 100;

/// What an update did.
#[derive(Debug, Default)]
pub struct Report {
    /// Sources whose advisories are others than before, by name.
    pub changed: Vec<String>,
    /// Sources that were not read again, or had the same advisories in other files.
    pub unchanged: Vec<String>,
    /// Sources that could not be read, each with the reason; what the store had of them stays.
    pub failed: Vec<(String, AdvisoryError)>,
    /// The first documents that were passed over because they are no advisories.
    pub skipped: Vec<Skipped>,
    /// How many were passed over.
    pub skipped_count: u64,
    /// The store was of another format or damaged and was begun anew.
    pub renewed: bool,
    /// Over all sources, after the update.
    pub digest: Option<Digest>,
}

/// Brings the store in a folder up to date with some sources; other sources in it stay.
///
/// A source that cannot be read is reported and keeps what the store had of it. Killed at any moment the store is as
/// it was before or, with the pointer replaced, as it is after.
///
/// # Errors
/// When another update runs or the store cannot be written.
pub async fn update(
    dir: &Path,
    sources: &[Source],
    options: &UpdateOptions,
) -> Result<Report, AdvisoryError> {
    let data = data_dir(dir);
    std::fs::create_dir_all(&data).map_err(AdvisoryError::file("create", &data))?;
    let _lock = lock(dir)?;
    (options.step)(Step::Locked);
    let mut report = Report::default();
    let pointer = match Pointer::read(dir) {
        Ok(pointer) => pointer.unwrap_or_else(Pointer::empty),
        Err(AdvisoryError::Format { .. } | AdvisoryError::Pointer { .. }) => {
            report.renewed = true;
            Pointer::empty()
        }
        Err(error) => return Err(error),
    };
    let mut run = Run { dir, options, pointer: pointer.clone(), report };
    for source in sources {
        run.source(source).await?;
    }
    if run.pointer != pointer || run.report.renewed {
        run.pointer.write(dir, &mut |moment| (options.step)(Step::Pointer(moment)))?;
    }
    sweep(dir, &run.pointer);
    (options.step)(Step::Swept);
    run.report.digest = Some(run.pointer.digest());
    Ok(run.report)
}

fn lock(dir: &Path) -> Result<File, AdvisoryError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(AdvisoryError::file("write", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(AdvisoryError::Busy { dir: dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(AdvisoryError::File { act: "lock", path, source }),
    }
}

/// Removes data files that the pointer does not name. A reader that opened them keeps them.
fn sweep(dir: &Path, pointer: &Pointer) {
    let Ok(entries) = std::fs::read_dir(data_dir(dir)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !pointer.datasets.iter().any(|dataset| name == dataset.file.as_str()) {
            // What cannot be removed now is removed by the next update.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

struct Run<'a> {
    dir: &'a Path,
    options: &'a UpdateOptions,
    pointer: Pointer,
    report: Report,
}

impl Run<'_> {
    /// Reads one source; only faults of the store itself are errors.
    async fn source(&mut self, source: &Source) -> Result<(), AdvisoryError> {
        let limits = self.options.limits;
        let inputs = match source {
            Source::Osv(path) => {
                local::osv(path, limits).map_err(|error| (path.display().to_string(), error))
            }
            Source::Debian(place) if !remote(place) => {
                local::debian(place, limits).map_err(|error| (place.clone(), error))
            }
            Source::Alpine(place) if !remote(place) => {
                local::alpine(place, limits).map_err(|error| (place.clone(), error))
            }
            Source::Debian(url) => return self.address(url, Some("debian"), Part::Debian).await,
            Source::Alpine(url) => return self.address(url, None, Part::Alpine).await,
            Source::Mirror { base, ecosystems } => {
                for ecosystem in ecosystems {
                    let escaped = utf8_percent_encode(ecosystem, PLAIN);
                    let url = format!("{}/{escaped}/all.zip", base.trim_end_matches('/'));
                    self.address(&url, Some(&format!("osv/{ecosystem}")), Part::Zip).await?;
                }
                return Ok(());
            }
        };
        match inputs {
            Err(failed) => self.report.failed.push(failed),
            Ok(inputs) => {
                for input in inputs {
                    self.input(input).await?;
                }
            }
        }
        Ok(())
    }

    /// Downloads one file and reads it.
    async fn address(
        &mut self,
        url: &str,
        name: Option<&str>,
        shape: impl FnOnce(PathBuf) -> Part,
    ) -> Result<(), AdvisoryError> {
        let shown = name.unwrap_or(url).to_owned();
        let known = self.pointer.datasets.iter().find(|dataset| dataset.origin == url);
        let known_name = known.map(|dataset| dataset.name.clone());
        let etag = known.and_then(|dataset| dataset.etag.clone());
        let downloader = Downloader::new(self.dir.join("download"), self.options)?;
        let fetched = match downloader.fetch(url, etag.as_deref()).await {
            Ok(Some(fetched)) => fetched,
            Ok(None) => {
                self.report.unchanged.extend(known_name);
                return Ok(());
            }
            Err(error) => {
                self.report.failed.push((shown, error));
                return Ok(());
            }
        };
        let limits = self.options.limits;
        let name = match name {
            Some(name) => Ok(name.to_owned()),
            None => alpine::name(&fetched.path, limits),
        };
        let part = shape(fetched.path.clone());
        match name.and_then(|name| local::input(name, url.to_owned(), vec![part], limits)) {
            Ok(input) => self.input(Input { etag: fetched.etag, served: fetched.served, ..input }).await?,
            Err(error) => self.report.failed.push((shown, error)),
        }
        discard(&fetched.path);
        Ok(())
    }

    /// Builds the data file of a source, unless it has been read already.
    async fn input(&mut self, input: Input) -> Result<(), AdvisoryError> {
        (self.options.step)(Step::Fetched(&input.name));
        let known = self.pointer.dataset(&input.name).cloned();
        let data = data_dir(self.dir);
        if let Some(known) =
            known.clone().filter(|known| known.raw == input.raw && data.join(&known.file).exists())
        {
            let modified = known.modified.max(input.served);
            self.report.unchanged.push(input.name);
            self.pointer.put(Dataset { origin: input.origin, etag: input.etag, modified, ..known });
            return Ok(());
        }
        let fresh = data.join("building.sqlite");
        let previous = known.as_ref().map(|known| data.join(&known.file));
        let read = Arc::new(input);
        let (limits, target, shared) = (self.options.limits, fresh.clone(), Arc::clone(&read));
        let built = tokio::task::spawn_blocking(move || build(&shared, limits, &target, previous.as_deref()));
        let built = built.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (built, skipped) = match built {
            Ok(built) => built,
            Err(error) => {
                self.report.failed.push((read.name.clone(), error));
                return Ok(());
            }
        };
        self.report.skipped_count += skipped.count;
        self.report.skipped.extend(skipped.named);
        self.report.skipped.truncate(NAMED);
        (self.options.step)(Step::Built(&read.name));
        self.place(&read, &fresh, &built, known.as_ref())
    }

    fn place(
        &mut self,
        input: &Input,
        fresh: &Path,
        built: &Built,
        known: Option<&Dataset>,
    ) -> Result<(), AdvisoryError> {
        let data = data_dir(self.dir);
        // The files of two states have different names, even where their advisories are the same: see `member`.
        let name = Sha256::new().chain_update(&input.name).chain_update(built.digest.as_bytes());
        let name = hex::encode(&name.chain_update(input.raw.as_bytes()).finalize()[..20]);
        let file = format!("{name}.sqlite");
        let path = data.join(&file);
        std::fs::rename(fresh, &path).map_err(AdvisoryError::file("replace", &path))?;
        sync_dir(&data)?;
        (self.options.step)(Step::Placed(&input.name));
        let same = known.is_some_and(|known| known.digest == built.digest);
        let list = if same { &mut self.report.unchanged } else { &mut self.report.changed };
        list.push(input.name.clone());
        self.pointer.put(Dataset {
            name: input.name.clone(),
            origin: input.origin.clone(),
            digest: built.digest,
            count: built.count,
            modified: built.modified.or(input.served),
            file,
            raw: input.raw,
            etag: input.etag.clone(),
        });
        Ok(())
    }
}

fn remote(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

/// Documents that were passed over.
#[derive(Default)]
struct Passed {
    named: Vec<Skipped>,
    count: u64,
}

impl Passed {
    fn add(&mut self, file: String, reason: &impl std::fmt::Display) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(Skipped { file, reason: reason.to_string() });
        }
    }
}

fn build(
    input: &Input,
    limits: Limits,
    target: &Path,
    previous: Option<&Path>,
) -> Result<(Built, Passed), AdvisoryError> {
    match std::fs::remove_file(target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(AdvisoryError::file("remove", target)(error));
        }
        _ => {}
    }
    let mut builder = Builder::create(target)?;
    let mut passed = Passed::default();
    let previous = previous.and_then(Previous::open);
    for part in &input.parts {
        let label =
            part.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match part {
            Part::Zip(path) => {
                let archive = Archive::open(path, &input.name, limits)?;
                unpack(archive, &mut builder, previous.as_ref(), &mut passed)?;
            }
            Part::Json(path) => {
                let limits = Limits { file: limits.document, ..limits };
                let mut bytes = Vec::new();
                let mut file = local::open(path, limits)?;
                std::io::Read::read_to_end(&mut file, &mut bytes)
                    .map_err(AdvisoryError::file("read", path))?;
                add(&mut builder, &bytes, label, None, &mut passed)?;
            }
            Part::Debian(path) => debian::read(path, limits, &mut |advisory| put(&mut builder, advisory))?,
            Part::Alpine(path) => alpine::read(path, limits, &mut |advisory| put(&mut builder, advisory))?,
        }
    }
    let built = builder.finish()?;
    if built.count == 0 {
        let hint = passed.named.first().map(|first| format!("; {}: {}", first.file, first.reason));
        let from = input.origin.clone();
        return Err(AdvisoryError::NoAdvisories { from, hint: hint.unwrap_or_default() });
    }
    Ok((built, passed))
}

fn unpack(
    mut archive: Archive,
    builder: &mut Builder,
    previous: Option<&Previous>,
    passed: &mut Passed,
) -> Result<(), AdvisoryError> {
    for index in 0..archive.len() {
        let Some(member) = archive.member(index)? else { continue };
        // A damaged old file is no reason to fail: the archive has everything.
        let known = previous.and_then(|previous| previous.entry(&member).ok().flatten());
        match known {
            Some(entry) => builder.add(&entry, Some(&member))?,
            None => {
                let bytes = archive.read(index)?;
                add(builder, &bytes, member.path.clone(), Some(&member), passed)?;
            }
        }
    }
    Ok(())
}

fn add(
    builder: &mut Builder,
    bytes: &[u8],
    file: String,
    member: Option<&Member>,
    passed: &mut Passed,
) -> Result<(), AdvisoryError> {
    match Advisory::parse(bytes).and_then(Entry::new) {
        Ok(entry) => builder.add(&entry, member),
        Err(error) => {
            passed.add(file, &error);
            Ok(())
        }
    }
}

fn put(builder: &mut Builder, advisory: Advisory) -> Result<(), AdvisoryError> {
    match Entry::new(advisory) {
        Ok(entry) => builder.add(&entry, None),
        // Serialising plain data into memory does not fail.
        Err(_) => Ok(()),
    }
}
