//! The software inventory of an image or of a root folder: which packages it holds, and where.
//!
//! Each layer is decompressed once, layers side by side, and of each only the files that tell about packages are
//! kept (`wanted`), turned into findings on the spot (one module per kind), and laid over each other with
//! whiteouts as a runtime would (`overlay`). What is left becomes packages (`assemble`).
//!
//! It lists what is installed, from what the package managers themselves wrote. It does not guess from file
//! names or contents, and it does not read lock files of sources that were never installed. A database that is
//! there but cannot be read is a problem that is said, never an empty list.

mod apk;
mod assemble;
mod dotnet;
mod dpkg;
mod error;
mod findings;
mod folder;
#[cfg(test)]
mod fuzz;
mod go;
mod java;
mod layers;
mod limits;
mod node;
mod os_release;
mod overlay;
mod php;
mod program;
mod purl;
mod python;
mod read;
mod rpm;
mod ruby;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kiln_model::Digest;
use kiln_store::Store;
use serde::{Deserialize, Serialize};

use crate::Package;

pub use error::ScanError;
pub(crate) use findings::{Family, Finding, Findings};
pub use os_release::Distribution;
pub(crate) use purl::image as image_purl;

/// What an image or folder holds.
///
/// Its serde form is how Kiln stores and reads back inventories: unlike the SBOM formats it loses nothing and
/// needs no guessing on the way back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The image's manifest; `None` for a folder.
    pub image: Option<Digest>,
    /// RFC 3339 time at which the image says it was made.
    pub created: Option<String>,
    /// What os-release says.
    pub distribution: Option<Distribution>,
    /// Every package once, sorted.
    pub packages: Vec<Package>,
    /// Which package needs which others of this inventory, all by purl.
    #[serde(default)]
    pub dependencies: BTreeMap<String, BTreeSet<String>>,
    /// Packages of a language (key) of which every place was brought by packages of the distribution (values), all
    /// by purl: their fixes come from the distribution, under the distribution's version.
    #[serde(default)]
    pub providers: BTreeMap<String, BTreeSet<String>>,
    /// Digests of the archives that packages came in, by purl.
    #[serde(default)]
    pub checksums: BTreeMap<String, BTreeSet<Checksum>>,
    /// What was there and could not be read, sorted. An inventory with problems may lack packages.
    pub problems: Vec<String>,
}

/// A digest of the archive that a package came in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Checksum {
    /// How it was made.
    pub algorithm: Algorithm,
    /// Lower-case hex digits.
    pub value: String,
}

/// How a [`Checksum`] was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// SHA-1, by which Maven's repositories know archives.
    Sha1,
    /// SHA-512, as npm and NuGet record it.
    Sha512,
}

/// Lists the packages of an image in the store.
///
/// # Errors
/// When the image or a layer is missing, damaged or refused. Single files that make no sense are
/// [`Inventory::problems`].
pub fn inventory(store: &Store, image: &Digest) -> Result<Inventory, ScanError> {
    let documents = store.image(image)?;
    let layers = layers::read_all(store, &documents.layers)?;
    let overlay = overlay::lay_over(store, &documents.layers, layers)?;
    let mut inventory =
        assemble::assemble(overlay, |layer| documents.layers.get(layer).map(|layer| layer.blob.digest));
    inventory.image = Some(*image);
    inventory.created = documents.file.created;
    Ok(inventory)
}

/// Lists the packages below a folder that is the root of a system. Symbolic links are not followed; `proc`, `sys`
/// and `dev` directly below are left out.
///
/// # Errors
/// When the folder cannot be listed. Single files that cannot be read are [`Inventory::problems`].
pub fn inventory_of_folder(path: &Path) -> Result<Inventory, ScanError> {
    Ok(assemble::assemble(folder::read(path)?, |_| None))
}
