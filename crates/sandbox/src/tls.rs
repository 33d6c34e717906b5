//! The CA, the server's certificate, and the TLS configuration. Makes keys; touches no files.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use thiserror::Error;

/// What can go wrong with certificates.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A name cannot stand in a certificate, or a key could not be made.
    #[error("no certificate can be made for these names: {names}")]
    Certificate {
        /// The names.
        names: String,
        /// Why.
        source: rcgen::Error,
    },
    /// The configuration is refused.
    #[error("TLS cannot be set up")]
    Configuration(#[from] rustls::Error),
}

/// A server's identity, made anew at each start.
pub(crate) struct Identity {
    pub(crate) ca_pem: String,
    pub(crate) config: Arc<ServerConfig>,
}

impl Identity {
    /// A CA, and a certificate of it for `localhost`, `127.0.0.1`, `::1` and these names.
    pub(crate) fn new(extra_names: &[String]) -> Result<Self, TlsError> {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        names.extend_from_slice(extra_names);
        let shown = names.join(", ");
        let certificate = |source| TlsError::Certificate { names: shown.clone(), source };
        let ca = authority().map_err(certificate)?;
        let key = KeyPair::generate().map_err(certificate)?;
        let leaf = leaf(names).and_then(|parameters| parameters.signed_by(&key, &ca)).map_err(certificate)?;

        // The provider is named, not installed: whoever uses the library may have another.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { ca_pem: ca.pem(), config: Arc::new(config) })
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let key = KeyPair::generate()?;
    // A name of its own: roots of two sandboxes can stand in one bundle without being confused.
    let tag: String = key.public_key_raw().iter().rev().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut parameters = dated(CertificateParams::default());
    parameters.distinguished_name = named(&format!("pleo-sandbox CA {tag}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(parameters, key)
}

fn leaf(names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = dated(CertificateParams::new(names)?);
    parameters.distinguished_name = named("pleo-sandbox");
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(parameters)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

/// Fixed dates, far apart: tests set clocks back and forth.
fn dated(mut parameters: CertificateParams) -> CertificateParams {
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2049, 12, 31);
    parameters
}
