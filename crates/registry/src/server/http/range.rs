//! The headers `Range` and `Content-Range`.

use std::ops::Range;

/// What a `Range` header asks for, of a blob of some size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything: no header, or one that the rules say to ignore (another unit, several ranges).
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing that the blob has.
    Outside,
}

/// Reads a `Range` header. Source: RFC 9110, section 14.
pub(crate) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some(spec) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Asked::All };
    let Some((first, last)) = spec.split_once('-').filter(|_| !spec.contains(',')) else { return Asked::All };
    let range = match (first.trim(), last.trim()) {
        ("", "") => return Asked::All,
        ("", suffix) => match suffix.parse::<u64>() {
            Ok(0) => return Asked::Outside,
            Ok(length) => size.saturating_sub(length)..size,
            Err(_) => return Asked::All,
        },
        (first, last) => {
            let Ok(first) = first.parse::<u64>() else { return Asked::All };
            let end = if last.is_empty() {
                Ok(size)
            } else {
                last.parse::<u64>().map(|last| last.saturating_add(1))
            };
            let Ok(end) = end else { return Asked::All };
            if end <= first && first < size {
                return Asked::All;
            }
            first..end.min(size)
        }
    };
    if range.start >= size { Asked::Outside } else { Asked::Part(range) }
}

/// Reads the `Content-Range` of a chunk: `0-1023`, as the distribution specification writes it, or with `bytes `
/// before and `/total` after, as HTTP does. Returns the first byte and the number of bytes.
pub(crate) fn chunk(header: &str) -> Option<(u64, u64)> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
    let text = text.split('/').next()?;
    let (first, last) = text.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    Some((first, last.checked_sub(first)?.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_follow_the_rules_of_http() {
        for (header, expected) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=2-", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-30", Asked::Part(0..10)),
            ("bytes=4-99", Asked::Part(4..10)),
            ("bytes=10-", Asked::Outside),
            ("bytes=10-5", Asked::Outside),
            ("bytes=5-4", Asked::All),
            ("bytes=-0", Asked::Outside),
            ("bytes=0-1,3-4", Asked::All),
            ("bytes=x-1", Asked::All),
            ("lines=0-1", Asked::All),
        ] {
            assert_eq!(asked(Some(header), 10), expected, "{header}");
        }
        assert_eq!(asked(None, 10), Asked::All);
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Outside);
    }

    #[test]
    fn chunks_are_read_in_both_forms() {
        assert_eq!(chunk("0-1023"), Some((0, 1024)));
        assert_eq!(chunk("bytes 5-5/*"), Some((5, 1)));
        assert_eq!(chunk("5-4"), None);
        assert_eq!(chunk("x"), None);
        assert_eq!(chunk(&format!("0-{}", u64::MAX)), None);
    }

    proptest! {
        #[test]
        fn every_part_is_within_the_blob(header in "bytes=[0-9-]{0,45}", size: u64) {
            if let Asked::Part(range) = asked(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
            let _ = chunk(&header);
        }
    }
}
