//! Addresses that are none.

/// A text that should name a mirror does not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{from} names {text:?} as a Debian mirror: write http://HOST/debian, https://HOST/debian or an absolute path"
)]
pub struct MirrorsError {
    from: String,
    text: String,
}

impl MirrorsError {
    pub(crate) fn new(text: &str) -> Self {
        Self { from: "the configuration".to_owned(), text: text.to_owned() }
    }

    pub(crate) fn named_by(self, from: &str) -> Self {
        Self { from: from.to_owned(), ..self }
    }
}
