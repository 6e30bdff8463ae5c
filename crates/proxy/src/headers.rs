//! Fields that a proxy must not pass on, and those it adds.

use std::cell::RefCell;
use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Removes what concerns one connection only: `Connection`, all that it names, and the fields of RFC 9110 §7.6.1.
/// Says which protocol an upgrade was asked to (or answered with). `TE: trailers` is the one that is handed on, as
/// gRPC needs it.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let upgrade = strip_connection(headers);
    if let Some(te) = headers.remove(TE) {
        let trailers =
            |part: &str| part.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("trailers");
        if te.to_str().is_ok_and(|text| text.split(',').any(trailers)) {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    if headers.remove(TRANSFER_ENCODING).is_some() {
        // RFC 9112 §6.3: the coding overrides a length, which must not travel on to confuse the next reader.
        headers.remove(CONTENT_LENGTH);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, UPGRADE, HTTP2_SETTINGS] {
        headers.remove(name);
    }
    upgrade
}

/// Removes `Connection` and what it names; says which upgrade it means.
fn strip_connection(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let mut all = headers.get_all(CONNECTION).iter();
    let first = all.next()?;
    // What nearly every server says.
    let plain = first.as_bytes().eq_ignore_ascii_case(b"keep-alive")
        || first.as_bytes().eq_ignore_ascii_case(b"close");
    if plain && all.next().is_none() {
        headers.remove(CONNECTION);
        return None;
    }
    let mut upgrade = None;
    let named: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    headers.remove(CONNECTION);
    for token in named.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let token = token.trim();
        if token.eq_ignore_ascii_case("upgrade") {
            upgrade = headers.get(UPGRADE).cloned();
        } else if !token.eq_ignore_ascii_case("te") && !is_framing(token) {
            headers.remove(token);
        }
    }
    upgrade
}

/// Fields that a client must not have removed by naming them in `Connection`: the length, and what tells where a
/// request goes and comes from.
fn is_framing(token: &str) -> bool {
    ["content-length", "host", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
        .iter()
        .any(|name| token.eq_ignore_ascii_case(name))
}

/// Asks the next hop for an upgrade, or tells the client of one.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Joins the cookies that HTTP/2 may split (RFC 9113 §8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut values = headers.get_all(COOKIE).iter();
    if values.next().is_none() || values.next().is_none() {
        return;
    }
    let joined =
        headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(COOKIE, joined);
    }
}

/// The fields that tell an instance who asked: made once for a connection, since they hardly change on it.
pub(crate) struct ClientHeaders {
    address: HeaderValue,
    scheme: &'static str,
    /// `for=192.0.2.1;proto=http;host=`.
    forwarded: String,
    /// The last host and its `Forwarded`.
    last: RefCell<Option<(HeaderValue, HeaderValue)>>,
}

impl ClientHeaders {
    pub(crate) fn new(address: IpAddr, secure: bool) -> Self {
        let address = address.to_canonical();
        let scheme = if secure { "https" } else { "http" };
        // RFC 7239 §6: an IPv6 address stands in brackets and quotes.
        let node = if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() };
        Self {
            address: value(address.to_string()),
            scheme,
            forwarded: format!("for={node};proto={scheme};host="),
            last: RefCell::new(None),
        }
    }

    /// Appends to `Forwarded` and `X-Forwarded-For`, sets `X-Forwarded-Host` and `-Proto`.
    pub(crate) fn add(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme));
        headers.insert(X_FORWARDED_HOST, host.clone());
        append(headers, X_FORWARDED_FOR, self.address.clone());
        append(headers, FORWARDED, self.forwarded(host));
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let mut last = self.last.borrow_mut();
        if let Some((_, made)) = last.as_ref().filter(|(of, _)| of == host) {
            return made.clone();
        }
        let text = host.to_str().unwrap_or("");
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-._~!#$%&'*+^`|".contains(&b);
        let made = if !text.is_empty() && text.bytes().all(token) {
            value(format!("{}{text}", self.forwarded))
        } else {
            value(format!("{}\"{}\"", self.forwarded, text.replace('\\', "\\\\").replace('"', "\\\"")))
        };
        // A copy: a clone would keep the whole buffer that the first request was read into.
        let copy = HeaderValue::from_bytes(host.as_bytes()).unwrap_or_else(|_| host.clone());
        *last = Some((copy, made.clone()));
        made
    }
}

/// Appends to a list in one line: some programs look at the first line only.
fn append(headers: &mut HeaderMap, name: HeaderName, add: HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, add);
        return;
    }
    let mut list: Vec<u8> =
        headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    list.extend_from_slice(b", ");
    list.extend_from_slice(add.as_bytes());
    headers.insert(name, HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).unwrap_or(add));
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn fields_of_one_connection_are_not_passed_on() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "te, Upgrade"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers;q=0.5, gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-kept", "2"),
        ]);
        assert_eq!(strip_hop_by_hop(&mut headers).unwrap(), "websocket");
        assert_eq!(headers, map(&[("te", "trailers"), ("x-kept", "2")]));
    }

    #[test]
    fn nobody_removes_the_length_or_the_origin_by_naming_it() {
        let fields = [("content-length", "3"), ("x-forwarded-for", "192.0.2.9"), ("host", "a")];
        let mut headers = map(&fields);
        headers.insert("connection", HeaderValue::from_static("Content-Length, x-forwarded-for, host"));
        assert!(strip_hop_by_hop(&mut headers).is_none());
        assert_eq!(headers, map(&fields));
        let mut upgrade_without_asking = map(&[("upgrade", "websocket")]);
        assert!(strip_hop_by_hop(&mut upgrade_without_asking).is_none());
        assert!(upgrade_without_asking.is_empty());
        let mut both = map(&[("content-length", "3"), ("transfer-encoding", "chunked")]);
        strip_hop_by_hop(&mut both);
        assert!(both.is_empty(), "a length beside a coding is nobody's");
    }

    #[test]
    fn the_client_is_told_in_both_languages() {
        let client = ClientHeaders::new("2001:db8::1".parse().unwrap(), true);
        let mut headers = map(&[("x-forwarded-for", "192.0.2.9"), ("forwarded", "for=192.0.2.9")]);
        client.add(&mut headers, &HeaderValue::from_static("a:8443"));
        let wanted = map(&[
            ("x-forwarded-for", "192.0.2.9, 2001:db8::1"),
            ("forwarded", "for=192.0.2.9, for=\"[2001:db8::1]\";proto=https;host=\"a:8443\""),
            ("x-forwarded-host", "a:8443"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(headers, wanted);
        let mapped = ClientHeaders::new("::ffff:192.0.2.1".parse().unwrap(), false);
        let mut headers = HeaderMap::new();
        mapped.add(&mut headers, &HeaderValue::from_static("web"));
        assert_eq!(headers["forwarded"], "for=192.0.2.1;proto=http;host=web");
    }

    #[test]
    fn split_cookies_are_one_again() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2")]));
    }
}
