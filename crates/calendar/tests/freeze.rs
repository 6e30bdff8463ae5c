//! Freezes at moments that people know.

#![allow(clippy::unwrap_used, reason = "tests")]

use jiff::Timestamp;
use kiln_calendar::{FreezeError, active, check, check_time_zone, nearest_by_city, next_begin};
use kiln_model::Freeze;

fn freeze(begins: &str, lasts: &str, timezone: &str) -> Freeze {
    let lasts = lasts.parse().unwrap();
    Freeze { name: "weekend".into(), begins: begins.into(), lasts, timezone: timezone.into() }
}

fn at(text: &str) -> u64 {
    text.parse::<Timestamp>().unwrap().as_millisecond().try_into().unwrap()
}

fn shown(millis: Option<u64>) -> String {
    millis.map_or("-".into(), |ms| Timestamp::from_millisecond(ms.try_into().unwrap()).unwrap().to_string())
}

fn until(freeze: &Freeze, moment: &str) -> String {
    shown(active(freeze, at(moment)).unwrap())
}

fn next(freeze: &Freeze, moment: &str) -> String {
    shown(next_begin(freeze, at(moment)).unwrap())
}

#[test]
fn a_weekend_is_frozen_from_its_first_millisecond_until_its_last() {
    let weekend = freeze("0 18 * * FRI", "62h", "Europe/Berlin");
    // Friday 16 January 2026, 18:00 in Berlin is 17:00 UTC; 62 hours later it is Monday, 8:00 in Berlin.
    let monday = "2026-01-19T07:00:00Z";
    assert_eq!(until(&weekend, "2026-01-16T16:59:59.999Z"), "-");
    assert_eq!(until(&weekend, "2026-01-16T17:00:00Z"), monday);
    assert_eq!(until(&weekend, "2026-01-17T12:34:56.789Z"), monday);
    assert_eq!(until(&weekend, "2026-01-19T06:59:59.999Z"), monday);
    assert_eq!(until(&weekend, monday), "-");
    assert_eq!(next(&weekend, "2026-01-16T16:59:59.999Z"), "2026-01-16T17:00:00Z");
    assert_eq!(next(&weekend, "2026-01-16T17:00:00Z"), "2026-01-23T17:00:00Z");
}

#[test]
fn the_time_zone_decides_and_summer_time_moves_the_beginning() {
    let nightly = freeze("30 2 * * *", "1h", "Europe/Berlin");
    assert_eq!(next(&nightly, "2026-07-01T00:00:00Z"), "2026-07-01T00:30:00Z");
    assert_eq!(next(&nightly, "2026-01-01T00:00:00Z"), "2026-01-01T01:30:00Z");
    // 29 March 2026: 2:00 to 3:00 is left out, so it begins at 3:00 summer time.
    assert_eq!(next(&nightly, "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
    assert_eq!(until(&nightly, "2026-03-29T01:30:00Z"), "2026-03-29T02:00:00Z");
    // 25 October 2026: 2:30 comes twice, and the first counts.
    assert_eq!(next(&nightly, "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
    assert_eq!(until(&nightly, "2026-10-25T01:30:00Z"), "-");
    assert_eq!(next(&nightly, "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
}

#[test]
fn freezes_that_touch_or_overlap_are_one() {
    let days = freeze("0 0 24-26 12 *", "24h", "UTC");
    assert_eq!(until(&days, "2026-12-24T10:00:00Z"), "2026-12-27T00:00:00Z");
    let overlapping = freeze("0 18 * * FRI,SAT", "36h", "UTC");
    assert_eq!(until(&overlapping, "2026-01-16T20:00:00Z"), "2026-01-19T06:00:00Z");
}

#[test]
fn fridays_of_a_month_can_be_named() {
    let last = freeze("0 12 * * 5L", "1h", "UTC");
    assert_eq!(next(&last, "2026-01-01T00:00:00Z"), "2026-01-30T12:00:00Z");
    let second = freeze("0 12 * * FRI#2", "1h", "UTC");
    assert_eq!(next(&second, "2026-01-01T00:00:00Z"), "2026-01-09T12:00:00Z");
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let fault = |begins, lasts, zone| check(&freeze(begins, lasts, zone)).unwrap_err();
    assert_eq!(fault("0 0 18 * * FRI", "1h", "UTC"), FreezeError::Fields { found: 6 });
    assert_eq!(fault("@daily", "1h", "UTC"), FreezeError::Fields { found: 1 });
    assert!(matches!(fault("0 25 * * FRI", "1h", "UTC"), FreezeError::Cron { .. }));
    assert!(matches!(fault("0 18 * * FRY", "1h", "UTC"), FreezeError::Cron { .. }));
    assert!(matches!(fault("0 18 * * FRI", "1h", "Mars/Base"), FreezeError::TimeZone { .. }));
    assert_eq!(fault("0 18 * * FRI", "0s", "UTC"), FreezeError::NoLength);
    assert!(matches!(fault("0 0 30 2 *", "1h", "UTC"), FreezeError::Never { .. }));
    assert!(matches!(fault("0 18 * * *", "62h", "UTC"), FreezeError::Endless { .. }));
    assert!(matches!(fault("* * * * *", "1m", "UTC"), FreezeError::Endless { .. }));
    assert!(check(&freeze("0 18 * * FRI", "167h", "UTC")).is_ok());
    assert!(matches!(fault("0 18 * * FRI", "168h", "UTC"), FreezeError::Endless { .. }));
}

#[test]
fn no_moment_and_no_text_is_too_far_off() {
    let weekend = freeze("0 18 * * FRI", "62h", "Europe/Berlin");
    assert_eq!(active(&weekend, 0).unwrap(), None);
    assert!(matches!(active(&weekend, u64::MAX), Err(FreezeError::Moment { .. })));
    assert_eq!(next_begin(&weekend, 200_000_000_000_000).unwrap(), None, "no beginnings after the year 5000");
    let long = freeze("0 18 * * FRI", "100000000d", "UTC");
    assert!(check(&long).is_err());
}

#[test]
fn zones_are_built_in_and_found_by_city() {
    for name in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"] {
        check_time_zone(name).unwrap();
    }
    assert!(check_time_zone("CEST+2").is_err());
    assert_eq!(nearest_by_city("new york").as_deref(), Some("America/New_York"));
    assert_eq!(nearest_by_city("Atlantis"), None);
}

proptest::proptest! {
    /// Whatever is written, the answer comes, and a moment that is frozen lies before its end.
    #[test]
    fn no_expression_is_too_odd(
        fields in proptest::collection::vec("[0-9*/,#LW?-]{1,6}|MON-FRI|JAN|\\PC{0,3}", 4..7),
        at in 0_u64..8_000_000_000_000,
        zone in 0_usize..400,
    ) {
        let zones = kiln_calendar::time_zones();
        let freeze = freeze(&fields.join(" "), "25h", &zones[zone]);
        if let Ok(Some(until)) = active(&freeze, at) {
            assert!(until > at);
        }
        if let Ok(Some(begin)) = next_begin(&freeze, at) {
            assert!(begin > at - at % 1000);
            assert!(matches!(active(&freeze, begin), Ok(Some(_)) | Err(FreezeError::Endless { .. })));
        }
    }
}
