//! Proofs that a text is what it seems: checksums and inner structures that issuers put into their secrets.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

/// Decodes base64 of either alphabet, padded or not.
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let url = text.iter().any(|b| matches!(b, b'-' | b'_'));
    if url { URL_SAFE.decode(text).ok() } else { STANDARD.decode(text).ok() }
}

/// Tokens of GitHub and npm end in six digits of base 62: the CRC-32 of the 30 characters before them.
/// Source: GitHub's engineering blog, "Behind GitHub's new authentication token formats" (2021).
pub(crate) fn crc62(body: &[u8]) -> bool {
    let Some((random, sum)) = body.split_at_checked(30).filter(|(_, sum)| sum.len() == 6) else {
        return false;
    };
    base62(crc32fast::hash(random)) == sum
}

/// Six digits of base 62, in the order of ASCII.
fn base62(mut number: u32) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = [b'0'; 6];
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    out
}

/// Whether a token of Atlassian ends in the CRC-32 of what stands before its last `=`, in eight hex digits.
pub(crate) fn atlassian(token: &[u8]) -> bool {
    let Some((body, sum)) = token.len().checked_sub(9).and_then(|at| token.split_at_checked(at)) else {
        return false;
    };
    sum[0] == b'=' && format!("{:08X}", crc32fast::hash(body)).as_bytes() == sum[1..].to_ascii_uppercase()
}

/// The account that an AWS access key belongs to. Keys from before 2019, whose fifth letter is I or J, do not have it.
/// Source: Tal Be'ery, "A short note on AWS KEY ID" (2023).
pub(crate) fn aws_account(key: &[u8]) -> Option<u64> {
    let digits = key.get(4..20)?;
    if matches!(digits[0], b'I' | b'J') {
        return None;
    }
    let mut bits: u128 = 0;
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u128::from(value);
    }
    // 80 bits: the first 48 hold one bit of something else and 40 bits of the account in front of 7 others.
    let first = u64::try_from(bits >> 32).ok()?;
    let account = (first & 0x7fff_ffff_ff80) >> 7;
    (account < 1_000_000_000_000).then_some(account)
}

/// A JSON web token whose header names an algorithm and whose payload is an object.
pub(crate) fn jwt(token: &[u8]) -> bool {
    let mut parts = token.split(|b| *b == b'.');
    let object = |part: Option<&[u8]>| {
        let bytes = base64(part?)?;
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes).ok()
    };
    let (Some(header), Some(payload)) = (object(parts.next()), object(parts.next())) else { return false };
    let signature = parts.next().and_then(base64).unwrap_or_default();
    let algorithm = header.get("alg").and_then(|alg| alg.as_str()).unwrap_or("none");
    // The token that everybody's documentation shows.
    let specimen = payload.get("name").and_then(|name| name.as_str()) == Some("John Doe")
        || payload.get("sub").and_then(|sub| sub.as_str()) == Some("1234567890");
    !algorithm.eq_ignore_ascii_case("none") && !specimen && signature.len() >= 16 && parts.next().is_none()
}

/// A macaroon of the second version, issued by the index itself (it names its own host): fields, and 32 bytes of signature at the end.
/// Source: libmacaroons, `doc/format.txt`.
pub(crate) fn pypi(token: &[u8]) -> bool {
    let Some(bytes) = token.strip_prefix(b"pypi-").and_then(base64) else { return false };
    let signed = bytes.len() > 34 && bytes[bytes.len() - 34..].starts_with(&[0x06, 0x20]);
    bytes.starts_with(b"\x02\x01\x08pypi\x2eorg\x02") && signed
}

/// Bech32 (BIP 173) with this human-readable part.
pub(crate) fn bech32(prefix: &str, text: &[u8]) -> bool {
    const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let lower = text.to_ascii_lowercase();
    let Some(data) = lower.strip_prefix(prefix.as_bytes()).and_then(|rest| rest.strip_prefix(b"1")) else {
        return false;
    };
    let step = |sum: u32, value: u32| {
        let top = sum >> 25;
        let next = ((sum & 0x01ff_ffff) << 5) ^ value;
        GENERATOR
            .iter()
            .enumerate()
            .fold(next, |sum, (bit, part)| if (top >> bit) & 1 == 1 { sum ^ part } else { sum })
    };
    let expanded = prefix.bytes().map(|b| u32::from(b >> 5));
    let expanded = expanded.chain([0]).chain(prefix.bytes().map(|b| u32::from(b & 31)));
    let mut sum = expanded.fold(1, step);
    for byte in data {
        let Some(value) = CHARSET.iter().position(|c| c == byte) else { return false };
        sum = step(sum, value as u32);
    }
    sum == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_their_issuers() {
        // The token that GitHub's own blog shows, without its prefix.
        assert!(crc62(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"));
        assert!(!crc62(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18") && !crc62(b"short"));
        // BIP 173's own test vectors.
        assert!(
            bech32("a", b"A12UEL5L") && bech32("abcdef", b"abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw")
        );
        assert!(!bech32("a", b"A12UEL5M") && !bech32("b", b"A12UEL5L"));
    }

    #[test]
    fn an_access_key_tells_its_account() {
        // The example of the note that the rule is from.
        assert_eq!(aws_account(["ASIA", "QNZGKIQY56JQ7WML"].concat().as_bytes()), Some(29_608_264_753));
        assert_eq!(aws_account(["AKIA", "IOSFODNN7EXAMPLE"].concat().as_bytes()), None);
        assert_eq!(aws_account(b"AKIA"), None);
    }
}
