//! The JSON schema of the language, in the usual JSON form of HCL: a block is a field, its label the field of an
//! object in it, and a block that may be repeated without a label of its own a list.

use serde_json::{Map, Value, json};

use crate::language::{Attribute, Block, Count, Label, ROOT};

/// The JSON schema (draft 2020-12) of the JSON form of a spec.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let mut root = object(&ROOT, "", &mut definitions);
    if let Some(fields) = root.as_object_mut() {
        fields.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        fields.insert("title".into(), "kiln.hcl".into());
        fields.insert("$defs".into(), Value::Object(definitions));
    }
    root
}

/// The schema of a block's body; those of inner blocks are put into the definitions.
fn object(block: &Block, address: &str, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for attribute in block.attributes {
        properties.insert(attribute.name.into(), attribute_schema(attribute));
    }
    for inner in block.blocks {
        let name =
            if address.is_empty() { inner.name.to_owned() } else { format!("{address}.{}", inner.name) };
        let body = object(inner, &name, definitions);
        definitions.insert(name.clone(), body);
        let schema = labelled(inner, json!({"$ref": format!("#/$defs/{name}")}));
        // `run` is both an attribute and a block.
        let merged = match properties.remove(inner.name) {
            Some(attribute) => json!({"anyOf": [attribute, schema]}),
            None => schema,
        };
        properties.insert(inner.name.into(), merged);
    }
    let required: Vec<_> = block.attributes.iter().filter(|a| a.required).map(|a| a.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": block.doc,
        "properties": properties,
        "additionalProperties": block.open,
    });
    if let Some(fields) = schema.as_object_mut().filter(|_| !required.is_empty()) {
        fields.insert("required".into(), required.into());
    }
    schema
}

fn attribute_schema(attribute: &Attribute) -> Value {
    let schema = attribute.kind.schema();
    match schema {
        Value::Object(mut fields) => {
            fields.insert("description".into(), attribute.doc.into());
            Value::Object(fields)
        }
        _ => json!({"description": attribute.doc}),
    }
}

fn labelled(block: &Block, body: Value) -> Value {
    let keyed = |names: Value, body: Value| json!({"type": "object", "propertyNames": names, "additionalProperties": body});
    let several = |body: Value| json!({"anyOf": [body, {"type": "array", "items": body}]});
    let repeated = block.count == Count::Any;
    match block.label {
        Label::None if repeated => several(body),
        Label::None => body,
        Label::Name => {
            keyed(json!({"pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}), repeat(repeated, body, several))
        }
        Label::Identifier => keyed(json!({"pattern": "^[A-Za-z_][-A-Za-z0-9_]*$"}), body),
        Label::Text(_) => keyed(json!({"minLength": 1}), repeat(repeated, body, several)),
        Label::Optional(_) => several(json!({"anyOf": [body.clone(), keyed(json!(true), body)]})),
        Label::Choice(choices) => keyed(json!({"enum": choices}), body),
    }
}

fn repeat(repeated: bool, body: Value, several: impl Fn(Value) -> Value) -> Value {
    if repeated { several(body) } else { body }
}
