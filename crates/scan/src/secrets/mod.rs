//! Secrets in images: in every layer, also in files that a later layer deletes, and in the configuration.
//!
//! Files are read as streams in windows that overlap ([`windows`]), so memory does not grow with them. One automaton
//! finds the keywords of all rules ([`engine`]); a rule then looks at the text around its keyword, and whatever has a
//! checksum or a structure is proven by it ([`verify`], [`pem`]). In binary files only forms that cannot be chance are
//! looked for. Archives and compressed files inside of layers are not opened.
//!
//! The text of a secret leaves this module in no form: a finding has its place, its length where that tells nothing, and
//! a fingerprint that cannot be tried out on guesses.

mod allow;
mod config;
mod engine;
mod finding;
mod folder;
mod image;
mod paths;
mod pem;
mod plausible;
mod rules;
mod verify;
mod visible;
mod windows;

use std::path::PathBuf;

use kiln_store::StoreError;

pub use allow::Allow;
pub(crate) use engine::short_hash;
pub use finding::{Confidence, Place, SecretFinding};
pub use folder::scan_folder;
pub use image::scan_image;

/// Why a search for secrets failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// The image cannot be read.
    #[error("cannot search the image for secrets")]
    Store(#[from] StoreError),
    /// A file or folder cannot be read.
    #[error("cannot search {} for secrets", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A path of the allow list cannot be one.
    #[error("the allow list has the path {path:?}, which is no glob")]
    Glob {
        /// The text.
        path: String,
        /// What is wrong with it.
        #[source]
        source: globset::Error,
    },
    /// An entry of the allow list names nothing.
    #[error(
        "the entry {name:?} of the allow list allows every secret; give it a rule, a path or a fingerprint"
    )]
    AllowsAll {
        /// Its name.
        name: String,
    },
}

/// What a rule is for, so that reports can explain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Identifier, such as `github-token`.
    pub id: &'static str,
    /// "GitHub token".
    pub title: &'static str,
    /// Who can revoke it.
    pub issuer: &'static str,
}

/// All rules.
pub fn rules() -> Vec<RuleInfo> {
    rules::all().iter().map(|rule| RuleInfo { id: rule.id, title: rule.title, issuer: rule.issuer }).collect()
}

/// As many threads search at once.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8)
}
