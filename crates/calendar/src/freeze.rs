//! A freeze begins whenever its cron expression says so, and lasts for a while; freezes that touch are one.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, Zoned};
use kiln_model::Freeze;

use crate::zone::zone;

/// A freeze that goes on over so many beginnings is taken for one without an end: 1,000 of the widest use, every
/// hour, are six weeks.
const MOST_BEGINNINGS: usize = 1000;

/// All minutes one by one need 169 characters.
const LONGEST: usize = 256;

/// Beginnings are looked for from here when no moment is given: the search of a date that never comes ends at croner's
/// last year, 5000, from wherever it begins. 2026-01-01T00:00:00Z.
const FROM: u64 = 1_767_225_600_000;

/// Why a freeze cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreezeError {
    /// Too few or too many fields.
    #[error(
        "a cron expression has five fields (minute, hour, day of the month, month, day of the week), not {found}"
    )]
    Fields {
        /// How many there are.
        found: usize,
    },
    /// A field that cannot be read.
    #[error("the cron expression {text:?} cannot be read: {reason}")]
    Cron {
        /// As written.
        text: String,
        /// What the parser says.
        reason: String,
    },
    /// A time zone that does not exist.
    #[error("there is no time zone called {name:?}")]
    TimeZone {
        /// As written.
        name: String,
    },
    /// It lasts for nothing.
    #[error("a freeze must last longer than nothing")]
    NoLength,
    /// A date that does not exist, such as the 30th of February.
    #[error("the cron expression {text:?} names a date that never comes")]
    Never {
        /// As written.
        text: String,
    },
    /// It begins again before it ends, over and over.
    #[error("it begins again before its {lasts} are over, and so has no end")]
    Endless {
        /// As written.
        lasts: String,
    },
    /// A moment outside of the calendar.
    #[error("{millis} ms since 1970 is outside of the calendar")]
    Moment {
        /// The moment.
        millis: u64,
    },
}

/// The end of the freeze that is on at `at_ms`; `None` when none is on. A freeze includes its first millisecond and not
/// its last.
pub fn active(freeze: &Freeze, at_ms: u64) -> Result<Option<u64>, FreezeError> {
    Schedule::of(freeze)?.active(at_ms)
}

/// When the freeze begins next, after `at_ms`; a freeze that is on may begin again before it ends. `None` when it never
/// does again.
pub fn next_begin(freeze: &Freeze, at_ms: u64) -> Result<Option<u64>, FreezeError> {
    Schedule::of(freeze)?.next(at_ms)
}

/// Whether a freeze can be evaluated, ever begins and always ends.
pub fn check(freeze: &Freeze) -> Result<(), FreezeError> {
    let schedule = Schedule::of(freeze)?;
    let never = FreezeError::Never { text: freeze.begins.clone() };
    let begin = schedule.next(FROM)?.ok_or(never)?;
    schedule.active(begin).map(drop)
}

/// Whether a text is a cron expression of five fields.
pub fn check_cron(text: &str) -> Result<(), FreezeError> {
    parse(text).map(drop)
}

fn parse(text: &str) -> Result<Cron, FreezeError> {
    if text.len() > LONGEST {
        let reason = format!("it is longer than {LONGEST} characters");
        return Err(FreezeError::Cron { text: text.chars().take(LONGEST).collect(), reason });
    }
    let found = text.split_whitespace().count();
    if found != 5 {
        return Err(FreezeError::Fields { found });
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser
        .parse(text)
        .map_err(|error| FreezeError::Cron { text: text.to_owned(), reason: plain(&error.to_string()) })
}

/// The parser's words without its own names for things.
fn plain(reason: &str) -> String {
    let text = reason.split_once(": ").map_or(reason, |(_, rest)| rest).trim_end_matches('.');
    text.to_lowercase()
}

/// A freeze that was read.
struct Schedule<'f> {
    freeze: &'f Freeze,
    cron: Cron,
    zone: jiff::tz::TimeZone,
    lasts: u64,
}

impl<'f> Schedule<'f> {
    fn of(freeze: &'f Freeze) -> Result<Self, FreezeError> {
        let lasts = freeze.lasts.millis();
        if lasts == 0 {
            return Err(FreezeError::NoLength);
        }
        Ok(Self { freeze, cron: parse(&freeze.begins)?, zone: zone(&freeze.timezone)?, lasts })
    }

    fn active(&self, at: u64) -> Result<Option<u64>, FreezeError> {
        let Some(mut begin) = self.previous(at)? else { return Ok(None) };
        let mut until = begin.saturating_add(self.lasts);
        if until <= at {
            return Ok(None);
        }
        for _ in 0..MOST_BEGINNINGS {
            match self.previous(until)? {
                Some(again) if again > begin => {
                    begin = again;
                    until = begin.saturating_add(self.lasts);
                }
                _ => return Ok(Some(until)),
            }
        }
        Err(FreezeError::Endless { lasts: self.freeze.lasts.to_string() })
    }

    /// The last beginning at or before a moment.
    fn previous(&self, at: u64) -> Result<Option<u64>, FreezeError> {
        let at = self.zoned(at)?;
        Ok(self.cron.find_previous_occurrence(&at, true).ok().and_then(|begin| millis(&begin)))
    }

    /// The first beginning after a moment.
    fn next(&self, at: u64) -> Result<Option<u64>, FreezeError> {
        let at = self.zoned(at)?;
        Ok(self.cron.find_next_occurrence(&at, false).ok().and_then(|begin| millis(&begin)))
    }

    /// A moment on the clocks of the time zone. Parts of a second are dropped: nothing begins within one.
    fn zoned(&self, at: u64) -> Result<Zoned, FreezeError> {
        let seconds = i64::try_from(at / 1000).map_err(|_| FreezeError::Moment { millis: at })?;
        let moment = Timestamp::from_second(seconds).map_err(|_| FreezeError::Moment { millis: at })?;
        Ok(moment.to_zoned(self.zone.clone()))
    }
}

/// `None` before 1970.
fn millis(at: &Zoned) -> Option<u64> {
    u64::try_from(at.timestamp().as_millisecond()).ok()
}
