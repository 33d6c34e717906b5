//! Secrets as types: they cannot be printed, they are wiped from memory when dropped, and a fingerprint
//! stands for a token wherever one must be named.

use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
};

use ring::digest::{Context, SHA256};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// A text that is never printed. Opaque (requirement T1): never parsed, decoded or judged by its looks.
pub struct Opaque<Kind> {
    text: SecretString,
    kind: PhantomData<fn() -> Kind>,
}

/// Marks a refresh token.
pub enum Refresh {}
/// Marks an access token.
pub enum Access {}
/// Marks a client secret.
pub enum Client {}
/// Marks an authorization code.
pub enum Code {}
/// Marks a code verifier.
pub enum Verifier {}
/// Marks a key that links are made from.
pub enum Link {}
/// Marks an error code.
pub enum Error {}

/// Exchanged for a new pair, once.
pub type RefreshToken = Opaque<Refresh>;
/// What pods call the API with.
pub type AccessToken = Opaque<Access>;
/// What the client proves itself with.
pub type ClientSecret = Opaque<Client>;

/// Exchanged for the first pair after an authorization by link, once (RFC 6749 section 4.1.2).
pub type AuthorizationCode = Opaque<Code>;
/// What proves that a code was asked for by us (RFC 7636).
pub type CodeVerifier = Opaque<Verifier>;
/// `error` of an error response (RFC 6749 section 5.2): the text of a server, which may echo a token.
pub type ErrorCode = Opaque<Error>;
/// What links, states and verifiers are made from.
pub type LinkKey = Opaque<Link>;

/// What a token request sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthorizationGrant {
    /// RFC 6749 section 6.
    Refresh(RefreshToken),
    /// RFC 6749 section 4.1.3.
    Code {
        code: AuthorizationCode,
        verifier: CodeVerifier,
        /// As the user was sent to the server with.
        redirect_uri: String,
    },
}

impl AuthorizationGrant {
    /// The token or the code. Callers hand it to the server it belongs to, no one else.
    pub fn expose(&self) -> &str {
        match self {
            Self::Refresh(token) => token.expose(),
            Self::Code { code, .. } => code.expose(),
        }
    }

    /// Of the token or the code.
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Refresh(token) => token.fingerprint(),
            Self::Code { code, .. } => code.fingerprint(),
        }
    }
}

impl<Kind> Opaque<Kind> {
    /// Takes the text exactly as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: SecretString::from(text.into()), kind: PhantomData }
    }

    /// The only way to the text. Callers hand it to the API server or to the server it belongs to, no one else.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// A name for it that reveals nothing about it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&["token", self.expose()])
    }
}

impl<Kind> Clone for Opaque<Kind> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), kind: PhantomData }
    }
}

impl<Kind> PartialEq for Opaque<Kind> {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl<Kind> Eq for Opaque<Kind> {}

/// So that states that hold tokens can be distinguished, as model checking does.
impl<Kind> Hash for Opaque<Kind> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl<Kind> fmt::Debug for Opaque<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// 160 bits of SHA-256, in hexadecimal: short enough for the name of a label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of some texts; their lengths are part of it, so no two lists share one by shifting a border.
    pub fn of(texts: &[&str]) -> Self {
        let digest = digest(texts);
        Self(digest.as_ref().iter().take(20).map(|byte| format!("{byte:02x}")).collect())
    }

    /// From a text that may be anybody's.
    pub fn read(text: &str) -> Option<Self> {
        let is_one = text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_one.then(|| Self(text.to_owned()))
    }

    /// As it stands in a label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number between 0 and 1 that is always the same for the same texts: jitter that does not change with each use.
pub fn fraction(texts: &[&str]) -> f64 {
    let digest = digest(texts);
    let bits = digest.as_ref().iter().take(4).fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

fn digest(texts: &[&str]) -> ring::digest::Digest {
    let mut context = Context::new(&SHA256);
    context.update(b"pleo-operator v1");
    for text in texts {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    context.finish()
}

/// The client as it authenticates to the server (RFC 6749 section 2.3.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientCredentials {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; none for a public client.
    pub secret: Option<ClientSecret>,
}

impl ClientCredentials {
    /// Names the client for good, whatever becomes of its secret: a token belongs to it (RFC 6749 section 10.4).
    pub fn id_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&["client_id", &self.id])
    }

    /// Shows whether the credentials changed since a server rejected them. Salted with the connection's uid.
    pub fn fingerprint(&self, uid: &str) -> Fingerprint {
        Fingerprint::of(&["client", uid, &self.id, self.secret.as_ref().map_or("", |secret| secret.expose())])
    }
}

/// Why what stands in a Secret cannot be a token, an id or a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInput {
    /// Nothing is there.
    #[error("is empty")]
    Empty,
    /// More than any server issues.
    #[error("is longer than {MAX_INPUT} bytes")]
    TooLong,
    /// RFC 6749 appendix A allows printable ASCII only.
    #[error("has a character that is not printable ASCII (a line break or a byte of another encoding)")]
    Character,
}

/// The longest token we take from a user, in bytes.
pub const MAX_INPUT: usize = 64 * 1024;

/// What a user put into a Secret: one trailing newline is forgiven (`echo` adds it), every other character
/// outside VSCHAR (RFC 6749 appendix A) is refused before it is sent.
///
/// # Errors
/// Says what is wrong with it, without showing it.
pub fn read_input(raw: &[u8]) -> Result<&str, InvalidInput> {
    let raw = raw.strip_suffix(b"\n").map_or(raw, |line| line.strip_suffix(b"\r").unwrap_or(line));
    match raw {
        [] => Err(InvalidInput::Empty),
        long if long.len() > MAX_INPUT => Err(InvalidInput::TooLong),
        printable if printable.iter().all(|byte| (0x20..=0x7e).contains(byte)) => {
            std::str::from_utf8(printable).map_err(|_| InvalidInput::Character)
        }
        _ => Err(InvalidInput::Character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_printed() {
        let token = RefreshToken::new("s3cret");
        assert_eq!(format!("{token:?} {:?}", Some(&token)), "[redacted] Some([redacted])");
    }

    #[test]
    fn one_trailing_newline_is_forgiven_and_nothing_else() {
        assert_eq!(read_input(b"a b+/=%\n"), Ok("a b+/=%"));
        assert_eq!(read_input(b"token\r\n"), Ok("token"));
        assert_eq!(read_input(b"\n"), Err(InvalidInput::Empty));
        assert_eq!(read_input(b""), Err(InvalidInput::Empty));
        for bad in [&b"token\n\n"[..], b"to\nken", b"\tx", "tökén".as_bytes(), b"\xff", b"\x00", b"x\x7f"] {
            assert_eq!(read_input(bad), Err(InvalidInput::Character));
        }
        assert_eq!(read_input(&[b'x'; 65_536]).map(str::len), Ok(65_536), "64 KiB");
        assert_eq!(read_input(&[b'x'; 65_537]), Err(InvalidInput::TooLong));
    }

    #[test]
    fn fingerprints_fit_a_label_and_do_not_shift() {
        assert_eq!(RefreshToken::new("x").fingerprint().as_str().len(), 40);
        assert_ne!(Fingerprint::of(&["ab", "c"]), Fingerprint::of(&["a", "bc"]));
    }

    /// Who restarts must come to the same instant as before, and so must the next version.
    #[test]
    fn a_fraction_is_always_the_same() {
        assert!((fraction(&["x"]) - 1858290113.0 / 4_294_967_296.0).abs() < f64::EPSILON);
    }
}
