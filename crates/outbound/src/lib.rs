//! The one way in which Kiln calls other people's servers over HTTP: rustls with ring, and the certificates that the
//! machine trusts. Time-outs are the caller's, who knows what is waited for.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::{BuilderVerifierExt, Verifier};

/// A file of certificates is refused beyond this; Debian's whole bundle of authorities has 220 KiB.
const CERTIFICATES_LIMIT: u64 = 4 << 20;

/// Why no client can be made that trusts an authority of the caller's own.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("cannot read the certificates in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The file holds no certificate in PEM.
    #[error("{} holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`): {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate cannot be one of an authority, or this build of rustls has no protocol version.
    #[error("cannot trust what the machine and the caller trust")]
    Tls(#[from] rustls::Error),
}

/// A client's beginning. A host without any root certificate still reaches plain HTTP.
///
/// # Errors
/// When this build of rustls has no protocol version in common with itself, which would be a fault of the build.
pub fn client() -> Result<reqwest::ClientBuilder, rustls::Error> {
    let builder = tls()?;
    let config = match builder.clone().with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(_) => builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
    };
    Ok(begin(config))
}

/// The same, which trusts the authorities of a PEM file beside those that the machine trusts.
///
/// # Errors
/// When the file cannot be read or holds no certificate that could be an authority's.
pub fn client_trusting(authorities: &Path) -> Result<reqwest::ClientBuilder, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> =
        Arc::new(Verifier::new_with_extra_roots(certificates(authorities)?, provider)?);
    let config = tls()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(begin(config))
}

fn tls() -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn begin(config: rustls::ClientConfig) -> reqwest::ClientBuilder {
    let agent = concat!("kiln/", env!("CARGO_PKG_VERSION"));
    reqwest::Client::builder().tls_backend_preconfigured(config).user_agent(agent)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let unread = |source| TrustError::Read { path: path.into(), source };
    let wrong = |reason: String| TrustError::Pem { path: path.into(), reason };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CERTIFICATES_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(unread)?;
    if bytes.len() as u64 > CERTIFICATES_LIMIT {
        return Err(wrong("it is larger than 4 MiB".into()));
    }
    let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("nothing of the kind is in it".into())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_certificate_is_named() {
        let folder = std::env::temp_dir().join(format!("kiln-outbound-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("ca.pem");
        let absent = client_trusting(&file).unwrap_err().to_string();
        std::fs::write(&file, "no certificate").unwrap();
        let empty = client_trusting(&file).unwrap_err().to_string();
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        let broken = client_trusting(&file).unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(absent.starts_with("cannot read") && absent.contains("ca.pem"), "{absent}");
        assert!(empty.contains("holds no certificate") && broken.contains("holds no certificate"));
    }
}
