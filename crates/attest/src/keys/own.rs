//! The key of a home: made at its first use, so that evidence is signed from the first minute.

use kiln_model::Name;

use super::{Algorithm, Folder, KeyError, PrivateKey, PublicKey};

/// What the home's own key is called.
pub const OWN: &str = "home";

/// The passphrase of private keys, where they have one.
pub const PASSPHRASE_VARIABLE: &str = "KILN_KEY_PASSPHRASE";

impl Folder {
    /// The home's own private key. It is made when there is none, with a passphrase when one is given; cosign reads it.
    ///
    /// # Errors
    /// When it cannot be read or made, or has a passphrase that was not given.
    pub fn own(&self, passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
        let name = own_name();
        match self.load(&name, passphrase) {
            Err(KeyError::Unknown { .. }) => {}
            loaded => return loaded,
        }
        match self.create(&name, Algorithm::EcdsaP256, passphrase) {
            // Another process was faster.
            Err(KeyError::Exists { .. }) => self.load(&name, passphrase),
            made => made,
        }
    }

    /// The home's own public key, if it has one yet.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn own_public(&self) -> Result<Option<PublicKey>, KeyError> {
        match self.public(&own_name()) {
            Ok(key) => Ok(Some(key)),
            Err(KeyError::Unknown { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// [`OWN`] as a name.
pub fn own_name() -> Name {
    // A constant that is a name; a test says so.
    Name::new(OWN).unwrap_or_else(|_| unreachable!("{OWN:?} is a name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Signer;

    #[test]
    fn the_home_has_one_key_and_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Folder::open(&folder.path().join("keys")).unwrap();
        assert!(keys.own_public().unwrap().is_none());
        let first = keys.own(None).unwrap().key().id();
        assert_eq!(keys.own(None).unwrap().key().id(), first);
        assert_eq!(keys.own_public().unwrap().unwrap().id(), first);
    }

    #[test]
    fn a_key_with_a_passphrase_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Folder::open(&folder.path().join("keys")).unwrap();
        keys.own(Some(b"open sesame")).unwrap();
        assert!(keys.own(None).is_err());
        assert!(keys.own(Some(b"open barley")).is_err());
        assert!(keys.own(Some(b"open sesame")).is_ok());
    }
}
