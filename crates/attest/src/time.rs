//! Times: milliseconds since the Unix epoch in Rust, RFC 3339 in documents that others define.

use jiff::Timestamp;

/// As documents write it; a time beyond the year 9999 is written as that year's end.
pub(crate) fn write(ms: u64) -> String {
    let stamp = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    stamp.unwrap_or(Timestamp::MAX).to_string()
}

/// Reads RFC 3339. Times before 1970 are not times of evidence.
pub(crate) fn read(text: &str) -> Option<u64> {
    let stamp: Timestamp = text.parse().ok()?;
    u64::try_from(stamp.as_millisecond()).ok()
}

/// For `#[serde(with = …)]`: an optional time as RFC 3339. A text that is no time is an error.
pub(crate) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(ms: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match ms {
            Some(ms) => serializer.serialize_str(&super::write(*ms)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let strange = || D::Error::custom(format!("{text:?} is not a time such as 2026-01-31T12:00:00Z"));
        super::read(&text).map(Some).ok_or_else(strange)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_written_is_read_again() {
        for ms in [0, 1, 999, 1_700_000_000_123, 253_402_207_200_000] {
            assert_eq!(super::read(&super::write(ms)), Some(ms));
        }
        assert_eq!(super::write(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert!(super::write(u64::MAX).starts_with("9999-"));
        assert_eq!(super::read("1969-12-31T23:59:59Z"), None);
        assert_eq!(super::read("yesterday"), None);
    }
}
