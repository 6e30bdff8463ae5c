//! Moments as people read them.

use jiff::Timestamp;

use crate::FreezeError;
use crate::zone::zone;

/// A moment on the clocks of a time zone: `Mon 2026-11-23 08:00 Europe/Berlin`.
///
/// # Errors
/// When there is no such time zone, or no such moment in the calendar.
pub fn told(at_ms: u64, timezone: &str) -> Result<String, FreezeError> {
    let outside = FreezeError::Moment { millis: at_ms };
    let millis = i64::try_from(at_ms).map_err(|_| outside.clone())?;
    let moment = Timestamp::from_millisecond(millis).map_err(|_| outside)?;
    let local = moment.to_zoned(zone(timezone)?);
    Ok(format!("{} {timezone}", local.strftime("%a %Y-%m-%d %H:%M")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_on_the_clocks_of_its_zone() {
        let noon = 1_795_435_200_000;
        assert_eq!(told(noon, "UTC").as_deref(), Ok("Mon 2026-11-23 12:00 UTC"));
        assert_eq!(told(noon, "Europe/Berlin").as_deref(), Ok("Mon 2026-11-23 13:00 Europe/Berlin"));
        assert!(told(noon, "Europe/Nowhere").is_err());
    }
}
