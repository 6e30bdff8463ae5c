//! The keys whose word counts, each under a name that people know.

use kiln_model::Name;

use super::PublicKey;

/// Public keys by name. Several keys may share a name, so that one can take over from another.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys {
    keys: Vec<(Name, PublicKey)>,
}

impl TrustedKeys {
    /// Trusts nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts one more key.
    pub fn add(&mut self, name: Name, key: PublicKey) {
        if !self.keys.iter().any(|(known, present)| *known == name && *present == key) {
            self.keys.push((name, key));
        }
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &PublicKey)> {
        self.keys.iter().map(|(name, key)| (name, key))
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Names of the keys that made this signature over this message, sorted: none, or one, or more when a key
    /// goes by several names. What a document says about its signer is not asked: it is not signed.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Vec<Name> {
        let made = |(_, key): &&(Name, PublicKey)| key.verify(message, signature).is_ok();
        let mut names: Vec<Name> = self.keys.iter().filter(made).map(|(name, _)| name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl FromIterator<(Name, PublicKey)> for TrustedKeys {
    fn from_iter<T: IntoIterator<Item = (Name, PublicKey)>>(keys: T) -> Self {
        let mut trusted = Self::new();
        for (name, key) in keys {
            trusted.add(name, key);
        }
        trusted
    }
}
