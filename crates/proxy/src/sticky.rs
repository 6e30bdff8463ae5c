//! Clients that stay with their fleet. A client is known by a key, in a cookie or in a header of its own. The key's
//! hash is a point in [0, 2^32), and the fleets have contiguous ranges of these points: whoever hashes alike sends a
//! client to the same fleet, without any memory.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use kiln_model::Sticky;

use crate::table::Fleet;

/// Draws after which any key does. A fleet with one percent has had its key by then, but for one time in 10^43.
const DRAWS: usize = 10_000;
/// Characters of a key in a cookie.
const DIGITS: usize = 16;

/// How the clients of one backend are known, and where they belong.
pub(crate) struct LiveSticky {
    by: By,
    /// The end of each fleet's range, ascending; the last is 2^32.
    ends: Box<[(u64, usize)]>,
}

enum By {
    Cookie { name: Box<str>, attributes: Box<str> },
    Header(HeaderName),
}

/// The key of a client that had none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u8; DIGITS]);

/// Where one worker's new keys come from: a counter under a keyed hash whose key is random.
pub(crate) struct Keys {
    secret: RandomState,
    count: Cell<u64>,
}

impl LiveSticky {
    /// `None` when the table should not have passed validation.
    pub(crate) fn new(sticky: &Sticky, fleets: &[Fleet]) -> Option<Self> {
        let by = match sticky {
            Sticky::Header { name } => By::Header(HeaderName::try_from(name.as_str()).ok()?),
            Sticky::Cookie { name, max_age } => {
                let seconds = max_age.millis().div_ceil(1_000);
                // A cookie without an age lives as long as the browser runs.
                let age = if seconds == 0 { String::new() } else { format!("; Max-Age={seconds}") };
                let attributes = format!("; Path=/{age}; HttpOnly; SameSite=Lax").into();
                By::Cookie { name: name.as_str().into(), attributes }
            }
        };
        Some(Self { by, ends: ends(fleets) })
    }

    /// Where the sender of a request stands, when it can be known.
    pub(crate) fn point(&self, headers: &HeaderMap) -> Option<u32> {
        match &self.by {
            By::Header(name) => {
                headers.get(name).map(HeaderValue::as_bytes).filter(|key| !key.is_empty()).map(point)
            }
            By::Cookie { name, .. } => headers.get_all(COOKIE).iter().find_map(|line| find(line, name)),
        }
    }

    /// The fleet that a point belongs to.
    pub(crate) fn fleet(&self, point: u32) -> Option<usize> {
        self.ends.iter().find(|(end, _)| u64::from(point) < *end).map(|(_, fleet)| *fleet)
    }

    /// A new key of a client that belongs to this fleet; none where clients bring their own.
    pub(crate) fn draw(&self, fleet: usize, keys: &Keys) -> Option<Key> {
        matches!(self.by, By::Cookie { .. }).then(|| {
            let fits = |key: &Key| self.fleet(key.point()) == Some(fleet);
            (0..DRAWS).map(|_| keys.next()).find(fits).unwrap_or_else(|| keys.next())
        })
    }

    /// The field that gives a client its key.
    pub(crate) fn set_cookie(&self, key: Key, secure: bool) -> Option<HeaderValue> {
        let By::Cookie { name, attributes } = &self.by else { return None };
        let secure = if secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{name}={}{attributes}{secure}", key.text())).ok()
    }
}

impl Key {
    fn new(number: u64) -> Self {
        Self(std::array::from_fn(|at| b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 15]))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn point(&self) -> u32 {
        point(&self.0)
    }
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self { secret: RandomState::new(), count: Cell::new(0) }
    }

    fn next(&self) -> Key {
        self.count.set(self.count.get() + 1);
        Key::new(self.secret.hash_one(self.count.get()))
    }
}

/// The ranges of the fleets, the highest release first: whatever the newest fleet gains is added at the end of its
/// range, so those in it stay.
fn ends(fleets: &[Fleet]) -> Box<[(u64, usize)]> {
    let mut order: Vec<usize> = (0..fleets.len()).filter(|fleet| fleets[*fleet].weight > 0).collect();
    order.sort_by(|a, b| fleets[*b].id.release.cmp(&fleets[*a].id.release));
    let mut sum = 0;
    let end = |fleet: usize| {
        sum += u64::from(fleets[fleet].weight);
        ((sum << 32) / 100, fleet)
    };
    order.into_iter().map(end).collect()
}

/// The key in one line of cookies, if it is one of ours.
fn find(line: &HeaderValue, name: &str) -> Option<u32> {
    let value = |cookie: &[u8]| {
        let key = cookie.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        (key.len() == DIGITS && key.iter().all(digit)).then(|| point(key))
    };
    line.as_bytes().split(|b| *b == b';').find_map(value)
}

