//! What the tests share: the real advisories, stores made of documents, packages.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kiln_scan::advisories::{
    AdvisoryDb, Findings, MatchOptions, Report, Source, UpdateOptions, match_packages, update,
};
use kiln_scan::{Ecosystem, Package};
use serde_json::Value;
use tempfile::TempDir;

/// The folder with real advisories: `KILN_ADVISORIES`, else beside the repository. It lies outside of the repository,
/// so a checkout elsewhere may be without it: `None`, and said.
pub(crate) fn real() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/advisories");
    let dir = std::env::var_os("KILN_ADVISORIES").map_or(beside, PathBuf::from);
    if dir.join("PyPI.zip").is_file() {
        return Some(dir);
    }
    eprintln!("skipped: no real advisories in {} (KILN_ADVISORIES names another folder)", dir.display());
    None
}

/// Says what is missing; in CI that is an error.
pub(crate) fn missing(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "this test needs {what}");
    eprintln!("skipped: this test needs {what}");
}

/// A store of all real advisories, made once for this process.
pub(crate) fn real_store() -> Option<&'static Path> {
    static STORE: OnceLock<Option<TempDir>> = OnceLock::new();
    let store = STORE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let report = run(dir.path(), &[Source::Osv(real()?)]);
        assert!(report.failed.is_empty() && report.skipped.is_empty(), "{report:?}");
        Some(dir)
    });
    store.as_ref().map(TempDir::path)
}

pub(crate) fn run(dir: &Path, sources: &[Source]) -> Report {
    run_with(dir, sources, &UpdateOptions::default())
}

pub(crate) fn run_with(dir: &Path, sources: &[Source], options: &UpdateOptions) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(update(dir, sources, options)).unwrap()
}

/// A folder with documents, named by their ids.
pub(crate) fn folder(documents: &[Value]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), documents);
    dir
}

pub(crate) fn write(dir: &Path, documents: &[Value]) {
    let dir = dir.join("test");
    std::fs::create_dir_all(&dir).unwrap();
    for document in documents {
        let name = document["id"].as_str().unwrap().replace('/', "-");
        std::fs::write(dir.join(format!("{name}.json")), document.to_string()).unwrap();
    }
}

/// Packages against documents.
pub(crate) fn judge(documents: &[Value], packages: &[Package]) -> Findings {
    let (source, dir) = (folder(documents), tempfile::tempdir().unwrap());
    let report = run(dir.path(), &[Source::Osv(source.path().to_owned())]);
    assert!(report.failed.is_empty() && report.skipped_count == 0, "{report:?}");
    findings(dir.path(), packages)
}

pub(crate) fn findings(dir: &Path, packages: &[Package]) -> Findings {
    let db = AdvisoryDb::open(dir).unwrap();
    match_packages(&db, packages, &MatchOptions::default()).unwrap()
}

pub(crate) fn package(ecosystem: Ecosystem, name: &str, version: &str) -> Package {
    let kind = match &ecosystem {
        Ecosystem::Dpkg(_) => "deb/debian",
        Ecosystem::Apk(_) => "apk/alpine",
        Ecosystem::Rpm(_) => "rpm/redhat",
        Ecosystem::Cargo => "cargo",
        Ecosystem::Go => "golang",
        Ecosystem::PyPi => "pypi",
        Ecosystem::Npm => "npm",
        Ecosystem::Maven => "maven",
        Ecosystem::Gem => "gem",
        Ecosystem::NuGet => "nuget",
        Ecosystem::Composer => "composer",
    };
    Package {
        purl: format!("pkg:{kind}/{name}@{version}"),
        ecosystem,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: None,
        source: None,
        licenses: Vec::new(),
        locations: Vec::new(),
    }
}

pub(crate) fn from_source(mut package: Package, name: &str, version: &str) -> Package {
    package.source = Some((name.to_owned(), version.to_owned()));
    package
}

/// An archive of documents.
pub(crate) fn archive(documents: &[Value]) -> Vec<u8> {
    let files: Vec<(String, Vec<u8>)> = documents
        .iter()
        .map(|document| {
            (format!("{}.json", document["id"].as_str().unwrap()), document.to_string().into_bytes())
        })
        .collect();
    zip(&files)
}

pub(crate) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    use std::io::Write as _;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, bytes) in files {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
