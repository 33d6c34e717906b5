//! What can become of a call to the API server, told apart by what the caller can do.

use kube::core::Status;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote first: read again.
    #[error("somebody else wrote it first")]
    Conflict,
    /// The object is not there.
    #[error("it is not there")]
    Missing,
    /// The API server does not want it: rights, admission policy, quota.
    #[error("the API server refused: {0}")]
    Refused(String),
    /// No answer, or none that tells: it may have been done or not.
    #[error("the API server could not be reached")]
    Unavailable(#[source] Box<kube::Error>),
    /// No answer in time: it may have been done or not.
    #[error("the API server did not answer in time")]
    TimedOut,
}

impl StoreError {
    /// Whether it may have been done all the same.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::TimedOut => true,
            Self::Conflict | Self::Missing | Self::Refused(_) => false,
        }
    }

    /// The same, without any of these texts in it, plain or in base64: an admission webhook may quote what it refuses.
    pub(super) fn without(self, secrets: &[Vec<u8>]) -> Self {
        match self {
            Self::Refused(message) => Self::Refused(scrub(message, secrets)),
            other @ (Self::Conflict | Self::Missing | Self::Unavailable(_) | Self::TimedOut) => other,
        }
    }
}

impl From<kube::Error> for StoreError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => from_status(status).unwrap_or_else(|| Self::Unavailable(Box::new(error))),
            _ => Self::Unavailable(Box::new(error)),
        }
    }
}

fn from_status(status: &Status) -> Option<StoreError> {
    match status.code {
        404 => Some(StoreError::Missing),
        409 => Some(StoreError::Conflict),
        429 => None,
        400..=499 => Some(StoreError::Refused(status.message.chars().take(300).collect())),
        _ => None,
    }
}

fn scrub(message: String, secrets: &[Vec<u8>]) -> String {
    let encoded = |secret: &Vec<u8>| {
        let base64 = serde_json::to_string(&k8s_openapi::ByteString(secret.clone())).unwrap_or_default();
        [String::from_utf8_lossy(secret).into_owned(), base64.trim_matches('"').to_owned()]
    };
    let texts = secrets.iter().flat_map(encoded).filter(|text| text.len() >= 8);
    texts.fold(message, |message, text| message.replace(&text, "[redacted]"))
}
