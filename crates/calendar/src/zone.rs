//! Time zones by their IANA names, from the data that is built in.

use std::sync::OnceLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::FreezeError;

fn database() -> &'static TimeZoneDatabase {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    DATABASE.get_or_init(TimeZoneDatabase::bundled)
}

pub(crate) fn zone(name: &str) -> Result<TimeZone, FreezeError> {
    database().get(name).map_err(|_| FreezeError::TimeZone { name: name.to_owned() })
}

/// Whether there is a time zone of this name.
pub fn check_time_zone(name: &str) -> Result<(), FreezeError> {
    zone(name).map(drop)
}

/// The names of all time zones.
pub fn time_zones() -> Vec<String> {
    database().available().map(|name| name.as_str().to_owned()).collect()
}

/// The time zone that is named after a city: `Europe/Berlin` for `berlin`.
pub fn nearest_by_city(city: &str) -> Option<String> {
    let wanted = city.trim().replace(' ', "_");
    time_zones().into_iter().find(|name| {
        name.rsplit_once('/')
            .is_some_and(|(_, last)| !wanted.is_empty() && last.eq_ignore_ascii_case(&wanted))
    })
}
