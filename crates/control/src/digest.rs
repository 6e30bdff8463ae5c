//! The identity of a release's content: SHA-256 of its canonical JSON.
//!
//! Canonical means: keys sorted bytewise on every level, no white space, `serde_json`'s number and string forms.
//! `service.replicas` is left out, because a fleet of another size runs the same thing: a change of only the
//! number of replicas resizes the fleet that is there instead of replacing every instance of it.

use kiln_model::{Digest, ReleaseContent};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The digest of a release's content, blind to the number of replicas.
pub fn content_digest(content: &ReleaseContent) -> Digest {
    digest_without(content, &[])
}

/// The digest of everything of a release but its image and the number of replicas: equal in two environments when the
/// same image would run there in the same way.
pub fn config_digest(content: &ReleaseContent) -> Digest {
    digest_without(content, &["image"])
}

/// The digest of a content's canonical JSON, without the replicas and these fields.
fn digest_without(content: &ReleaseContent, left_out: &[&str]) -> Digest {
    let mut value = serde_json::to_value(content).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !left_out.contains(&name.as_str()));
    }
    if let Some(service) = value.get_mut("service").and_then(Value::as_object_mut) {
        service.remove("replicas");
    }
    sort(&mut value);
    Digest::from_bytes(Sha256::digest(value.to_string().as_bytes()).into())
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.sort_keys();
            map.values_mut().for_each(sort);
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::content;

    #[test]
    fn only_what_an_instance_runs_counts() {
        let one = content("web", "one");
        let mut other = one.clone();
        other.service.replicas = 9;
        assert_eq!(content_digest(&one), content_digest(&other));
        other.service.env.insert("LOG_LEVEL".into(), "debug".into());
        assert_ne!(content_digest(&one), content_digest(&other));
        assert_ne!(config_digest(&one), config_digest(&other));
        let other = content("web", "two");
        assert_ne!(content_digest(&one), content_digest(&other));
        assert_eq!(config_digest(&one), config_digest(&other));
    }

    #[test]
    fn the_order_of_keys_does_not_count() {
        let mut left = serde_json::json!({"b": [{"y": 1, "x": 2}], "a": 0});
        let mut right = serde_json::json!({"a": 0, "b": [{"x": 2, "y": 1}]});
        sort(&mut left);
        sort(&mut right);
        assert_eq!(left.to_string(), right.to_string());
        assert_eq!(left.to_string(), r#"{"a":0,"b":[{"x":2,"y":1}]}"#);
    }
}
