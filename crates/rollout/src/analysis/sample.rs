//! Counters of one fleet, and their differences.

use serde::{Deserialize, Serialize};

/// Counters of one fleet as the data plane counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sample {
    /// Requests that have ended.
    pub requests: u64,
    /// Those among them that failed: 5xx, or no answer.
    pub failed: u64,
    /// Time to the response's head: the first latency in microseconds that is too slow for the bucket, and how many are in
    /// it. Ascending, all buckets, not cumulative; the last bound is `u64::MAX`.
    pub latency: Vec<(u64, u64)>,
}

impl Sample {
    /// What was counted after `earlier`. When any counter is lower than it was, or the buckets are others, the data plane
    /// began anew and everything it counted since is new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let kept = self.requests >= earlier.requests
            && self.failed >= earlier.failed
            && (earlier.latency.is_empty() || same_bounds(self, earlier))
            && self.latency.iter().zip(&earlier.latency).all(|(now, then)| now.1 >= then.1);
        if !kept {
            return self.clone();
        }
        let before = |index: usize| earlier.latency.get(index).map_or(0, |bucket| bucket.1);
        Self {
            requests: self.requests - earlier.requests,
            failed: self.failed - earlier.failed,
            latency: self.latency.iter().enumerate().map(|(i, &(bound, n))| (bound, n - before(i))).collect(),
        }
    }

    /// Both together, as over two lives of the data plane. Buckets that only one of them has are kept.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            failed: self.failed.saturating_add(other.failed),
            latency: merged(&self.latency, &other.latency)
                .map(|(bound, a, b)| (bound, a.saturating_add(b)))
                .collect(),
        }
    }

    /// Requests whose latency is known.
    pub(super) fn timed(&self) -> u64 {
        self.latency.iter().fold(0, |sum, bucket| sum.saturating_add(bucket.1))
    }

    /// Each bucket as (inclusive lower bound, exclusive upper bound, count).
    fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let lower = std::iter::once(0).chain(self.latency.iter().map(|bucket| bucket.0));
        lower.zip(&self.latency).map(|(lower, &(upper, count))| (lower, upper, count))
    }

    /// Requests that surely took `limit` microseconds or longer: those of the bucket that the limit lies in are not counted.
    pub(super) fn surely_slow(&self, limit: u64) -> u64 {
        self.buckets().filter(|b| b.0 >= limit).fold(0, |sum, bucket| sum.saturating_add(bucket.2))
    }

    /// The same as an estimate: the bucket that the limit lies in counts by the part of it that is above. The last bucket
    /// has no width, so it counts whole.
    pub(super) fn about_slow(&self, limit: u64) -> f64 {
        let part = |(lower, upper, count): (u64, u64, u64)| {
            let above = match upper {
                _ if lower >= limit || (upper == u64::MAX && upper > limit) => 1.0,
                _ if upper <= limit => 0.0,
                _ => (upper - limit) as f64 / (upper - lower) as f64,
            };
            above * count as f64
        };
        self.buckets().map(part).sum()
    }

    /// The middle of the bucket that half of the requests lie below or in.
    pub(super) fn median(&self) -> u64 {
        let half = self.timed().div_ceil(2);
        let mut seen: u64 = 0;
        for (lower, upper, count) in self.buckets() {
            seen = seen.saturating_add(count);
            if seen >= half && count > 0 {
                return if upper == u64::MAX { lower } else { lower + (upper - lower) / 2 };
            }
        }
        0
    }
}

fn same_bounds(a: &Sample, b: &Sample) -> bool {
    a.latency.len() == b.latency.len() && a.latency.iter().zip(&b.latency).all(|(a, b)| a.0 == b.0)
}

/// Two ascending lists of buckets as one: (bound, count of the first, count of the second).
pub(super) fn merged<'a>(
    first: &'a [(u64, u64)],
    second: &'a [(u64, u64)],
) -> impl Iterator<Item = (u64, u64, u64)> + 'a {
    let (mut first, mut second) = (first.iter().peekable(), second.iter().peekable());
    std::iter::from_fn(move || {
        let heads = [first.peek(), second.peek()];
        let bound = heads.into_iter().flatten().map(|bucket| bucket.0).min()?;
        let a = first.next_if(|bucket| bucket.0 == bound).map_or(0, |bucket| bucket.1);
        let b = second.next_if(|bucket| bucket.0 == bound).map_or(0, |bucket| bucket.1);
        Some((bound, a, b))
    })
}
