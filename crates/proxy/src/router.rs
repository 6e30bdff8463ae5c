//! From host and path to a backend.

use std::borrow::Cow;
use std::collections::HashMap;

/// The routes of one listener. The most specific host that has a fitting path wins: exact, then the longest
/// wildcard, then any; within it the longest path prefix.
pub(crate) struct Router<T> {
    exact: HashMap<Box<str>, Paths<T>>,
    /// By suffix with its leading dot, longest first.
    wildcard: Vec<(Box<str>, Paths<T>)>,
    any: Paths<T>,
}

/// Prefixes without a trailing slash, longest first.
type Paths<T> = Vec<(Box<str>, T)>;

impl<T> Router<T> {
    pub(crate) fn new() -> Self {
        Self { exact: HashMap::new(), wildcard: Vec::new(), any: Vec::new() }
    }

    /// Adds a route; the first of two equal ones stays, and the answer says whether this one was added.
    pub(crate) fn add(&mut self, host: Option<&str>, path: &str, to: T) -> bool {
        let paths = match host {
            None => &mut self.any,
            Some(host) => {
                let host = host.to_ascii_lowercase();
                match host.strip_prefix('*') {
                    Some(suffix) => self.wildcards(suffix),
                    None => self.exact.entry(host.into()).or_default(),
                }
            }
        };
        let prefix = path.trim_end_matches('/');
        let place =
            paths.partition_point(|(other, _)| (other.len(), other.as_ref()) > (prefix.len(), prefix));
        if paths.get(place).is_some_and(|(other, _)| other.as_ref() == prefix) {
            return false;
        }
        paths.insert(place, (prefix.into(), to));
        true
    }

    fn wildcards(&mut self, suffix: &str) -> &mut Paths<T> {
        let place = self.wildcard.partition_point(|(other, _)| other.len() > suffix.len());
        let same = self.wildcard.iter().position(|(other, _)| other.as_ref() == suffix);
        let at = same.unwrap_or_else(|| {
            self.wildcard.insert(place, (suffix.into(), Vec::new()));
            place
        });
        &mut self.wildcard[at].1
    }

    /// Where a request goes. `host` may carry a port and upper case.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&T> {
        if !self.exact.is_empty() || !self.wildcard.is_empty() {
            let host = plain(host);
            if let Some(found) = self.exact.get(host.as_ref()).and_then(|paths| longest(paths, path)) {
                return Some(found);
            }
            let fits = |suffix: &str| host.len() > suffix.len() && host.ends_with(suffix);
            let wild = self.wildcard.iter().filter(|(suffix, _)| fits(suffix));
            if let Some(found) = wild.filter_map(|(_, paths)| longest(paths, path)).next() {
                return Some(found);
            }
        }
        longest(&self.any, path)
    }
}

/// The longest prefix of `path` that ends on a segment border.
fn longest<'a, T>(paths: &'a Paths<T>, path: &str) -> Option<&'a T> {
    let fits = |prefix: &str| {
        prefix.is_empty()
            || path.starts_with(prefix) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
    };
    paths.iter().find(|(prefix, _)| fits(prefix)).map(|(_, to)| to)
}

/// A host without port, trailing dot and upper case.
pub(crate) fn plain(host: &str) -> Cow<'_, str> {
    let end = match host.as_bytes() {
        [b'[', ..] => host.find(']').map_or(host.len(), |end| end + 1),
        _ => host.rfind(':').unwrap_or(host.len()),
    };
    let name = host[..end].strip_suffix('.').unwrap_or(&host[..end]);
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router<&'static str> {
        let mut router = Router::new();
        for (host, path, to) in [
            (None, "/", "any"),
            (None, "/only-any", "only-any"),
            (Some("*.example.com"), "/", "wild"),
            (Some("*.b.example.com"), "/", "wilder"),
            (Some("web.example.com"), "/", "web"),
            (Some("web.example.com"), "/api", "api"),
            (Some("web.example.com"), "/api/v2/", "v2"),
            (Some("paths.example.com"), "/x", "x"),
            (Some("[::1]"), "/", "six"),
        ] {
            assert!(router.add(host, path, to));
        }
        assert!(!router.add(Some("WEB.example.com"), "/api/", "again"));
        router
    }

    #[test]
    fn the_most_specific_host_then_the_longest_path_wins() {
        let router = router();
        for (host, path, to) in [
            ("web.example.com", "/", "web"),
            ("WEB.Example.com:8080", "/api", "api"),
            ("web.example.com.", "/api/x", "api"),
            ("web.example.com", "/apix", "web"),
            ("web.example.com", "/api/v2", "v2"),
            ("web.example.com", "/api/v2/y", "v2"),
            ("web.example.com", "/api/v22", "api"),
            ("a.example.com", "/q", "wild"),
            ("a.b.example.com", "/q", "wilder"),
            ("example.com", "/", "any"),
            (".example.com", "/", "any"),
            ("paths.example.com", "/x/1", "x"),
            ("paths.example.com", "/y", "wild"),
            ("other", "/only-any/1", "only-any"),
            ("[::1]:80", "/", "six"),
            ("[::1]", "/", "six"),
            ("", "/", "any"),
        ] {
            assert_eq!(router.find(host, path), Some(&to), "{host} {path}");
        }
    }

    #[test]
    fn without_a_route_for_any_host_strangers_find_nothing() {
        let mut router = Router::new();
        router.add(Some("a"), "/x", 1);
        assert_eq!(router.find("b", "/x"), None);
        assert_eq!(router.find("a", "/"), None);
        assert_eq!(router.find("a", "/x"), Some(&1));
    }
}
