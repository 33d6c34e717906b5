//! TLS that stands, and what a server can still do with it. From here on the request may have left.

use std::io;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{
    ConnectionTrafficSecrets,
    crypto::ring::{cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, default_provider},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::{
    attacks,
    connections::certificates::Tls,
    support::{
        hunt::PAIR,
        server::{Bare, Script, Wire, is_whole, reply},
        siege::{Attack, BROKEN, Pair},
    },
};

/// After the request, past the TLS that stands.
fn says_beneath_tls(bytes: &'static [u8]) -> Attack {
    Attack::after_request(async move |wire| wire.stream.get_mut().0.write_all(bytes).await)
}

/// A TLS 1.2 that is spoken by hand after the request: the server's keys, taken out of the library.
struct ByHand {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl ByHand {
    /// Serves one request, and goes on by hand.
    async fn after_request(bare: &mut Bare) -> io::Result<Self> {
        let mut provider = default_provider();
        provider.cipher_suites = vec![TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
        let acceptor = TlsAcceptor::from(Tls { provider, versions: vec![&TLS12], ..Tls::new() }.config());
        let mut stream = acceptor.accept(&mut bare.socket).await?;
        while !is_whole(&bare.received) {
            stream.read_buf(&mut bare.received).await?;
        }
        let secrets = stream.into_inner().1.dangerous_extract_secrets().map_err(io::Error::other)?;
        let (sequence, ConnectionTrafficSecrets::Aes128Gcm { key, iv }) = secrets.tx else {
            panic!("the only suite is AES-128-GCM")
        };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).expect("a key of its length"));
        Ok(Self { key, iv: iv.as_ref().try_into().expect("a nonce of its length"), sequence })
    }

    /// A record of this kind (RFC 5246 section 6.2.3.3, RFC 5288 section 3).
    fn record(&mut self, kind: u8, text: &[u8]) -> Vec<u8> {
        let sequence = self.sequence.to_be_bytes();
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(sequence).for_each(|(byte, other)| *byte ^= other);
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        let aad = [&sequence[..], &[kind, 3, 3], &length].concat();
        let mut sealed = text.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed)
            .expect("a short text");
        self.sequence += 1;
        let length = u16::try_from(8 + sealed.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3][..], &length, &nonce[4..], &sealed].concat()
    }
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION: u8 = 23;
const HELLO_REQUEST: [u8; 4] = [0, 0, 0, 0];

/// After the request these records, each with its kind.
fn records(records: Vec<(u8, Vec<u8>)>) -> Attack {
    Attack::by(Script::socket(async move |bare: &mut Bare| {
        let mut tls = ByHand::after_request(bare).await?;
        for (kind, text) in records {
            bare.socket.write_all(&tls.record(kind, &text)).await?;
        }
        Ok(())
    }))
}

fn answer() -> (u8, Vec<u8>) {
    (APPLICATION, reply("200 OK", "", PAIR))
}

fn ask_for_certificate() -> Attack {
    let tls = Tls { versions: vec![&TLS13], asks_for_certificate: true, ..Tls::new() };
    Attack::by(Script::wire(tls, async |_| Ok(())))
}

/// New keys again and again, before and within the answer.
fn renews_its_keys() -> Attack {
    let tls = Tls { versions: vec![&TLS13], ..Tls::new() };
    Attack::by(Script::wire(tls, async |wire: &mut Wire| {
        wire.request().await?;
        for byte in reply("200 OK", "", PAIR) {
            wire.stream.get_mut().1.refresh_traffic_keys().map_err(io::Error::other)?;
            wire.say([byte]).await?;
        }
        Ok(())
    }))
}

attacks! {
    a_pair_is_taken_by_tls_1_2: records(vec![answer()]) => Pair;
    a_pair_in_records_of_one_byte_is_taken:
        records(answer().1.into_iter().map(|byte| (APPLICATION, vec![byte])).collect())
        => Pair;
    /// The client says no, and listens on: the answer is on its way.
    a_renegotiation_is_declined_and_the_pair_taken: records(vec![(HANDSHAKE, HELLO_REQUEST.into()), answer()]) => Pair;
    a_renegotiation_that_is_asked_for_again_leaves_doubt:
        records(vec![(HANDSHAKE, HELLO_REQUEST.into()), (HANDSHAKE, HELLO_REQUEST.into()), answer()])
        => BROKEN;
    a_new_handshake_leaves_doubt: records(vec![(HANDSHAKE, vec![2, 0, 0, 0])]) => BROKEN;
    an_alert_instead_of_an_answer_leaves_doubt: records(vec![(ALERT, vec![2, 80])]) => BROKEN;
    an_alert_within_the_answer_leaves_doubt:
        records(vec![(APPLICATION, b"HTTP/1.1 200 OK\r\n".into()), (ALERT, vec![2, 49])])
        => BROKEN;
    a_record_of_no_kind_leaves_doubt: records(vec![(99, vec![0])]) => BROKEN;
    keys_that_change_with_every_byte_cost_nothing: renews_its_keys() => Pair;

    /// In TLS 1.3 the client hears of it only after its request may have left.
    a_certificate_that_is_asked_for_leaves_doubt: ask_for_certificate().before_request() => BROKEN;
    a_text_beneath_tls_leaves_doubt: says_beneath_tls(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") => BROKEN;
    a_record_that_was_not_sealed_leaves_doubt:
        says_beneath_tls(&[APPLICATION, 3, 3, 0, 20, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7])
        => BROKEN;
    an_alert_that_was_not_sealed_leaves_doubt: says_beneath_tls(&[ALERT, 3, 3, 0, 2, 2, 80]) => BROKEN;
}
