//! Exact shares: whose turn it is, counted over all workers.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The turns of one backend. They survive replacements of the table, so that shares stay exact over them. On a cache
/// line pair of their own: all workers write here.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Turns {
    /// Requests routed by weight so far.
    weighted: AtomicUsize,
    /// Requests so far that could have been copied.
    copyable: AtomicUsize,
}

impl Turns {
    /// The next turn among the fleets.
    pub(crate) fn weighted(&self) -> usize {
        self.weighted.fetch_add(1, Relaxed)
    }

    /// Whether the next request that could be copied is: as often as wanted in any hundred, and evenly spread.
    pub(crate) fn copied(&self, percent: u8) -> bool {
        let turn = self.copyable.fetch_add(1, Relaxed) % 100;
        let due = |turn: usize| turn * usize::from(percent) / 100;
        due(turn + 1) > due(turn)
    }
}

/// The turns of one round by smooth weighted round robin (nginx's algorithm): as many as the sum of the weights over
/// their greatest common divisor.
pub(crate) fn round(weights: &[u8]) -> Box<[u8]> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, u32::from(*b))).max(1);
    let shares: Vec<i64> = weights.iter().map(|weight| i64::from(u32::from(*weight) / divisor)).collect();
    let total: i64 = shares.iter().sum();
    let mut credit = vec![0_i64; shares.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        credit.iter_mut().zip(&shares).for_each(|(credit, share)| *credit += share);
        let most = (0..credit.len()).rev().max_by_key(|fleet| credit[*fleet]).unwrap_or(0);
        credit[most] -= total;
        turns.push(u8::try_from(most).unwrap_or(0));
    }
    turns.into()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_gives_each_fleet_exactly_its_share_and_never_clumps() {
        for weights in
            [&[90_u8, 10][..], &[1, 99], &[33, 33, 34], &[100, 0], &[0, 100], &[50, 50], &[5, 95, 0]]
        {
            let round = round(weights);
            let total: usize = weights.iter().map(|w| usize::from(*w)).sum();
            for (fleet, weight) in weights.iter().enumerate() {
                let mut seen = 0_usize;
                for (turn, chosen) in round.iter().enumerate() {
                    seen += usize::from(usize::from(*chosen) == fleet);
                    let due = (turn + 1) * usize::from(*weight);
                    assert!((seen * total).abs_diff(due) <= total, "{weights:?} {turn}");
                }
                assert_eq!(seen * total, usize::from(*weight) * round.len());
            }
            assert_eq!(100 % round.len(), 0, "any hundred turns are whole rounds");
        }
        assert!(round(&[0, 0]).is_empty() && round(&[]).is_empty());
        assert_eq!(round(&[0, 100]).as_ref(), [1]);
    }

    #[test]
    fn any_hundred_requests_have_their_copies_evenly_spread() {
        for percent in 0..=100_u8 {
            let turns = Turns::default();
            let copied: Vec<usize> = (0..250).map(|_| usize::from(turns.copied(percent))).collect();
            for window in copied.windows(100) {
                assert_eq!(window.iter().sum::<usize>(), usize::from(percent));
            }
            for window in copied.windows(10) {
                let due = usize::from(percent) / 10;
                assert!((due..=due + 1).contains(&window.iter().sum()), "{percent}: {window:?}");
            }
        }
    }
}
