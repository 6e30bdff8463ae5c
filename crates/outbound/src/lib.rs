//! The one way in which Kiln calls other people's servers over HTTP: rustls with ring, and the certificates that the
//! machine trusts. Time-outs are the caller's, who knows what is waited for.

use std::sync::Arc;

use rustls_platform_verifier::BuilderVerifierExt;

/// A client's beginning. A host without any root certificate still reaches plain HTTP.
///
/// # Errors
/// When this build of rustls has no protocol version in common with itself, which would be a fault of the build.
pub fn client() -> Result<reqwest::ClientBuilder, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match builder.clone().with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(_) => builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
    };
    let agent = concat!("kiln/", env!("CARGO_PKG_VERSION"));
    Ok(reqwest::Client::builder().tls_backend_preconfigured(config).user_agent(agent))
}
