//! What differs between two releases, for `kiln plan` and the history.

use std::collections::BTreeMap;

use kiln_model::ReleaseContent;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Dotted path into the release, such as `image`, `service.env.LOG_LEVEL` or `config.ports.http.number`.
    pub field: String,
    /// Value before; `None` when the field is new.
    pub from: Option<Value>,
    /// Value after; `None` when the field is gone.
    pub to: Option<Value>,
}

/// Every field that differs, by path.
pub fn differences(old: &ReleaseContent, new: &ReleaseContent) -> Vec<Difference> {
    let (old, new) = (flat(old), flat(new));
    let mut fields: Vec<&String> = old.keys().chain(new.keys()).collect();
    fields.sort();
    fields.dedup();
    let changed = fields.into_iter().filter(|field| old.get(*field) != new.get(*field));
    changed
        .map(|field| Difference {
            field: field.clone(),
            from: old.get(field).cloned(),
            to: new.get(field).cloned(),
        })
        .collect()
}

fn flat(content: &ReleaseContent) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    flatten(String::new(), serde_json::to_value(content).unwrap_or_default(), &mut fields);
    fields
}

/// Objects are walked into; lists are one value, because their items have no names. Empty and null mean "not there".
fn flatten(path: String, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let inner = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(inner, value, into);
            }
        }
        Value::Null => {}
        Value::Array(items) if items.is_empty() => {}
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            into.insert(path, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::content;

    #[test]
    fn names_each_changed_field_once() {
        let old = content("web", "one");
        assert_eq!(differences(&old, &old), []);
        let mut new = content("web", "two");
        new.service.replicas = 5;
        new.service.env.insert("LOG_LEVEL".into(), "debug".into());
        let found = differences(&old, &new);
        let fields: Vec<&str> = found.iter().map(|d| d.field.as_str()).collect();
        assert_eq!(fields, ["image", "service.env.LOG_LEVEL", "service.replicas"]);
        assert_eq!(found[1].from, None);
        assert_eq!(found[2].to, Some(5.into()));
    }
}
