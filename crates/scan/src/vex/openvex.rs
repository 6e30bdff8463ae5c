//! OpenVEX (<https://github.com/openvex/spec>, version 0.2.0; the older shape, where vulnerabilities and products are
//! plain texts, is read too).

use serde::Deserialize;
use serde_json::Value;

use super::{Product, Statement, Status, Vex, VexError};

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "@id")]
    id: String,
    #[serde(default)]
    author: String,
    #[serde(default)]
    timestamp: Option<String>,
    statements: Vec<Value>,
}

#[derive(Deserialize)]
struct Raw {
    vulnerability: Named,
    #[serde(default)]
    products: Vec<RawProduct>,
    status: Status,
    #[serde(default)]
    justification: Option<String>,
    #[serde(default)]
    impact_statement: Option<String>,
    #[serde(default)]
    action_statement: Option<String>,
    #[serde(default)]
    status_notes: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Text(String),
    Object {
        #[serde(default, rename = "@id")]
        id: Option<String>,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        aliases: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawProduct {
    Text(String),
    Object(Component),
}

#[derive(Deserialize)]
struct Component {
    #[serde(default, rename = "@id")]
    id: Option<String>,
    #[serde(default)]
    identifiers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    subcomponents: Vec<Component>,
}

/// `justification` of a statement that says `not_affected` (specification, "Status justifications").
const JUSTIFICATIONS: [&str; 5] = [
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
];

pub(super) fn parse(value: Value) -> Result<Vex, VexError> {
    let document: Document = serde_json::from_value(value).map_err(VexError::Json)?;
    let statements = document.statements.iter().enumerate().map(|(index, value)| {
        statement(value, document.timestamp.as_deref()).map_err(|reason| VexError::Statement {
            document: document.id.clone(),
            number: index + 1,
            reason,
        })
    });
    let statements = statements.collect::<Result<_, _>>()?;
    Ok(Vex { id: document.id, author: document.author, statements })
}

fn statement(value: &Value, date: Option<&str>) -> Result<Statement, String> {
    let raw = Raw::deserialize(value).map_err(|error| error.to_string())?;
    if raw.status == Status::NotAffected && raw.justification.is_none() && raw.impact_statement.is_none() {
        return Err("not_affected needs a justification or an impact_statement".to_owned());
    }
    if let Some(word) = raw.justification.as_deref().filter(|word| !JUSTIFICATIONS.contains(word)) {
        return Err(format!("{word:?} is no justification; there are {}", JUSTIFICATIONS.join(", ")));
    }
    let vulnerabilities = match raw.vulnerability {
        Named::Text(text) => vec![text],
        Named::Object { id, name, aliases } => name.into_iter().chain(id).chain(aliases).collect(),
    };
    if vulnerabilities.is_empty() {
        return Err("the vulnerability has no name".to_owned());
    }
    Ok(Statement {
        vulnerabilities,
        products: raw.products.into_iter().map(product).collect(),
        status: raw.status,
        justification: raw.justification,
        note: raw.impact_statement.or(raw.action_statement).or(raw.status_notes),
        timestamp: raw.timestamp.as_deref().or(date).and_then(|text| text.parse().ok()),
    })
}

fn product(raw: RawProduct) -> Product {
    match raw {
        RawProduct::Text(id) => Product { ids: vec![id], parts: Vec::new() },
        RawProduct::Object(component) => {
            let parts = component.subcomponents.iter().flat_map(Component::ids).collect();
            Product { ids: component.ids(), parts }
        }
    }
}

impl Component {
    fn ids(&self) -> Vec<String> {
        let sums = self.hashes.iter().filter(|(name, _)| name.as_str() == "sha-256");
        let sums = sums.map(|(_, sum)| format!("sha256:{sum}"));
        self.id.iter().chain(self.identifiers.values()).cloned().chain(sums).collect()
    }
}
