//! A CA of its own, the certificates that it gives and should not give, and the TLS that goes with them.

use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

pub type Issuer = CertifiedIssuer<'static, KeyPair>;

/// The CA that the spec trusts.
pub static TRUSTED: LazyLock<Issuer> = LazyLock::new(|| issuer("a CA of the spec"));

/// A CA of this name, made now.
pub fn issuer(name: &str) -> Issuer {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, name);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (ca.not_before, ca.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 12, 31));
    CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap()
}

/// What a good certificate for the hostile server says.
pub fn good() -> CertificateParams {
    named(&["127.0.0.1"])
}

/// A certificate for these names, and good otherwise.
pub fn named(names: &[&str]) -> CertificateParams {
    let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (leaf.not_before, leaf.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 12, 31));
    leaf
}

/// The TLS of the hostile server: like any server's, but for what an attack changes.
pub struct Tls {
    pub provider: CryptoProvider,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub chain: Vec<CertificateDer<'static>>,
    pub key: KeyPair,
    pub protocols: Vec<Vec<u8>>,
    /// Whether clients must show a certificate, which ours never has.
    pub asks_for_certificate: bool,
}

impl Tls {
    /// With a good certificate, for HTTP/1.1.
    pub fn new() -> Self {
        Self::with(&good(), &TRUSTED)
    }

    /// With this certificate of that CA, for HTTP/1.1.
    pub fn with(leaf: &CertificateParams, issuer: &Issuer) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, issuer).unwrap();
        Self {
            provider: default_provider(),
            versions: vec![&TLS12, &TLS13],
            chain: vec![certificate.der().clone()],
            key,
            protocols: vec![b"http/1.1".to_vec()],
            asks_for_certificate: false,
        }
    }

    /// With a good certificate, for HTTP/2.
    pub fn http2() -> Self {
        Self { protocols: vec![b"h2".to_vec()], ..Self::new() }
    }

    /// As it is given to a listener. Its keys may be taken out, for an attack that speaks TLS by hand, and it may speak
    /// before the client has said all.
    pub fn config(self) -> Arc<ServerConfig> {
        let provider = Arc::new(self.provider);
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&self.versions).unwrap();
        let builder = if self.asks_for_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(TRUSTED.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let key = provider.key_provider.load_private_key(key).unwrap();
        // Whether it is the certificate's is for the client to find out.
        let shown = SingleCertAndKey::from(CertifiedKey::new(self.chain, key));
        let mut config = builder.with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = self.protocols;
        (config.enable_secret_extraction, config.send_half_rtt_data) = (true, true);
        Arc::new(config)
    }
}
