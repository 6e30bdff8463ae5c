//! What can go wrong with a registry. Every text names what was attempted, the registry, its answer, and the next step.

use std::fmt;
use std::path::PathBuf;

use kiln_model::Digest;
use kiln_store::StoreError;

use super::transport::Place;
use crate::name::NameError;

/// Something that is attempted at a registry, for error messages: "get the manifest of …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Such as `get`.
    pub act: &'static str,
    /// Such as `blob sha256:… of host/name`.
    pub what: String,
    /// The registry.
    pub host: String,
}

impl Task {
    /// Something about a repository.
    pub(super) fn at(act: &'static str, place: &Place, what: impl fmt::Display) -> Self {
        Self { act, what: format!("{what} of {place}"), host: place.registry.clone() }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.act, self.what)
    }
}

/// Why something could not be done with a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The text is no reference.
    #[error(
        "{text:?} is no image reference; write host/name:tag, host/name@sha256:…, or the path of a layout or archive"
    )]
    Reference {
        /// The text.
        text: String,
        /// What is wrong.
        #[source]
        source: NameError,
    },
    /// There is no network to be used.
    #[error(
        "{reference} is not in the store and Kiln is told to stay offline; bake once without `--offline`"
    )]
    Offline {
        /// The reference.
        reference: String,
    },
    /// No HTTP client can be made.
    #[error("cannot set up the HTTP client: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
    /// The certificates of the caller's own authority are not there.
    #[error("cannot use the authority given with --ca")]
    Authority(#[from] kiln_outbound::TrustError),
    /// Stored credentials cannot be had.
    #[error("cannot get the credentials for {host} from {from}: {reason}")]
    Credentials {
        /// The registry.
        host: String,
        /// A file, or the program that keeps them.
        from: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The registry could not be asked.
    #[error("cannot {task}: {} cannot be asked: {reason}{}", task.host, transport_hint(reason))]
    Transport {
        /// What was attempted.
        task: Task,
        /// The innermost cause.
        reason: String,
    },
    /// The registry said no.
    #[error("cannot {task}: {} answers {status}{}{}", task.host, said(detail), hint(*status))]
    Refused {
        /// What was attempted.
        task: Task,
        /// The HTTP status.
        status: u16,
        /// What the registry wrote, one line; empty when it wrote nothing that can be read.
        detail: String,
    },
    /// The registry sends one around in circles.
    #[error("cannot {task}: {} redirects more than {limit} times; its storage or proxy is set up wrongly", task.host)]
    Redirects {
        /// What was attempted.
        task: Task,
        /// How many were followed.
        limit: usize,
    },
    /// An encrypted registry sends one to an address in the clear.
    #[error(
        "cannot {task}: {} sends Kiln to {target}, which is not encrypted; correct the registry, or use --plain-http \
         where the network can be trusted",
        task.host
    )]
    Clear {
        /// What was attempted.
        task: Task,
        /// Scheme and host of the address.
        target: String,
    },
    /// The registry sent something else.
    #[error(
        "cannot {task}: {} sent bytes with the digest {actual} instead of {expected}; the registry or something on the \
         way is broken or hostile",
        task.host
    )]
    Digest {
        /// What was attempted.
        task: Task,
        /// The digest asked for.
        expected: String,
        /// The digest of what came.
        actual: String,
    },
    /// The registry sent more or less than promised.
    #[error(
        "cannot {task}: {} sent {actual} bytes instead of {expected}; the registry or something on the way is broken \
         or hostile",
        task.host
    )]
    Length {
        /// What was attempted.
        task: Task,
        /// Bytes promised.
        expected: u64,
        /// Bytes that came, as far as they were read.
        actual: u64,
    },
    /// A document or answer that makes no sense.
    #[error("cannot {task}: the answer of {} cannot be understood: {reason}", task.host)]
    Document {
        /// What was attempted.
        task: Task,
        /// Why not.
        reason: String,
    },
    /// Not for this machine.
    #[error("{reference} has no image for linux/{architecture}, only for {known}")]
    Platform {
        /// The reference.
        reference: String,
        /// The architecture that was asked for.
        architecture: String,
        /// What there is.
        known: String,
    },
    /// More than Kiln reads.
    #[error("{reference} has more than {limit} {what}; Kiln does not take so many")]
    TooMany {
        /// The image.
        reference: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The tag names something else already.
    #[error(
        "the tag {reference} is taken: it names {present}, and {wanted} was to get it; tags do not move, so choose a new \
         one, or say --force"
    )]
    TagTaken {
        /// The tag, with host and repository.
        reference: String,
        /// What it names.
        present: String,
        /// What should have been named.
        wanted: Digest,
    },
    /// The image in the store lacks a part.
    #[error(
        "the store has only a part of {image}: it lacks {missing}; get it whole with `kiln pull --all-platforms`"
    )]
    Incomplete {
        /// The image or index.
        image: Digest,
        /// The manifest that is not there.
        missing: Digest,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RegistryError {
    /// The HTTP status, when the registry refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 => {
            "; log in with `docker login`, or put credentials into the config.json that DOCKER_CONFIG names"
        }
        403 => "; the user that Kiln is logged in as has no right to this",
        404 => "; look at the host, the name and the tag",
        405 => "; this registry does not allow it",
        413 => "; something before the registry limits the size of uploads",
        429 => "; it limits how often one may ask: wait, or log in",
        500..=599 => "; the registry itself fails: try later, or look into its log",
        _ => "",
    }
}

fn transport_hint(reason: &str) -> &'static str {
    let has = |word: &str| reason.contains(word);
    if has("UnknownIssuer") || has("BadSignature") || has("CaUsedAsEndEntity") {
        "; nobody this machine trusts has signed its certificate: name the authority's with --ca"
    } else if has("not valid for name") || has("NotValidForName") {
        "; its certificate is for another name: use that name, or correct the certificate"
    } else if has("certificate") && has("xpired") {
        "; its certificate has expired: renew it, and check this machine's clock"
    } else if has("InvalidContentType") || has("corrupt message") {
        "; it does not seem to be encrypted: use --plain-http where the network can be trusted"
    } else {
        ""
    }
}

/// The innermost cause of an error, without the address (which may hold a token).
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        Task { act: "get", what: "the manifest of reg.example/a:1".into(), host: "reg.example".into() }
    }

    #[test]
    fn refusals_say_what_to_do_next() {
        let text = |status, detail: &str| {
            RegistryError::Refused { task: task(), status, detail: detail.into() }.to_string()
        };
        assert_eq!(
            text(404, "manifest unknown"),
            "cannot get the manifest of reg.example/a:1: reg.example answers 404 (manifest unknown); look at the host, \
             the name and the tag"
        );
        assert!(text(401, "").contains("docker login"));
        assert!(text(403, "").contains("no right"));
        assert!(text(503, "").contains("the registry itself fails"));
    }

    #[test]
    fn wrong_certificates_say_what_to_do_next() {
        let text =
            |reason: &str| RegistryError::Transport { task: task(), reason: reason.into() }.to_string();
        assert!(text("invalid peer certificate: UnknownIssuer").contains("--ca"));
        assert!(text("received corrupt message of type InvalidContentType").contains("--plain-http"));
    }
}
