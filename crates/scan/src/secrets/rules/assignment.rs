//! Passwords in the files of programs that keep them in one known form.

use super::super::{Confidence, plausible, verify};
use super::{Check, Context, Find, Hit, Match, Rule, expression};
use crate::Severity;

pub(super) fn rules() -> Vec<Rule> {
    let form = |id, title, severity, keys, before, after, text, check: Check| Rule {
        id,
        title,
        issuer: "whoever issued it",
        severity,
        keys,
        binary: false,
        strong: false,
        find: Find::Expression { before, after, regex: expression(text), check },
    };
    let code = |id, title, severity, keys, find| Rule {
        id,
        title,
        issuer: "whoever issued it",
        severity,
        keys,
        binary: false,
        strong: false,
        find: Find::Code(find),
    };
    vec![
        form(
            "docker-auth",
            "registry password of a Docker configuration",
            Severity::Critical,
            &["\"auth\""],
            0,
            600,
            r#"^"auth"\s{0,4}:\s{0,4}"([A-Za-z0-9+/=_-]{8,500})""#,
            docker_auth,
        ),
        form(
            "netrc",
            "password of a netrc",
            Severity::High,
            &["machine "],
            0,
            600,
            r"^machine\s+(?:[^\s#]{1,253})\s+(?:port\s+\S{1,20}\s+)?login\s+[^\s]{1,200}\s+password\s+([^\s]{4,200})",
            password,
        ),
        form(
            "npmrc",
            "registry token of an npmrc",
            Severity::Critical,
            &["_authToken", "_auth=", "_auth =", "_password=", "_password ="],
            1,
            400,
            r#"(?:^|[\n:])_(?:authToken|auth|password)\s{0,4}=\s{0,4}["']?([A-Za-z0-9+/=_.-]{8,300})(?:["'\s]|$)"#,
            password,
        ),
        code("pgpass", "password of a pgpass", Severity::High, &[":5432:", ":*:"], pgpass),
        code("url-password", "password in an address", Severity::High, &["://"], url),
    ]
}

fn password(secret: &[u8]) -> Option<Confidence> {
    let filled_in_later = matches!(secret.first(), Some(b'{' | b'[' | b'%' | b'<' | b'('));
    (!filled_in_later && !plausible::placeholder(secret)).then_some(Confidence::Likely)
}

/// `user:password` in base64.
fn docker_auth(secret: &[u8]) -> Option<Confidence> {
    let text = verify::base64(secret)?;
    let colon = text.iter().position(|b| *b == b':')?;
    let (user, password) = (&text[..colon], &text[colon + 1..]);
    let printable = text.iter().all(u8::is_ascii_graphic);
    let good = printable && !user.is_empty() && password.len() >= 4 && !plausible::placeholder(password);
    (good && !dull(password)).then_some(Confidence::Proven)
}

/// Words that stand for a password.
fn dull(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 14] = [
        b"pass",
        b"password",
        b"passwd",
        b"pwd",
        b"secret",
        b"user",
        b"username",
        b"token",
        b"test",
        b"pw",
        b"admin",
        b"root",
        b"guest",
        b"key",
    ];
    let lower = text.to_ascii_lowercase();
    WORDS.contains(&lower.as_slice())
}

/// `host:port:database:user:password`, in a file of that name.
fn pgpass(hit: &Hit<'_>) -> Option<Match> {
    let Context::File(path) = hit.context else { return None };
    if !path.ends_with("pgpass") && !path.ends_with("pgpass.conf") {
        return None;
    }
    let start = memchr::memrchr(b'\n', &hit.text[..hit.key.start]).map_or(0, |at| at + 1);
    let end = memchr::memchr(b'\n', &hit.text[hit.key.end..]).map_or(hit.text.len(), |at| hit.key.end + at);
    let line = hit.text[start..end].trim_ascii_end();
    let mut parts = line.splitn(5, |b| *b == b':');
    let (Some(_), Some(_), Some(_), Some(user), Some(password)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if line.starts_with(b"#") || password.is_empty() || plausible::placeholder(password) {
        return None;
    }
    let range = start + line.len() - password.len()..start + line.len();
    let name = Some(String::from_utf8_lossy(user).into_owned());
    Some(Match { name, ..Match::new(range, Confidence::Likely) })
}

/// Bytes of an address that are looked at.
const MOST_URL: usize = 300;

/// `scheme://user:password@host`.
fn url(hit: &Hit<'_>) -> Option<Match> {
    let rest = &hit.text[hit.key.end..hit.text.len().min(hit.key.end + MOST_URL)];
    let ends = |b: &u8| {
        b.is_ascii_whitespace() || !b.is_ascii() || b.is_ascii_control() || b"/?#\"'<>`\\(),|{}[]".contains(b)
    };
    let authority = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
    let at = memchr::memrchr(b'@', authority)?;
    let colon = memchr::memchr(b':', &authority[..at])?;
    let (user, password, host) = (&authority[..colon], &authority[colon + 1..at], &authority[at + 1..]);
    let scheme = hit.text[..hit.key.start]
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_alphanumeric() || **b == b'+')
        .count();
    let readable = scheme >= 2 && password.len() >= 6 && !host.is_empty();
    if !readable || dull(password) || user == password || specimen_host(host) {
        return None;
    }
    if plausible::placeholder(password) || letters_of_a_word(password) {
        return None;
    }
    let start = hit.key.end + colon + 1;
    let confidence = if plausible::random(password) { Confidence::Likely } else { Confidence::Possible };
    let name = format!("{}@{}", String::from_utf8_lossy(user), String::from_utf8_lossy(host));
    Some(Match { name: Some(name), ..Match::new(start..start + password.len(), confidence) })
}

/// `user:password@`, `login:PASSWORD@` and the like.
fn letters_of_a_word(password: &[u8]) -> bool {
    let lower = password.to_ascii_lowercase();
    ["password", "passwd", "secret", "token"].iter().any(|word| lower.starts_with(word.as_bytes()))
}

/// Hosts that are in documentation, RFC 2606 and 6761, and the machine itself.
fn specimen_host(host: &[u8]) -> bool {
    let name = host.split(|b| *b == b':').next().unwrap_or(host).to_ascii_lowercase();
    let ends = |end: &str| name.ends_with(end.as_bytes());
    let starts = |start: &str| name.starts_with(start.as_bytes());
    name == b"host"
        || name == b"hostname"
        || name == b"server"
        || starts("example")
        || starts("127.")
        || [
            ".example",
            ".invalid",
            ".test",
            "localhost",
            "example.com",
            "example.org",
            "example.net",
            "domain.com",
            "domain.tld",
        ]
        .iter()
        .any(|end| ends(end))
}
