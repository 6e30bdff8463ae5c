//! Statements that a finding does no harm: VEX documents.
//!
//! Nothing is ever removed: a finding that does not count stays among the others and says what suppresses it and why.
//! Documents come from outside and are read with bounds; whether their author may be believed is for the caller, who
//! verifies signatures before a document gets here.

mod cyclonedx;
mod openvex;
mod purl;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::advisories::{Suppression, Suppressor, Vulnerability};

/// A document with more bytes is refused; the largest real ones have about 10 MB.
const MAX_BYTES: usize = 64 << 20;

/// A VEX document, in whatever format it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vex {
    /// The document's own name.
    pub id: String,
    /// Who says so, as the document has it.
    pub author: String,
    /// In the order of the document.
    pub statements: Vec<Statement>,
}

/// One statement: a status of vulnerabilities in products.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Names and aliases.
    pub vulnerabilities: Vec<String>,
    /// What it holds for.
    pub products: Vec<Product>,
    /// The status.
    pub status: Status,
    /// Why it is not affected, in the format's own word.
    pub justification: Option<String>,
    /// What the author adds.
    pub note: Option<String>,
    /// Since when.
    pub timestamp: Option<Timestamp>,
}

/// A product of a statement: a package by itself, or packages inside a product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Product {
    /// Package URLs and other names, any of which may match.
    pub ids: Vec<String>,
    /// Names of the packages that are meant inside it; none means all of it.
    pub parts: Vec<String>,
}

/// The four states of VEX (CISA, Minimum Requirements for VEX).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No one needs to do anything.
    NotAffected,
    /// It harms.
    Affected,
    /// This product has the fix, whatever its version says.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Self::NotAffected => "not_affected",
            Self::Affected => "affected",
            Self::Fixed => "fixed",
            Self::UnderInvestigation => "under_investigation",
        }
    }
}

/// Why a document is not VEX.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VexError {
    /// Too many bytes.
    #[error("the VEX document has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// No JSON, or a field has the wrong type.
    #[error("the VEX document is not JSON of the shape it should have")]
    Json(#[source] serde_json::Error),
    /// JSON of some other kind.
    #[error("the document is neither OpenVEX (\"@context\" of openvex.dev) nor CycloneDX (\"bomFormat\")")]
    Kind,
    /// A statement breaks the specification's rules.
    #[error("statement {number} of the VEX document {document}: {reason}")]
    Statement {
        /// The document's id.
        document: String,
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Names of the image that findings are about: its package URL (`pkg:oci/…`), its digest, its reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Any of which a statement may use.
    pub ids: Vec<String>,
}

impl Vex {
    /// Reads an OpenVEX document, or the vulnerabilities of a CycloneDX document.
    ///
    /// # Errors
    /// When it is neither, or a statement breaks the rules of its format.
    pub fn parse(bytes: &[u8]) -> Result<Self, VexError> {
        if bytes.len() > MAX_BYTES {
            return Err(VexError::TooLarge(bytes.len()));
        }
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(VexError::Json)?;
        let context = value.get("@context").map(ToString::to_string).unwrap_or_default();
        if context.contains("openvex") {
            openvex::parse(value)
        } else if value.get("bomFormat").and_then(serde_json::Value::as_str) == Some("CycloneDX") {
            cyclonedx::parse(value)
        } else {
            Err(VexError::Kind)
        }
    }
}

/// Applies documents to findings. Of several statements about a finding the latest counts; of equally late ones (or
/// without dates) the last one, in the order of the documents and of the statements in them.
pub fn apply_vex(findings: &mut [Vulnerability], documents: &[Vex], image: &Image) {
    for finding in findings {
        let statements = documents.iter().flat_map(|vex| vex.statements.iter().map(move |one| (vex, one)));
        let latest = statements
            .filter(|(_, statement)| statement.concerns(finding, image))
            .max_by_key(|(_, statement)| statement.timestamp);
        let Some((vex, statement)) = latest else { continue };
        if matches!(statement.status, Status::NotAffected | Status::Fixed) {
            let reason = statement.reason();
            let suppression = Suppression { by: Suppressor::Vex, source: vex.id.clone(), reason };
            finding.suppressed.get_or_insert(suppression);
        } else {
            finding.vex_status = Some(statement.status.text().to_owned());
        }
    }
}

impl Statement {
    fn concerns(&self, finding: &Vulnerability, image: &Image) -> bool {
        let named = |id: &String| {
            id.eq_ignore_ascii_case(&finding.id)
                || finding.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(id))
        };
        self.vulnerabilities.iter().any(named)
            && self.products.iter().any(|product| product.contains(finding, image))
    }

    fn reason(&self) -> String {
        let parts = [Some(self.status.text()), self.justification.as_deref(), self.note.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
    }
}

impl Product {
    fn contains(&self, finding: &Vulnerability, image: &Image) -> bool {
        let package = |pattern: &String| purl::matches(pattern, &finding.package.purl);
        let whole = |pattern: &String| image.ids.iter().any(|id| id == pattern || purl::matches(pattern, id));
        if self.parts.is_empty() {
            return self.ids.iter().any(|id| package(id) || whole(id));
        }
        self.ids.iter().any(whole) && self.parts.iter().any(package)
    }
}
