//! Numbers: whole as long as they can be, fractions otherwise.

use std::cmp::Ordering;
use std::fmt;

/// A finite number. A fraction is never integral within the exact range, so equal numbers are equal values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Whole(i64),
    Fraction(f64),
}

/// Whole numbers up to here have an exact `f64`: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// A number from a float; `None` when it is not finite.
    pub(crate) fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        if value.fract() == 0.0 && value.abs() <= EXACT {
            #[allow(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
            return Some(Self::Whole(value as i64));
        }
        Some(Self::Fraction(value))
    }

    #[allow(clippy::cast_precision_loss, reason = "a fraction is asked for")]
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Fraction(value) => value,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        match text.parse() {
            Ok(whole) => Some(Self::Whole(whole)),
            Err(_) => Self::from_f64(text.parse().ok()?),
        }
    }

    pub(crate) fn to_json(self) -> serde_json::Value {
        match self {
            Self::Whole(value) => value.into(),
            Self::Fraction(value) => value.into(),
        }
    }

    /// Applies an operation on whole numbers, or on fractions where it has no whole result.
    pub(crate) fn combine(
        self,
        other: Self,
        whole: impl Fn(i64, i64) -> Option<i64>,
        fraction: impl Fn(f64, f64) -> f64,
    ) -> Option<Self> {
        if let (Self::Whole(a), Self::Whole(b)) = (self, other)
            && let Some(result) = whole(a, b)
        {
            return Some(Self::Whole(result));
        }
        Self::from_f64(fraction(self.as_f64(), other.as_f64()))
    }

    pub(crate) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            _ => self.as_f64().total_cmp(&other.as_f64()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Fraction(value) => write!(f, "{value}"),
        }
    }
}
