//! Words of others in Kiln's messages: short and printable.

/// At most 100 printable characters of a text.
pub(crate) fn short(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut short: String = chars.by_ref().take(100).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Texts with commas between, the first three.
pub(crate) fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<String> = Vec::new();
    for (index, text) in texts.enumerate() {
        if index == 3 {
            words.push("…".into());
            break;
        }
        words.push(if text.is_empty() { "no key".into() } else { short(text) });
    }
    words.join(", ")
}
