//! Which servers are trusted: those with a certificate of the system's authorities, or of one more if it is given.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why no server could be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the CA bundle has no certificate in PEM form")]
    NoCertificate,
    #[error("a certificate in the CA bundle cannot be used")]
    Certificate(#[source] rustls::Error),
    #[error("no certificate authority is trusted: install ca-certificates, or name a CA of your own")]
    NothingTrusted,
    #[error("the protocol versions of TLS cannot be used")]
    Versions(#[source] rustls::Error),
}

/// Trusts the system's authorities, and those in `ca`, which is PEM. No request leaves before the handshake is over (no early data).
///
/// # Errors
/// If `ca` cannot be used, or nothing would be trusted.
pub fn config(ca: Option<&[u8]>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // What of the system's cannot be used is left out.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| TlsError::NoCertificate)?;
            roots.add(certificate).map_err(TlsError::Certificate)?;
        }
        if roots.len() == before {
            return Err(TlsError::NoCertificate);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NothingTrusted);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(TlsError::Versions)?.with_root_certificates(roots).with_no_client_auth())
}
