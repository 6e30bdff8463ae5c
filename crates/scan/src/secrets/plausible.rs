//! Whether a text can be a secret at all: how random it is, and what gives examples and placeholders away.

/// Shannon entropy in bits per byte; 0 for nothing.
pub(crate) fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text {
        counts[usize::from(*byte)] += 1;
    }
    #[allow(clippy::cast_precision_loss, reason = "texts are short")]
    let total = text.len().max(1) as f64;
    let part = |count: &u32| {
        let share = f64::from(*count) / total;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(part).sum()
}

/// Words that stand in examples and in places to fill in. Lower case.
const PLACEHOLDERS: [&str; 37] = [
    "example",
    "exampl",
    "changeme",
    "change_me",
    "change-me",
    "your_",
    "your-",
    "yourpass",
    "yourtoken",
    "yoursecret",
    "replace",
    "placeholder",
    "dummy",
    "sample",
    "fake",
    "redacted",
    "xxxx",
    "****",
    "....",
    "____",
    "----",
    "0000000",
    "11111111",
    "12345678",
    "abcdefgh",
    "abcd1234",
    "deadbeef",
    "foobar",
    "todo",
    "insert",
    "enter_",
    "undefined",
    "testtest",
    "notasecret",
    "not-a-secret",
    "mypassword",
    "lorem",
];

/// What a value is made of when a program fills it in later, or when it is code and no text.
const TEMPLATES: [&[u8]; 12] =
    [b"${", b"$(", b"{{", b"}}", b"<%", b"%>", b"%(", b"%s", b"{}", b"<", b">", b"process.env"];

/// Whether a text shows that it is none.
pub(crate) fn placeholder(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let has = |word: &[u8]| memchr::memmem::find(&lower, word).is_some();
    PLACEHOLDERS.iter().any(|word| has(word.as_bytes()))
        || TEMPLATES.iter().any(|mark| has(mark))
        || text.starts_with(b"$")
        || text.starts_with(b"@")
        || few_characters(text)
}

/// Whether a text is one character over and over, or nearly so.
fn few_characters(text: &[u8]) -> bool {
    let mut seen = [false; 256];
    for byte in text {
        seen[usize::from(*byte)] = true;
    }
    let kinds = seen.iter().filter(|seen| **seen).count();
    kinds < 4 || (text.len() >= 24 && kinds < 7)
}

/// Whether the random part of a token of one issuer can be one. Words that chance makes now and then are none here.
pub(crate) fn token(body: &[u8]) -> bool {
    const SPECIMENS: [&[u8]; 7] =
        [b"example", b"changeme", b"placeholder", b"redacted", b"0123456789", b"1234567890", b"abcdefghij"];
    let lower = body.to_ascii_lowercase();
    let specimen = SPECIMENS.iter().any(|word| memchr::memmem::find(&lower, word).is_some());
    // 20 random hex digits have 3.0 bits or more in all but 1 of 10,000 cases.
    let least = if body.len() < 20 { 2.0 } else { 2.6 };
    !specimen
        && !few_characters(body)
        && entropy(body) >= least
        && !body.windows(6).any(|run| run.iter().all(|b| *b == run[0]))
}

/// Whether a value looks as if a machine had made it: neither words, nor a name, nor a digest.
pub(crate) fn random(text: &[u8]) -> bool {
    let good_length = (12..=256).contains(&text.len());
    let printable = text.iter().all(u8::is_ascii_graphic);
    if !good_length || !printable || placeholder(text) || digest(text) || uuid(text) || reference(text) {
        return false;
    }
    let digits = text.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = text.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let most = text.len();
    if digits < 2 || letters < 4 || (digits + letters) * 4 < most * 3 {
        return false;
    }
    let least = if most < 16 { 3.0 } else { 3.5 };
    entropy(text) >= least && changes(text) * 4 >= most && !words(text)
}

/// How often the kind of character changes: often in random texts, seldom in names.
fn changes(text: &[u8]) -> usize {
    let kind = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    text.windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count()
}

/// Whether most of a text is runs of five and more letters of one case, as in words.
fn words(text: &[u8]) -> bool {
    let mut in_words = 0;
    for run in text.chunk_by(|a, b| a.is_ascii_lowercase() && b.is_ascii_lowercase()) {
        if run.len() >= 5 {
            in_words += run.len();
        }
    }
    in_words * 2 > text.len()
}

/// Hex of the length of a usual digest.
pub(crate) fn digest(text: &[u8]) -> bool {
    matches!(text.len(), 16 | 32 | 40 | 48 | 56 | 64 | 96 | 128) && text.iter().all(u8::is_ascii_hexdigit)
}

fn uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Paths, addresses, code, integrity hashes, public keys and certificates.
fn reference(text: &[u8]) -> bool {
    const STARTS: [&[u8]; 15] = [
        b"/", b"./", b"../", b"~", b"sha1-", b"sha256", b"sha384", b"sha512", b"md5", b"ssh-", b"MII",
        b"-----", b"data:", b"AAAA", b"arn:",
    ];
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    STARTS.iter().any(|start| text.starts_with(start))
        || text.iter().any(|b| b"()[]\\;,|`".contains(b))
        || has(b"://")
        || has(b"::")
        || has(b"->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_texts_are_told_from_names_words_and_digests() {
        for text in ["kJ8s2LmQ9xZr4TvB", "x7Gh2kP9mQ4vT1wZ8nB3", "9f8Kq2LmZx7TbV4n!a"] {
            assert!(random(text.as_bytes()), "{text}");
        }
        for text in [
            "hunter2",
            "correct-horse-battery-staple",
            "get_password_from_user1",
            "myVariableName22",
            "0123456789abcdef0123456789abcdef",
            "123e4567-e89b-12d3-a456-426614174000",
            "sha512-kJ8s2LmQ9xZr4TvBkJ8s2LmQ9xZr4TvB",
            "/run/secrets/kJ8s2LmQ9xZr4TvB",
            "${DB_kJ8s2LmQ9xZr4TvB}",
            "func(kJ8s2LmQ9xZr4TvB)",
            "kJ8s2exampleQ9xZr4TvB",
        ] {
            assert!(!random(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn entropy_is_that_of_shannon() {
        assert!((entropy(b"abcd") - 2.0).abs() < 1e-9 && entropy(b"").abs() < 1e-9);
    }
}
