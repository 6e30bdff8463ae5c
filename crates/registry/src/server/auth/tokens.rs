//! Short-lived tokens: JSON web tokens signed with HMAC-SHA-256 under a key in the registry's folder, so that they
//! outlive a restart of the server. Clients treat them as opaque.
//!
//! Source of the claims: the distribution project's token specification (`sub`, `exp`, `access`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Action;
use crate::name::Repository;
use crate::server::RegistryError;
use crate::server::error::file;

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// The longest token that is looked at: some 100 scopes.
const LONGEST: usize = 16 << 10;
/// The most repositories in one token.
pub(crate) const SCOPES: usize = 64;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The user; empty for nobody in particular.
    sub: String,
    /// Seconds since the epoch.
    pub(crate) iat: u64,
    /// Seconds since the epoch.
    pub(crate) exp: u64,
    access: Vec<Grantable>,
}

/// Actions with one repository, or with the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grantable {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

impl Grantable {
    /// Reads `repository:team/shop:pull,push` or `registry:catalog:*`.
    pub(crate) fn parse(scope: &str) -> Option<Self> {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let actions = actions.split(',').map(str::to_owned).collect();
        Some(Self { kind: kind.to_owned(), name: name.to_owned(), actions })
    }

    /// The actions asked for that Kiln knows.
    pub(crate) fn known_actions(&self) -> Vec<Action> {
        let asked = |action: &&Action| self.actions.iter().any(|text| text == "*" || text == action.name());
        Action::ALL.iter().filter(asked).copied().collect()
    }
}

impl Claims {
    pub(crate) fn new(user: Option<&str>, now: u64, life: u64, access: Vec<Grantable>) -> Self {
        Self { sub: user.unwrap_or_default().to_owned(), iat: now, exp: now + life, access }
    }

    pub(crate) fn user(&self) -> Option<&str> {
        Some(self.sub.as_str()).filter(|sub| !sub.is_empty())
    }

    pub(crate) fn covers(&self, repository: &Repository, action: Action) -> bool {
        self.access.iter().any(|one| {
            one.kind == "repository"
                && one.name == repository.as_str()
                && one.actions.iter().any(|text| text == action.name())
        })
    }

    pub(crate) fn covers_catalog(&self) -> bool {
        self.access.iter().any(|one| one.kind == "registry" && one.name == "catalog")
    }
}

/// Signs and checks tokens.
pub(crate) struct Signer {
    key: hmac::Key,
}

impl Signer {
    /// Reads the key, or makes one.
    pub(crate) fn open(path: &Path) -> Result<Self, RegistryError> {
        match fs::read(path) {
            Ok(bytes) if bytes.len() == 32 => return Ok(Self::new(&bytes)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file("read", path)(error)),
        }
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| RegistryError::Random)?;
        let fresh = path.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            fs::rename(&fresh, path)
        };
        write().map_err(file("write", path))?;
        Ok(Self::new(&bytes))
    }

    fn new(bytes: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }

    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let body = serde_json::to_vec(claims).unwrap_or_default();
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(body));
        let sum = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sum.as_ref()))
    }

    /// What a token says, when this registry signed it and it is still good at `now` (seconds since the epoch).
    pub(crate) fn check(&self, token: &str, now: u64) -> Option<Claims> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, sum) = token.rsplit_once('.')?;
        let sum = URL_SAFE_NO_PAD.decode(sum).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &sum).ok()?;
        let body = signed.strip_prefix(HEADER)?.strip_prefix('.')?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        (now < claims.exp).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims() -> Claims {
        let access = Grantable::parse("repository:team/shop:pull,push").unwrap();
        Claims::new(Some("ada"), 1_000, 300, vec![access])
    }

    #[test]
    fn a_token_is_good_for_its_time_and_its_registry() {
        let (ours, theirs) = (Signer::new(&[1; 32]), Signer::new(&[2; 32]));
        let token = ours.sign(&claims());
        assert_eq!(ours.check(&token, 1_299), Some(claims()));
        assert_eq!(ours.check(&token, 1_300), None, "it ended");
        assert_eq!(theirs.check(&token, 1_000), None, "another key");
        let shop: Repository = "team/shop".parse().unwrap();
        assert!(claims().covers(&shop, Action::Push) && !claims().covers(&shop, Action::Delete));
        assert!(!claims().covers(&"team/shop2".parse().unwrap(), Action::Pull));
    }

    #[test]
    fn the_key_stays_and_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        let token = Signer::open(&path).unwrap().sign(&claims());
        assert!(Signer::open(&path).unwrap().check(&token, 1_000).is_some());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    proptest! {
        #[test]
        fn a_changed_token_is_refused(at in 0_usize..200, by in 1_u8..128) {
            let signer = Signer::new(&[1; 32]);
            let token = signer.sign(&claims());
            let mut bytes = token.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] = (bytes[at] ^ by) & 0x7f;
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            prop_assume!(changed != token);
            // The last digit of unpadded base64 may hold bits that mean nothing; the strict decoder refuses those.
            prop_assert_eq!(signer.check(&changed, 1_000), None);
        }
    }
}
