//! Which endpoint a path names. Repositories hold slashes, so paths are read from their end.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::digest::ContentDigest;
use crate::name::{Reference, Repository};
use crate::server::error::{ApiError, Code};

/// An endpoint of the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(Repository),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Repository, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Repository, ContentDigest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(Repository),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(Repository, String),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Repository, ContentDigest),
}

impl Route {
    /// Names the endpoint in metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Tags(_) => "tags",
            Self::Manifest(..) => "manifest",
            Self::Blob(..) => "blob",
            Self::Uploads(_) | Self::Upload(..) => "upload",
            Self::Referrers(..) => "referrers",
        }
    }

    /// The methods that the endpoint knows, for `Allow`.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Self::Base | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => "GET, HEAD",
            Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Blob(..) => "GET, HEAD, DELETE",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "GET, PATCH, PUT, DELETE",
        }
    }

    /// Whether the endpoint knows a method.
    pub(crate) fn knows(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|known| known == method.as_str())
    }

    /// Reads a path that begins with `/v2/`.
    pub(crate) fn parse(path: &str) -> Result<Self, ApiError> {
        let nowhere = || ApiError::missing(Code::Unsupported, "the registry has nothing at this path");
        let rest = path.strip_prefix("/v2").ok_or_else(nowhere)?;
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let rest = percent_decode_str(rest).decode_utf8().map_err(|_| nowhere())?;
        match rest.as_ref() {
            "" => return Ok(Self::Base),
            "_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        let mut parts = rest.rsplitn(3, '/');
        let (last, kind, before) = (parts.next(), parts.next(), parts.next());
        let (Some(last), Some(kind), Some(before)) = (last, kind, before) else { return Err(nowhere()) };
        if let ("uploads", Some(name)) = (kind, before.strip_suffix("/blobs")) {
            let name = repository(name)?;
            return Ok(if last.is_empty() { Self::Uploads(name) } else { Self::Upload(name, last.into()) });
        }
        match (kind, last) {
            ("blobs", "uploads") => Ok(Self::Uploads(repository(before)?)),
            ("tags", "list") => Ok(Self::Tags(repository(before)?)),
            ("manifests", _) => Ok(Self::Manifest(repository(before)?, reference(last)?)),
            ("blobs", _) => Ok(Self::Blob(repository(before)?, digest(last)?)),
            ("referrers", _) => Ok(Self::Referrers(repository(before)?, digest(last)?)),
            _ => Err(nowhere()),
        }
    }
}

fn repository(text: &str) -> Result<Repository, ApiError> {
    text.parse().map_err(|error: crate::name::NameError| ApiError::bad(Code::NameInvalid, error.to_string()))
}

/// A digest of a request.
pub(crate) fn digest(text: &str) -> Result<ContentDigest, ApiError> {
    text.parse()
        .map_err(|error: crate::digest::DigestError| ApiError::bad(Code::DigestInvalid, error.to_string()))
}

fn reference(text: &str) -> Result<Reference, ApiError> {
    if text.contains(':') {
        return digest(text).map(Reference::Digest);
    }
    text.parse().map_err(|error: crate::name::NameError| ApiError::bad(Code::TagInvalid, error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repositories_may_be_called_like_endpoints() {
        let name = |text: &str| text.parse::<Repository>().unwrap();
        let route = |path: &str| Route::parse(path).unwrap();
        assert_eq!(route("/v2"), Route::Base);
        assert_eq!(route("/v2/"), Route::Base);
        assert_eq!(route("/v2/_catalog"), Route::Catalog);
        assert_eq!(route("/v2/a/blobs/uploads/"), Route::Uploads(name("a")));
        assert_eq!(route("/v2/a/blobs/uploads"), Route::Uploads(name("a")));
        assert_eq!(route("/v2/a/blobs/uploads/x"), Route::Upload(name("a"), "x".into()));
        assert_eq!(route("/v2/a/manifests/tags/list"), Route::Tags(name("a/manifests")));
        assert_eq!(route("/v2/a/blobs/manifests/1"), Route::Manifest(name("a/blobs"), "1".parse().unwrap()));
        let digest = ContentDigest::sha256(b"");
        let escaped = digest.to_string().replace(':', "%3A");
        assert_eq!(route(&format!("/v2/a/b/blobs/{escaped}")), Route::Blob(name("a/b"), digest));
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        let code = |path: &str| Route::parse(path).unwrap_err().code;
        assert_eq!(code("/v2/A/tags/list"), Code::NameInvalid);
        assert_eq!(code("/v2/a/manifests/.x"), Code::TagInvalid);
        assert_eq!(code("/v2/a/manifests/sha256:x"), Code::DigestInvalid);
        assert_eq!(code("/v2/a/blobs/x"), Code::DigestInvalid);
        assert_eq!(code("/v2/a"), Code::Unsupported);
        assert_eq!(code("/v2/../../etc/passwd"), Code::Unsupported);
    }

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in "/v2/[a-z%/.:0-9_-]{0,80}") {
            let _ = Route::parse(&path);
        }
    }
}