/// The upper half of the 64-bit FNV-1a hash, its bits mixed as `MurmurHash3` finishes (`fmix64`). Part of the contract:
/// another hash would move clients between fleets when the proxy is replaced.
pub(crate) fn point(key: &[u8]) -> u32 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = key.iter().fold(0xcbf2_9ce4_8422_2325, step);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(factor);
    }
    hash ^= hash >> 33;
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use kiln_model::Span;

    use super::*;

    fn fleets(weights: &[(u64, u8)]) -> Vec<Fleet> {
        let fleet = |(release, weight): &(u64, u8)| Fleet {
            id: format!("dev/web/{release}").parse().unwrap(),
            weight: *weight,
            instances: Vec::new(),
            draining: Vec::new(),
        };
        weights.iter().map(fleet).collect()
    }

    fn by_cookie(weights: &[(u64, u8)]) -> LiveSticky {
        let sticky = Sticky::Cookie { name: "k".into(), max_age: Span::from_millis(1_001) };
        LiveSticky::new(&sticky, &fleets(weights)).unwrap()
    }

    fn cookies(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn the_hash_never_changes() {
        // Computed apart, from the published descriptions of FNV-1a and MurmurHash3.
        for (key, hash) in [
            ("a", 0x82a2_a958),
            ("foobar", 0x2c22_1949),
            ("user-1", 0x41a2_fca5),
            ("user-2", 0xa9f4_ad0c),
            ("0123456789abcdef", 0x9fe5_24d3),
        ] {
            assert_eq!(point(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn points_are_spread_evenly_even_for_keys_that_count() {
        for width in [0, 1, 7, 12] {
            let mut buckets = [0_u32; 100];
            for number in 0..100_000 {
                let point = point(format!("user-{number:0width$}").as_bytes());
                buckets[((u64::from(point) * 100) >> 32) as usize] += 1;
            }
            // Chi-squared with 99 degrees of freedom: above 149 once in a thousand times for a fair hash.
            let chi: f64 = buckets.iter().map(|seen| (f64::from(*seen) - 1_000.0).powi(2) / 1_000.0).sum();
            assert!(chi < 149.0, "{chi}");
        }
    }

    #[test]
    fn whoever_is_with_the_newest_fleet_stays_while_it_grows() {
        let points = || (0..20_000_u32).map(|n| n.wrapping_mul(0x9E37_79B9));
        for others in [vec![7], vec![7, 5], vec![5, 7]] {
            let table = |weight: u8| {
                let half = (100 - weight) / others.len() as u8;
                let mut weights: Vec<_> = others.iter().map(|release| (*release, half)).collect();
                weights[0].1 += 100 - weight - half * others.len() as u8;
                weights.insert(1, (9, weight));
                by_cookie(&weights)
            };
            for (before, after) in [(0, 1), (1, 5), (5, 25), (25, 75), (75, 99), (99, 100)] {
                let (before, after) = (table(before), table(after));
                for point in points().chain([0, u32::MAX]) {
                    let (old, new) = (before.fleet(point).unwrap(), after.fleet(point).unwrap());
                    assert!(old != 1 || new == 1, "{point} left the newest fleet");
                }
            }
        }
    }

    #[test]
    fn the_order_in_the_table_and_fleets_without_weight_do_not_count() {
        let (one, other) = (by_cookie(&[(1, 60), (2, 40)]), by_cookie(&[(3, 0), (2, 40), (1, 60)]));
        for point in [0, 1_717_986_917, 1_717_986_918, 1_717_986_919, u32::MAX] {
            assert_eq!(one.fleet(point) == Some(1), other.fleet(point) == Some(1), "{point}");
        }
        assert_eq!((one.fleet(1_717_986_917), one.fleet(1_717_986_918)), (Some(1), Some(0)));
    }

    #[test]
    fn a_key_is_drawn_for_its_fleet_and_found_again_in_its_cookie() {
        let (sticky, keys) = (by_cookie(&[(1, 99), (2, 1)]), Keys::new());
        for fleet in [0, 1, 1, 0] {
            let key = sticky.draw(fleet, &keys).unwrap();
            assert_eq!(sticky.fleet(key.point()), Some(fleet));
            let set = sticky.set_cookie(key, false).unwrap();
            let set = set.to_str().unwrap();
            assert!(set.ends_with("; Path=/; Max-Age=2; HttpOnly; SameSite=Lax"), "{set}");
            let pair = set.split(';').next().unwrap();
            let line = HeaderValue::try_from(format!("other=1;{pair} ; last")).unwrap();
            assert_eq!(sticky.point(&HeaderMap::from_iter([(COOKIE, line)])), Some(key.point()));
        }
        assert_ne!(keys.next(), Keys::new().next());
        assert!(sticky.set_cookie(keys.next(), true).unwrap().to_str().unwrap().ends_with("; Secure"));
    }

    #[test]
    fn what_is_no_key_of_ours_is_not_read() {
        let sticky = by_cookie(&[(1, 100)]);
        let good = "k=0123456789abcdef";
        assert!(sticky.point(&cookies(&["a=b", good])).is_some());
        assert!(sticky.point(&cookies(&["k=old; k=0123456789abcdef"])).is_some(), "the second is readable");
        for line in ["", "k", "k=", "k=0123456789ABCDEF", "k=0123456789abcde", "K=0123456789abcdef"] {
            assert_eq!(sticky.point(&cookies(&[line])), None, "{line}");
        }
        for line in
            ["kk=0123456789abcdef", "k=0123456789abcdef0", "k=\"0123456789abcdef\"", "k =0123456789abcdef"]
        {
            assert_eq!(sticky.point(&cookies(&[line])), None, "{line}");
        }
    }
}
