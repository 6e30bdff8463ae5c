//! The vulnerabilities of a CycloneDX document (version 1.4 to 1.6): `vulnerabilities[].analysis` and what each affects.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::{Product, Statement, Status, Vex, VexError};

/// Components inside components are read down to here.
const MAX_DEPTH: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    serial_number: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    components: Vec<Component>,
    #[serde(default)]
    vulnerabilities: Vec<Raw>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    component: Option<Component>,
    #[serde(default)]
    authors: Vec<Author>,
}

#[derive(Deserialize)]
struct Author {
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default, rename = "bom-ref")]
    reference: Option<String>,
    #[serde(default)]
    purl: Option<String>,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    references: Vec<Alias>,
    #[serde(default)]
    analysis: Option<Analysis>,
    #[serde(default)]
    affects: Vec<Affects>,
}

#[derive(Deserialize)]
struct Alias {
    #[serde(default)]
    id: Option<String>,
}

#[derive(Deserialize)]
struct Analysis {
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    justification: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default, rename = "lastUpdated")]
    updated: Option<String>,
}

#[derive(Deserialize)]
struct Affects {
    #[serde(rename = "ref")]
    reference: String,
}

pub(super) fn parse(value: Value) -> Result<Vex, VexError> {
    let document: Document = serde_json::from_value(value).map_err(VexError::Json)?;
    let mut names = BTreeMap::new();
    let main = document.metadata.component.iter();
    main.chain(&document.components).for_each(|component| collect(component, 0, &mut names));
    let id = document.serial_number.unwrap_or_else(|| "CycloneDX document".to_owned());
    let author = document.metadata.authors.into_iter().find_map(|author| author.name).unwrap_or_default();
    let date = document.metadata.timestamp.as_deref();
    let mut statements = Vec::new();
    for (index, raw) in document.vulnerabilities.into_iter().enumerate() {
        let found = statement(raw, date, &names).map_err(|reason| VexError::Statement {
            document: id.clone(),
            number: index + 1,
            reason,
        })?;
        statements.extend(found);
    }
    Ok(Vex { id, author, statements })
}

fn collect(component: &Component, depth: usize, names: &mut BTreeMap<String, String>) {
    if let (Some(reference), Some(purl)) = (&component.reference, &component.purl) {
        names.insert(reference.clone(), purl.clone());
    }
    if depth < MAX_DEPTH {
        component.components.iter().for_each(|inner| collect(inner, depth + 1, names));
    }
}

/// `None` when the document only lists the vulnerability and says nothing of its state.
fn statement(
    raw: Raw,
    date: Option<&str>,
    names: &BTreeMap<String, String>,
) -> Result<Option<Statement>, String> {
    let Some(analysis) = raw.analysis else { return Ok(None) };
    let Some(state) = analysis.state.as_deref() else { return Ok(None) };
    let status = match state {
        "not_affected" | "false_positive" => Status::NotAffected,
        "resolved" | "resolved_with_pedigree" => Status::Fixed,
        "exploitable" => Status::Affected,
        "in_triage" => Status::UnderInvestigation,
        other => return Err(format!("{other:?} is no state of an analysis")),
    };
    let vulnerabilities: Vec<String> =
        raw.id.into_iter().chain(raw.references.into_iter().filter_map(|alias| alias.id)).collect();
    if vulnerabilities.is_empty() {
        return Err("the vulnerability has no id".to_owned());
    }
    let products = raw.affects.iter().map(|affects| product(&affects.reference, names)).collect();
    let timestamp = analysis.updated.as_deref().or(date).and_then(|text| text.parse().ok());
    let (justification, note) = (analysis.justification, analysis.detail);
    Ok(Some(Statement { vulnerabilities, products, status, justification, note, timestamp }))
}

/// A reference is a `bom-ref` of this document, or a BOM-Link `urn:cdx:serial/version#bom-ref` into another one, whose
/// references are package URLs in most cases.
fn product(reference: &str, names: &BTreeMap<String, String>) -> Product {
    let inner = match reference.strip_prefix("urn:cdx:").and_then(|link| link.split_once('#')) {
        Some((_, fragment)) => percent_decode_str(fragment).decode_utf8_lossy().into_owned(),
        None => reference.to_owned(),
    };
    let known = names.get(&inner).cloned();
    Product { ids: known.into_iter().chain([inner]).collect(), parts: Vec::new() }
}
