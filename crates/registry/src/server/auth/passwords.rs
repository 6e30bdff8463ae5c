//! Stored passwords.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHash, PasswordVerifier};
use quick_cache::sync::Cache;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::server::RegistryError;
use crate::server::error::file;

/// A password found right is not checked again for so long: a check takes some 50 ms of a core on purpose.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Checks at the same time; guessing must not keep the cores from serving.
const CHECKS: usize = 2;
/// The longest password; bcrypt reads no more than 72 bytes of it.
const LONGEST: usize = 1024;

/// The users of a registry.
pub(crate) struct Passwords {
    users: HashMap<String, String>,
    turns: Semaphore,
    /// Names what was found right lately by its keyed digest; the key lives as long as the process.
    key: hmac::Key,
    right: Cache<[u8; 32], Instant>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl Passwords {
    pub(crate) fn read(path: &Path) -> Result<Self, RegistryError> {
        let text = fs::read_to_string(path).map_err(file("read", path))?;
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = user(line).map_err(|reason| RegistryError::Users {
                path: path.into(),
                line: number + 1,
                reason,
            })?;
            users.insert(name.to_owned(), hash.to_owned());
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| RegistryError::Random)?;
        Ok(Self { users, turns: Semaphore::new(CHECKS), key, right: Cache::new(1_000) })
    }

    /// Whether a user has this password.
    pub(crate) async fn check(&self, name: &str, password: &str) -> bool {
        if password.len() > LONGEST {
            return false;
        }
        let seen = self.fingerprint(name, password);
        if self.right.get(&seen).is_some_and(|until| until > Instant::now()) {
            return true;
        }
        // Somebody unknown takes as long as somebody known, so that names cannot be tried out.
        let known = self.users.get(name);
        let Some(hash) = known.or_else(|| self.users.values().next()).cloned() else { return false };
        let Ok(_turn) = self.turns.acquire().await else { return false };
        let password = password.to_owned();
        let checked = tokio::task::spawn_blocking(move || matches(&hash, &password)).await;
        let right = checked.unwrap_or(false) && known.is_some();
        if right {
            self.right.insert(seen, Instant::now() + REMEMBERED);
        }
        right
    }

    fn fingerprint(&self, name: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(name.as_bytes());
        context.update(&[0]);
        context.update(password.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

fn user(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("expected a name, a colon and a hash")?;
    if name.is_empty() || name == "*" || name == "anonymous" {
        return Err("a user cannot be called so");
    }
    let good = match hash {
        bcrypt if bcrypt.starts_with("$2") => bcrypt.parse::<bcrypt::HashParts>().is_ok(),
        argon if argon.starts_with("$argon2") => PasswordHash::new(argon).is_ok(),
        _ => return Err("the hash is neither bcrypt (`htpasswd -B`) nor argon2"),
    };
    if good { Ok((name, hash)) } else { Err("the hash is damaged") }
}

fn matches(hash: &str, password: &str) -> bool {
    if hash.starts_with("$2") {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    argon2::Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_users_are_refused_with_their_reason() {
        for (line, reason) in [
            ("ada", "colon"),
            (":x", "called so"),
            ("anonymous:$2y$05$x", "called so"),
            ("ada:{SHA}x", "neither"),
            ("ada:$2y$05$x", "damaged"),
            ("ada:$argon2id$x", "damaged"),
        ] {
            assert!(user(line).unwrap_err().contains(reason), "{line}");
        }
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_passes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let hash = bcrypt::hash("secret", 4).unwrap();
        // Made with the argon2 program: `echo -n secret | argon2 saltsalt -id -t 1 -k 8 -p 1 -e`, checked below.
        let salt = argon2::password_hash::SaltString::from_b64("c2FsdHNhbHQ").unwrap();
        let params = argon2::Params::new(8, 1, 1, None).unwrap();
        let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let made = argon2::PasswordHasher::hash_password(&argon, b"secret", &salt).unwrap();
        fs::write(&path, format!("# users\nada:{hash}\n\ngrace:{made}\n")).unwrap();
        let passwords = Passwords::read(&path).unwrap();
        for name in ["ada", "grace"] {
            assert!(passwords.check(name, "secret").await);
            assert!(passwords.check(name, "secret").await, "remembered");
            assert!(!passwords.check(name, "Secret").await);
            assert!(!passwords.check(name, "").await);
        }
        assert!(!passwords.check("mallory", "secret").await);
    }
}
