//! Functions that write one thing as another.

use sha2::{Digest as _, Sha256};

use super::{Call, Failure, Function, Outcome, function};
use crate::eval::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("jsonencode", (1, Some(1)), "jsonencode(value)", "The value as JSON text.", |c| {
        let json = c.args[0].to_json().ok_or_else(|| c.wrong(0, "data"))?;
        Ok(Value::text(json.to_string()))
    }),
    function("jsondecode", (1, Some(1)), "jsondecode(text)", "The value of a JSON text.", json_decode),
    function("base64encode", (1, Some(1)), "base64encode(text)", "The text's bytes in base64.", |c| {
        Ok(Value::text(base64(c.text(0)?.as_bytes())))
    }),
    function(
        "sha256",
        (1, Some(1)),
        "sha256(text)",
        "The SHA-256 sum of the text's bytes as 64 hex digits.",
        |c| Ok(Value::text(hex::encode(Sha256::digest(c.text(0)?.as_bytes())))),
    ),
];

fn json_decode(call: &Call<'_>) -> Outcome {
    let json: serde_json::Value = serde_json::from_str(call.text(0)?)
        .map_err(|error| Failure::at(0, format!("this is not JSON: {error}")))?;
    Value::from_json(&json).ok_or_else(|| Failure::at(0, "a number in this JSON is too large"))
}

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * at)) as usize & 63];
            out.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_follows_the_test_vectors_of_rfc_4648() {
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
