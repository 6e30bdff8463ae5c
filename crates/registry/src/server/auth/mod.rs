//! Who may do what.
//!
//! Users and their stored passwords are in a file of htpasswd form (`name:hash`, bcrypt as `htpasswd -B` writes it,
//! or argon2 in PHC form); grants give them actions on repositories by glob. Clients prove who they are with Basic
//! to the token endpoint and use the short-lived token it signs; Basic on every request works as well.

mod passwords;
mod tokens;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use globset::GlobMatcher;
use serde::{Deserialize, Serialize};

pub(crate) use passwords::Passwords;
pub(crate) use tokens::{Claims, Grantable, SCOPES, Signer};

use super::RegistryError;
use super::config::glob;
use crate::name::Repository;

/// Something that can be done with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Read manifests and blobs, list tags and referrers.
    Pull,
    /// Write manifests and blobs.
    Push,
    /// Delete tags, manifests and blobs.
    Delete,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// As it is written in a token's scope.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// Actions that a user may do with the repositories that a glob matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// A user's name, `*` for everybody who logged in, or `anonymous` for everybody.
    pub user: String,
    /// Matched against the whole name; `*` does not cross a `/`, `**` does.
    pub repositories: String,
    /// What may be done.
    pub actions: Vec<Action>,
}

/// Who may do what. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Access(Option<Arc<Restricted>>);

#[derive(Debug)]
pub(crate) struct Restricted {
    pub(crate) passwords: Passwords,
    grants: Vec<(Grant, GlobMatcher)>,
    pub(crate) token_life: Duration,
}

impl Access {
    /// Everybody who can connect may do everything.
    pub const fn open() -> Self {
        Self(None)
    }

    /// Only what is granted. Tokens are good for `token_life`; a minute is the shortest that clients handle well.
    ///
    /// # Errors
    /// When the users' file cannot be read or has a line that is no user, or a glob is none.
    pub fn restricted(users: &Path, grants: Vec<Grant>, token_life: Duration) -> Result<Self, RegistryError> {
        let passwords = Passwords::read(users)?;
        let compile = |grant: Grant| Ok((grant.clone(), glob(&grant.repositories, "repositories")?));
        let grants = grants.into_iter().map(compile).collect::<Result<_, RegistryError>>()?;
        let token_life = token_life.max(Duration::from_secs(60));
        Ok(Self(Some(Arc::new(Restricted { passwords, grants, token_life }))))
    }

    pub(crate) fn rules(&self) -> Option<&Arc<Restricted>> {
        self.0.as_ref()
    }
}

impl Restricted {
    /// Whether a user (`None`: nobody in particular) was granted an action.
    pub(crate) fn allows(&self, user: Option<&str>, repository: &Repository, action: Action) -> bool {
        self.grants.iter().any(|(grant, glob)| {
            let meant = match grant.user.as_str() {
                "anonymous" => true,
                "*" => user.is_some(),
                name => user == Some(name),
            };
            meant && grant.actions.contains(&action) && glob.is_match(repository.as_str())
        })
    }
}

/// Who sends a request, and what the request's token is good for.
#[derive(Clone, Debug)]
pub(crate) enum Principal {
    /// Anybody, where access is open.
    Everybody,
    /// A user by password, or nobody in particular.
    Known(Arc<Restricted>, Option<String>),
    /// The bearer of a token.
    Bearer(Arc<Restricted>, Claims),
}

impl Principal {
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::Everybody => None,
            Self::Known(_, user) => user.as_deref(),
            Self::Bearer(_, claims) => claims.user(),
        }
    }

    /// Whether the request may do this: the user has the right, and the token was made for it.
    pub(crate) fn may(&self, repository: &Repository, action: Action) -> bool {
        match self {
            Self::Everybody => true,
            Self::Known(rules, user) => rules.allows(user.as_deref(), repository, action),
            Self::Bearer(rules, claims) => {
                claims.covers(repository, action) && rules.allows(claims.user(), repository, action)
            }
        }
    }

    /// Whether another token could do what this one cannot.
    pub(crate) fn has_right(&self, repository: &Repository, action: Action) -> bool {
        match self {
            Self::Everybody => true,
            Self::Known(rules, _) | Self::Bearer(rules, _) => rules.allows(self.user(), repository, action),
        }
    }
}
