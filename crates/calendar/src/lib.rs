//! When an environment is frozen: pure functions of a [`Freeze`] and a moment, for whoever reads a spec and for whoever
//! acts on one, so that both always agree.
//!
//! It reads no clock and no file: the moment is an argument, and the time zones are built in, so that a machine without
//! `/usr/share/zoneinfo`, or with an older one, comes to the same answer. Moments are milliseconds since 1970.
//!
//! Where clocks go forward, a freeze that would begin in the hour that is left out begins right after it. Where they go
//! back, one that begins at a fixed time does so on the first of the two.

mod freeze;
mod told;
mod zone;

pub use freeze::{FreezeError, active, check, check_cron, next_begin};
pub use told::told;
pub use zone::{check_time_zone, nearest_by_city, time_zones};
