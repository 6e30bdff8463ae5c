//! What is in an image and what is known against it: inventory (SBOM), advisories, secrets, policy.
//!
//! Nothing here decides whether an image is promoted; that is for those who require the evidence.

pub mod advisories;
mod examine;
pub mod facts;
mod inventory;
mod package;
pub mod policy;
pub mod report;
mod sbom;
pub mod secrets;
mod severity;
pub mod version;
pub mod vex;

pub use examine::{ExamineError, Examined, Request, examine};
pub use inventory::{
    Algorithm, Checksum, Distribution, Inventory, ScanError, inventory, inventory_of_folder,
};
pub use package::{Ecosystem, Location, Package};
pub use sbom::{Subject, cyclonedx, spdx};
pub use severity::{Score, ScoreError, Severity};
