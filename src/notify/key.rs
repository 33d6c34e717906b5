//! The key that signs, as Standard Webhooks specifies: `whsec_` and 24 to 64 bytes in base64.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use zeroize::Zeroizing;

/// Signs what is sent, so that its receiver knows from whom it is and that no one changed it.
pub struct SigningKey(hmac::Key);

/// What is there is no key. It is not shown.
#[derive(Debug, thiserror::Error)]
#[error("write whsec_ and 24 to 64 random bytes in base64, such as: echo \"whsec_$(openssl rand -base64 32)\"")]
pub struct InvalidKey;

/// Where the key is. It is read again for each notice: a changed one needs no restart, and a missing one costs notices
/// and no token.
#[derive(Clone, Debug)]
pub struct KeyFile(PathBuf);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum NoKey {
    #[error(
        "cannot read the file {0} with the key that signs: name another in --notify-key-file, or make the Secret that it comes from"
    )]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("the file {0} contains no key that can sign")]
    Invalid(PathBuf, #[source] InvalidKey),
}

impl KeyFile {
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The key that is there now.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(&self) -> Result<SigningKey, NoKey> {
        let text = fs::read_to_string(&self.0).map_err(|error| NoKey::Unreadable(self.0.clone(), error))?;
        Zeroizing::new(text).parse().map_err(|error| NoKey::Invalid(self.0.clone(), error))
    }
}

impl FromStr for SigningKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_end_matches(['\n', '\r']).strip_prefix("whsec_").ok_or(InvalidKey)?;
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| InvalidKey)?);
        if !(24..=64).contains(&bytes.len()) {
            return Err(InvalidKey);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// The value of the header `webhook-signature`.
    pub fn signature(&self, id: &str, timestamp: i64, body: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    }
}
