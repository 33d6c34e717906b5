//! TLS that does not come to stand: not a byte of the request has left, and the token is unspent.

use std::io;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use rustls::version::TLS12;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    attacks,
    connections::certificates::{TRUSTED, Tls, good, issuer, named},
    support::{
        hunt::PAIR,
        server::{Bare, Script, Wire, reply},
        siege::{Attack, NotSent},
    },
};

/// A server that answers as it should, if anybody asks it, with this TLS.
fn serves(tls: Tls) -> Attack {
    Attack::by(Script::wire(tls, async |wire: &mut Wire| {
        wire.request().await?;
        wire.say(reply("200 OK", "", PAIR)).await
    }))
}

/// Shows a certificate for these names, and is good otherwise.
pub fn names(names: &[&str]) -> Attack {
    shows(named(names))
}

fn shows(leaf: CertificateParams) -> Attack {
    serves(Tls::with(&leaf, &TRUSTED))
}

fn a_thousand_names() -> CertificateParams {
    let names: Vec<_> = (0..1000).map(|number| format!("shop-{number}.customers.example.com")).collect();
    named(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn self_signed() -> Attack {
    let key = KeyPair::generate().unwrap();
    let certificate = good().self_signed(&key).unwrap().der().clone();
    serves(Tls { chain: vec![certificate], key, ..Tls::new() })
}

fn changed(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut leaf = good();
    change(&mut leaf);
    leaf
}

/// Bytes instead of TLS, after the client's first words.
fn bare(bytes: impl AsRef<[u8]> + Send + 'static) -> Attack {
    Attack::by(Script::socket(async move |bare: &mut Bare| {
        hello(bare).await?;
        bare.socket.write_all(bytes.as_ref()).await
    }))
}

/// The client's first words.
async fn hello(bare: &mut Bare) -> io::Result<()> {
    let mut begin = [0; 64];
    bare.socket.read_exact(&mut begin).await.map(|_| ())
}

/// A record of TLS, of this kind and version.
fn record(kind: u8, version: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    [&[kind][..], &version.to_be_bytes(), &length.to_be_bytes(), payload].concat()
}

/// The only answer of a server that speaks nothing newer than this version.
fn server_hello(version: u16) -> Vec<u8> {
    let hello = [&version.to_be_bytes()[..], &[7; 32], &[0, 0xc0, 0x09, 0]].concat();
    let length = u32::try_from(hello.len()).unwrap().to_be_bytes();
    record(22, version, &[&[2], &length[1..], &hello].concat())
}

attacks! {
    an_expired_certificate_gets_no_token: shows(changed(|leaf| leaf.not_after = date_time_ymd(2021, 1, 1))) => NotSent;
    a_certificate_of_tomorrow_gets_no_token:
        shows(changed(|leaf| leaf.not_before = date_time_ymd(2048, 1, 1)))
        => NotSent;
    a_certificate_for_another_host_gets_no_token: shows(named(&["auth.example.com", "127.0.0.2"])) => NotSent;
    /// I5: the names in a certificate are the server's text.
    a_token_in_a_certificate_is_not_told: names(&["refresh0spent0f3a9c1.example.com"]) => NotSent;
    a_certificate_for_a_thousand_hosts_is_told_in_a_few_words: shows(a_thousand_names()) => NotSent;
    a_certificate_for_no_host_gets_no_token: shows(named(&[])) => NotSent;
    a_certificate_of_an_unknown_authority_gets_no_token:
        serves(Tls::with(&good(), &issuer("somebody else")))
        => NotSent;
    a_certificate_of_a_namesake_of_the_authority_gets_no_token:
        serves(Tls::with(&good(), &issuer("a CA of the spec")))
        => NotSent;
    a_certificate_that_signs_itself_gets_no_token: self_signed() => NotSent;
    a_certificate_for_clients_gets_no_token:
        shows(changed(|leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]))
        => NotSent;
    a_certificate_of_an_authority_gets_no_token:
        shows(changed(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)))
        => NotSent;
    a_key_that_is_not_the_certificates_gets_no_token:
        serves(Tls { key: KeyPair::generate().unwrap(), ..Tls::new() })
        => NotSent;
    a_chain_without_end_gets_no_token:
        serves(Tls { chain: vec![Tls::new().chain[0].clone(); 1000], ..Tls::new() })
        => NotSent;
    no_certificate_gets_no_token: serves(Tls { chain: Vec::new(), ..Tls::new() }) => NotSent;
    a_certificate_that_is_none_gets_no_token: serves(Tls { chain: vec![vec![7; 500].into()], ..Tls::new() }) => NotSent;
    a_server_that_asks_for_a_certificate_in_tls_1_2_gets_no_token:
        serves(Tls { versions: vec![&TLS12], asks_for_certificate: true, ..Tls::new() })
        => NotSent;

    /// In HTTP/2 a request can leave when its exchange is over (I1): it is not spoken.
    a_server_of_http_2_alone_gets_no_token: serves(Tls::http2()) => NotSent;
    a_server_of_tls_1_1_gets_no_token: bare(server_hello(0x0302)) => NotSent;
    a_server_of_tls_1_0_gets_no_token: bare(server_hello(0x0301)) => NotSent;
    a_server_of_ssl_3_gets_no_token: bare(server_hello(0x0300)) => NotSent;
    a_server_that_knows_no_common_version_gets_no_token: bare(record(21, 0x0301, &[2, 70])) => NotSent;
    a_server_that_fails_the_handshake_gets_no_token: bare(record(21, 0x0303, &[2, 40])) => NotSent;
    a_server_without_tls_gets_no_token: bare(reply("200 OK", "", PAIR)) => NotSent;
    a_server_that_tells_of_another_port_gets_no_token:
        bare(reply("400 The plain HTTP request was sent to HTTPS port", "", ""))
        => NotSent;
    a_record_that_is_too_long_gets_no_token: bare(record(22, 0x0303, &[2; 20_000])) => NotSent;
    a_handshake_that_claims_sixteen_megabytes_gets_no_token:
        bare(record(22, 0x0303, &[2, 0xff, 0xff, 0xff]))
        => NotSent;
    records_of_nothing_get_no_token: bare(record(22, 0x0303, &[]).repeat(1000)) => NotSent;
    warnings_get_no_token: bare(record(21, 0x0303, &[1, 90]).repeat(1000)) => NotSent;

    a_farewell_in_the_handshake_gets_no_token:
        Attack::by(Script::socket(async |bare: &mut Bare| { hello(bare).await?; bare.socket.shutdown().await }))
        => NotSent;
    a_reset_in_the_handshake_gets_no_token:
        Attack::by(Script::socket(async |bare: &mut Bare| { hello(bare).await?; bare.reset() }))
        => NotSent;
    a_server_that_hangs_up_at_once_gets_no_token:
        Attack::by(Script::socket(async |bare: &mut Bare| bare.socket.shutdown().await))
        => NotSent;
    /// However long the answer may take: connecting has ten seconds.
    a_handshake_that_never_ends_is_given_up: bare("") => NotSent;
    a_handshake_that_takes_too_long_gets_no_token: serves(Tls::new()).too_late_to_send() => NotSent;
}
