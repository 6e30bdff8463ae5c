//! Certificates: read from files, checked, and chosen by the name the client asks for.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{
    ClientHello, ParsedCertificate, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto::CryptoProvider};

use crate::error::TableError;
use crate::table::Certificate;

/// TLS 1.2 sessions remembered for resumption; TLS 1.3 uses tickets, which cost no memory.
const SESSIONS: usize = 4_096;

/// What all listeners share, also over changes of the table, so that sessions are resumed.
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    tickets: Option<Arc<dyn ProducesTickets>>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Tls {
    pub(crate) fn new() -> Self {
        Self {
            provider: Arc::new(ring::default_provider()),
            tickets: ring::Ticketer::new().inspect_err(|error| tracing::warn!(%error, "no TLS tickets")).ok(),
            sessions: ServerSessionMemoryCache::new(SESSIONS),
        }
    }

    /// Reads the certificates of one listener; `None` when it has none and speaks plainly.
    pub(crate) fn load(
        &self,
        certificates: &[Certificate],
        http: bool,
    ) -> Result<Option<Arc<ServerConfig>>, TableError> {
        let [first, ..] = certificates else { return Ok(None) };
        let keys = certificates.iter().map(|one| self.read(one)).collect::<Result<Vec<_>, _>>()?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| refused(first, error.to_string()))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(BySni { keys }));
        if http {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        config.session_storage = Arc::clone(&self.sessions);
        if let Some(tickets) = &self.tickets {
            config.ticketer = Arc::clone(tickets);
        }
        Ok(Some(Arc::new(config)))
    }

    fn read(&self, certificate: &Certificate) -> Result<Arc<CertifiedKey>, TableError> {
        let chain = CertificateDer::pem_file_iter(&certificate.chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| refused(certificate, format!("the chain cannot be read: {error}")))?;
        let Some(leaf) = chain.first() else {
            return Err(refused(certificate, "the chain's file has no CERTIFICATE section".into()));
        };
        ParsedCertificate::try_from(leaf).map_err(|error| {
            refused(certificate, format!("the leaf is not a usable certificate: {error}"))
        })?;
        let key = PrivateKeyDer::from_pem_file(&certificate.key)
            .map_err(|error| refused(certificate, format!("the key cannot be read: {error}")))?;
        let key = CertifiedKey::from_der(chain, key, &self.provider)
            .map_err(|error| refused(certificate, format!("they do not fit each other: {error}")))?;
        Ok(Arc::new(key))
    }
}

fn refused(certificate: &Certificate, what: String) -> TableError {
    TableError::Certificate { chain: certificate.chain.clone(), key: certificate.key.clone(), what }
}

/// Chooses by the name asked for; the first certificate is for those who ask for none or a strange one.
#[derive(Debug)]
struct BySni {
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let first = self.keys.first();
        if self.keys.len() < 2 {
            return first.cloned();
        }
        let name = hello.server_name().and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let fitting = name.and_then(|name| self.keys.iter().find(|key| is_for(key, &name)));
        fitting.or(first).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
    parsed.is_some_and(|leaf| rustls::client::verify_server_name(&leaf, name).is_ok())
}
