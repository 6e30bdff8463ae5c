//! What a registry wants to see: the `WWW-Authenticate` header (RFC 9110 section 11, RFC 6750 section 3).

/// How to prove who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password.
    Basic,
    /// A token from this address, asked with these parameters.
    Bearer {
        /// Where tokens are.
        realm: String,
        /// For which service.
        service: Option<String>,
        /// What the registry thinks is needed.
        scope: Option<String>,
    },
}

/// The challenge of these header values that Kiln answers best: a token before a password.
pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut found: Vec<Challenge> = headers.flat_map(challenges).collect();
    found.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    found.into_iter().next()
}

/// All challenges of one header that Kiln knows.
fn challenges(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut scheme = String::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    while let Some(item) = reader.item() {
        match item {
            Item::Scheme(next) => {
                found.extend(finish(&scheme, &mut fields));
                scheme = next;
            }
            Item::Field(name, value) => fields.push((name, value)),
        }
    }
    found.extend(finish(&scheme, &mut fields));
    found
}

fn finish(scheme: &str, fields: &mut Vec<(String, String)>) -> Option<Challenge> {
    let fields = std::mem::take(fields);
    let field = |wanted: &str| {
        fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone())
    };
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    scheme.eq_ignore_ascii_case("bearer").then_some(())?;
    Some(Challenge::Bearer { realm: field("realm")?, service: field("service"), scope: field("scope") })
}

enum Item {
    Scheme(String),
    Field(String, String),
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// A word that is followed by `=` is a field's name, any other a scheme.
    fn item(&mut self) -> Option<Item> {
        self.skip(|b| b == b',' || b.is_ascii_whitespace());
        let word = self.take(|b| b != b',' && b != b'=' && !b.is_ascii_whitespace());
        self.skip(|b| b.is_ascii_whitespace());
        if self.peek() != Some(b'=') {
            return (!word.is_empty()).then_some(Item::Scheme(word));
        }
        self.at += 1;
        self.skip(|b| b.is_ascii_whitespace());
        let value = match self.peek() {
            Some(b'"') => self.quoted(),
            _ => self.take(|b| b != b',' && !b.is_ascii_whitespace()),
        };
        Some(Item::Field(word, value))
    }

    fn quoted(&mut self) -> String {
        self.at += 1;
        let mut value = Vec::new();
        while let Some(b) = self.peek() {
            self.at += 1;
            match b {
                b'"' => break,
                b'\\' => {
                    value.extend(self.peek());
                    self.at += 1;
                }
                b => value.push(b),
            }
        }
        String::from_utf8_lossy(&value).into_owned()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, fits: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&fits) {
            self.at += 1;
        }
    }

    fn take(&mut self, fits: impl Fn(u8) -> bool) -> String {
        let start = self.at;
        self.skip(fits);
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let one = |text: &str| choose(std::iter::once(text));
        let hub =
            "Bearer realm=\"https://auth.example/token\",service=\"reg\",scope=\"repository:a/b:pull,push\"";
        let known = bearer("https://auth.example/token", Some("reg"), Some("repository:a/b:pull,push"));
        assert_eq!(one(hub), Some(known));
        assert_eq!(one("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(one("basic"), Some(Challenge::Basic));
        assert_eq!(one("Negotiate"), None);
        assert_eq!(one("Bearer service=x"), None, "a token from nowhere");
        let both = "Basic realm=\"a, b=\\\"c\\\"\", Bearer realm=https://t.example , service = reg";
        assert_eq!(one(both), Some(bearer("https://t.example", Some("reg"), None)));
        assert_eq!(choose(["Negotiate", "Basic realm=x"].into_iter()), Some(Challenge::Basic));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_panic(text in ".{0,80}") {
            let _ = challenges(&text);
        }

        #[test]
        fn quoted_values_come_back(realm in "[ -~]{0,30}", service in "[a-z]{1,9}") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("Negotiate, Bearer realm=\"{quoted}\", service={service}");
            prop_assert_eq!(choose(std::iter::once(text.as_str())), Some(bearer(&realm, Some(&service), None)));
        }
    }
}
