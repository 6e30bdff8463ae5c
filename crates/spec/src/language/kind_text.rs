//! Texts with a grammar of their own: shares, names of headers and cookies, durations of ISO 8601, cron expressions and
//! time zones.

use jiff::SpanRelativeTo;
use kiln_model::Span;

use super::kind::Kind;

/// `token` of RFC 9110, which is also the `cookie-name` of RFC 6265.
pub(crate) fn token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= 256 && text.bytes().all(allowed)
}

/// `field-value` of RFC 9110, in ASCII and without space at its ends, which readers drop.
pub(super) fn header_value(text: &str) -> bool {
    text.trim() == text && text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
}

/// The whole number in `"20%"`.
pub(super) fn share(text: &str) -> Option<u8> {
    let digits = text.strip_suffix('%')?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|share| plain && *share <= 100)
}

/// `"PT2S"`, `"PT1H30M"`, `"P1D"`; a day has 24 hours here, months and years have no length.
pub(crate) fn iso_duration(text: &str) -> Option<Span> {
    // jiff also reads durations as they are spoken.
    let span: jiff::Span = text.starts_with('P').then(|| text.parse().ok())??;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    u64::try_from(length.as_millis()).ok().map(Span::from_millis)
}

/// A day of the calendar, and nothing more: jiff also reads dates with a time.
pub(super) fn date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// Help for a text that does not fit, which says more than the example.
pub(super) fn help(kind: Kind, text: &str) -> Option<String> {
    match kind {
        Kind::Duration => iso_duration(text).map(|span| format!("write \"{span}\"")),
        Kind::IsoDuration => text.parse::<Span>().ok().map(|span| format!("write \"{}\"", iso(span))),
        Kind::Share => text.parse::<u8>().ok().filter(|n| *n <= 100).map(|n| format!("write \"{n}%\"")),
        Kind::Cron => kiln_calendar::check_cron(text).err().map(|fault| fault.to_string()),
        Kind::TimeZone => kiln_calendar::nearest_by_city(text)
            .or_else(|| {
                let zones = kiln_calendar::time_zones();
                crate::suggest::nearest(text, zones.iter().map(String::as_str)).map(str::to_owned)
            })
            .map(|zone| format!("did you mean \"{zone}\"?")),
        Kind::HeaderName | Kind::CookieName => Some(
            "letters, digits and any of !#$%&'*+-.^_`|~ make such a name; spaces, colons and `=` do not"
                .into(),
        ),
        _ => None,
    }
}

/// A span in ISO 8601.
fn iso(span: Span) -> String {
    jiff::SignedDuration::from_millis(i64::try_from(span.millis()).unwrap_or(i64::MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_durations_are_read_and_spoken_ones_are_not() {
        for (text, millis) in
            [("PT0S", 0), ("PT2S", 2_000), ("PT1H30M", 5_400_000), ("P1DT1S", 86_401_000), ("PT0.5S", 500)]
        {
            assert_eq!(iso_duration(text), Some(Span::from_millis(millis)), "{text}");
        }
        for text in ["2s", "", "P", "PT", "-PT2S", "P1M", "P1Y", "PT2X", "P2S"] {
            assert_eq!(iso_duration(text), None, "{text}");
        }
        assert_eq!(iso(Span::from_secs(90)), "PT1M30S");
    }

    #[test]
    fn names_of_headers_are_tokens() {
        assert!(token("x-user") && token("X_User.1") && header_value("a b\tc") && header_value(""));
        for text in ["", "x user", "x:user", "x=y", "é", "a\r\nb", "a;b"] {
            assert!(!token(text), "{text:?}");
        }
        assert!(!header_value("a\r\nb") && !header_value(" a") && !header_value("é"));
    }

    #[test]
    fn shares_are_whole_and_have_a_sign() {
        assert_eq!((share("0%"), share("100%"), share("7%")), (Some(0), Some(100), Some(7)));
        for text in ["101%", "7", "7.5%", "%", "+7%", "-7%"] {
            assert_eq!(share(text), None, "{text}");
        }
    }
}
