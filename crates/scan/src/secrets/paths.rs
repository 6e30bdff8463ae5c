//! What the path of a file says about what is in it.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// Parts of paths, with slashes at both ends of each folder, below which tests, examples and documentation lie.
static SPECIMENS: [&str; 22] = [
    "/test/",
    "/tests/",
    "/testing/",
    "/testdata/",
    "/test_data/",
    "/__tests__/",
    "/spec/",
    "/specs/",
    "/fixtures/",
    "/fixture/",
    "/example/",
    "/examples/",
    "/sample/",
    "/samples/",
    "/demo/",
    "/demos/",
    "/doc/",
    "/docs/",
    "/documentation/",
    "/man/",
    "/testsuite/",
    "/selftest/",
];

/// Parts of paths below which packages put what everybody has.
static LIBRARIES: [&str; 20] = [
    "/usr/share/",
    "/usr/include/",
    "/usr/lib/",
    "/usr/lib64/",
    "/usr/src/",
    "/lib/python3",
    "/site-packages/",
    "/dist-packages/",
    "/node_modules/",
    "/vendor/",
    "/.cargo/registry/",
    "/go/pkg/mod/",
    "/usr/local/go/",
    "/gems/",
    "/.m2/repository/",
    "/var/lib/dpkg/",
    "/.rustup/",
    "/lib/ruby/",
    "/usr/bin/",
    "/lib/perl5/",
];

static SPECIMEN: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(SPECIMENS).ok());
static LIBRARY: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(LIBRARIES).ok());

fn has(search: &LazyLock<Option<AhoCorasick>>, path: &str) -> bool {
    let path = format!("/{}", path.to_ascii_lowercase());
    search.as_ref().is_some_and(|search| search.is_match(&path))
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a file is a test, an example or documentation, where keys are made to be seen.
pub(crate) fn specimen(path: &str) -> bool {
    const ENDS: [&str; 10] =
        [".md", ".rst", ".adoc", ".html", ".pod", "_test.go", ".test.js", ".test.ts", ".spec.ts", ".example"];
    let name = name(path).to_ascii_lowercase();
    has(&SPECIMEN, path)
        || ENDS.iter().any(|end| name.ends_with(end))
        || matches!(name.as_str(), "metadata" | "pkg-info" | "copyright")
        || name.starts_with("readme")
        || name.starts_with("test_")
        || name.starts_with("changelog")
        || (name.contains("test") && (name.ends_with(".pem") || name.ends_with(".key")))
}

/// Whether a file is not the image's owner's: a library, a test, documentation.
pub(crate) fn borrowed(path: &str) -> bool {
    specimen(path) || has(&LIBRARY, path) || name(path).contains(".min.")
}

/// Whether a file holds settings, in which values stand without quotes.
pub(crate) fn settings(path: &str) -> bool {
    const ENDS: [&str; 12] = [
        ".env",
        ".ini",
        ".conf",
        ".cfg",
        ".config",
        ".properties",
        ".yaml",
        ".yml",
        ".toml",
        ".tfvars",
        ".envrc",
        "dockerfile",
    ];
    let name = name(path).to_ascii_lowercase();
    ENDS.iter().any(|end| name.ends_with(end)) || name.starts_with(".env") || !name.contains('.')
}
