//! What a single file tells, before it is known whether a later layer deletes it.

use super::{Checksum, Distribution};

/// Kinds of packages, before the distribution is known: which that is may stand in another file, or be found after this
/// one. [`Ecosystem`](crate::Ecosystem) has it, and names and versions have one meaning only there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    Dpkg,
    Apk,
    Rpm,
    Cargo,
    Go,
    PyPi,
    Npm,
    Maven,
    Gem,
    NuGet,
    Composer,
}

impl Family {
    /// Whether the distribution's own package manager installed it.
    pub(crate) const fn of_distribution(self) -> bool {
        matches!(self, Self::Dpkg | Self::Apk | Self::Rpm)
    }
}

/// One package as a file tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub family: Family,
    pub name: String,
    pub version: String,
    pub architecture: Option<String>,
    pub source: Option<(String, String)>,
    /// The source package as RPM writes it: its file name.
    pub source_file: Option<String>,
    pub licenses: Vec<String>,
    /// What it needs: of each entry any one.
    pub needs: Vec<Vec<String>>,
    /// What it offers beside its own name.
    pub offers: Vec<String>,
    pub checksums: Vec<Checksum>,
    /// Files that it brought and that may tell of packages themselves.
    pub files: Vec<String>,
    /// Where in the file (an archive) it was found.
    pub inside: Option<String>,
}

impl Finding {
    pub(crate) fn new(family: Family, name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            family,
            name: name.into(),
            version: version.into(),
            architecture: None,
            source: None,
            source_file: None,
            licenses: Vec::new(),
            needs: Vec::new(),
            offers: Vec::new(),
            checksums: Vec::new(),
            files: Vec::new(),
            inside: None,
        }
    }
}

/// All that one file tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub packages: Vec<Finding>,
    pub distribution: Option<Distribution>,
    /// Licences, of a copyright file.
    pub licenses: Vec<String>,
    /// Files of the package that a file list is about.
    pub files: Vec<String>,
    /// Digests by the folder of the package they are of, relative to the file's own folder.
    pub digests: Vec<(String, Checksum)>,
    /// Sentences that follow the file's name and a colon.
    pub problems: Vec<String>,
}

impl Findings {
    pub(crate) fn of(packages: Vec<Finding>) -> Self {
        Self { packages, ..Self::default() }
    }

    pub(crate) fn problem(text: impl Into<String>) -> Self {
        Self { problems: vec![text.into()], ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packages.is_empty()
            && self.distribution.is_none()
            && self.licenses.is_empty()
            && self.files.is_empty()
            && self.digests.is_empty()
            && self.problems.is_empty()
    }
}
