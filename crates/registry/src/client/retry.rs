//! When to ask again, and how long to wait before.
//!
//! Only what is safe to repeat is repeated: reading, and writing what is named by its content. A registry that says
//! when to come back (`Retry-After`, RFC 9110 section 10.2.3) is believed up to a limit.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::RegistryError;

type Sleep = Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// How often, and how long to wait.
#[derive(Clone)]
pub struct Retry {
    /// How often one thing is asked for without any bytes arriving in between.
    pub attempts: u32,
    /// Before the first repetition; doubles each time.
    pub first: Duration,
    /// No pause is longer, whatever the registry asks for.
    pub longest: Duration,
    sleep: Sleep,
}

impl std::fmt::Debug for Retry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("first", &self.first)
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(60),
            sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time))),
        }
    }
}

impl Retry {
    /// The same with another way of waiting.
    #[must_use]
    pub fn with_sleep(
        mut self,
        sleep: impl Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + 'static,
    ) -> Self {
        self.sleep = Arc::new(sleep);
        self
    }

    /// The pause before the repetition of this number, counted from 0. Several downloads that were cut at the same
    /// time do not come back at the same time: `salt` spreads them over a quarter of the pause.
    pub(super) fn pause(&self, number: u32, asked: Option<Duration>, salt: u64) -> Duration {
        let doubled = self.first.saturating_mul(1 << number.min(16));
        let spread = doubled / 4 * u32::try_from(salt % 64).unwrap_or(0) / 64;
        asked.unwrap_or(Duration::ZERO).max(doubled.saturating_add(spread)).min(self.longest)
    }

    pub(super) async fn wait(&self, pause: Duration) {
        (self.sleep)(pause).await;
    }
}

/// One failed attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) error: Box<RegistryError>,
    /// Whether another makes sense.
    pub(super) again: bool,
    /// What the registry asked to wait.
    pub(super) after: Option<Duration>,
}

impl Attempt {
    /// One that will not go better.
    pub(super) fn last(error: impl Into<RegistryError>) -> Self {
        Self { error: Box::new(error.into()), again: false, after: None }
    }

    /// One that may go better.
    pub(super) fn again(error: RegistryError) -> Self {
        Self { error: error.into(), again: true, after: None }
    }
}

/// What a `Retry-After` asks for: seconds, or a date, which is taken against the registry's own `Date` so that this
/// machine's clock does not matter.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok();
    let (then, now) = (date(text)?, date(headers.get(DATE)?.to_str().ok()?)?);
    then.timestamp().duration_since(now.timestamp()).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let text = headers(&[("retry-after", "7")]);
        assert_eq!(retry_after(&text), Some(Duration::from_secs(7)));
        let date = headers(&[
            ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"),
            ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ]);
        assert_eq!(retry_after(&date), Some(Duration::from_secs(30)));
        for none in [&[("retry-after", "soon")][..], &[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")], &[]]
        {
            assert_eq!(retry_after(&headers(none)), None);
        }
    }

    #[test]
    fn pauses_grow_are_spread_and_end() {
        let retry = Retry::default();
        assert_eq!(retry.pause(0, None, 0), Duration::from_millis(250));
        assert_eq!(retry.pause(2, None, 0), Duration::from_secs(1));
        assert!(retry.pause(2, None, 63) > retry.pause(2, None, 1));
        assert_eq!(retry.pause(0, Some(Duration::from_secs(9)), 5), Duration::from_secs(9));
        assert_eq!(retry.pause(60, Some(Duration::from_secs(9999)), 5), Duration::from_secs(60));
    }
}
