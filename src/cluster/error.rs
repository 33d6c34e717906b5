//! The outcomes of a call to the API server, distinguished by what the caller can do.

use k8s_openapi::ByteString;
use kube::core::Status;

/// The longest message that is passed on, in characters.
const MAX_MESSAGE: usize = 300;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Someone else wrote first: read again.
    #[error("another writer was first")]
    Conflict,
    #[error("it is not there")]
    NotFound,
    /// The API server does not want it: rights, admission policy, quota.
    #[error("the API server rejected it: {0}")]
    Refused(String),
    /// No answer, or none that decides it: it may have been done or not.
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
            Self::Conflict | Self::NotFound | Self::Refused(_) => false,
        }
    }

    /// Whether the API server could not be reached at all, by us and so perhaps by others.
    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Unavailable(error) => match error.as_ref() {
                // One sick webhook says nothing about the API server; a sick etcd answers 500, too.
                kube::Error::Api(status) => status.code >= 500 && !status.message.contains("webhook"),
                kube::Error::SerdeError(_) => false,
                _ => true,
            },
            Self::Conflict | Self::NotFound | Self::Refused(_) => false,
        }
    }

    /// The same about someone else's object: what a right or a policy says is passed on; what validation says may quote
    /// the object.
    pub(super) fn redact_foreign(self) -> Self {
        let tells_of_rights = |message: &str| message.contains("is forbidden") || message.contains("denied request");
        match self {
            Self::Refused(message) if !tells_of_rights(&message) => Self::Refused(
                "it calls the change invalid; its words may quote the object, and are withheld".to_owned(),
            ),
            same @ (Self::Refused(_) | Self::Conflict | Self::NotFound | Self::Unavailable(_) | Self::TimedOut) => same,
        }
    }

    /// The same, unless its words quote one of these secrets, whole or in part, plain or in base64.
    pub(super) fn without(self, secrets: &[Vec<u8>]) -> Self {
        match self {
            Self::Refused(message) if quotes(&message, secrets) => {
                Self::Refused("its words are withheld, since they quote the Secret".to_owned())
            }
            same @ (Self::Refused(_) | Self::Conflict | Self::NotFound | Self::Unavailable(_) | Self::TimedOut) => same,
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
        404 => Some(StoreError::NotFound),
        409 => Some(StoreError::Conflict),
        429 => None,
        400..=499 => Some(StoreError::Refused(harmless(&status.message))),
        _ => None,
    }
}

/// An admission policy or a webhook may say whatever it likes, and quote the Secret that it looked at: only who refused is
/// passed on.
fn harmless(message: &str) -> String {
    let verdicts = ["denied request", "denied the request"];
    let end = verdicts.iter().filter_map(|verdict| message.find(verdict).map(|at| at + verdict.len())).min();
    let said = end.and_then(|end| message.get(..end)).unwrap_or(message);
    said.chars().take(MAX_MESSAGE).collect()
}

/// Characters of a secret in a row that make a quotation.
const QUOTATION: usize = 8;

fn quotes(message: &str, secrets: &[Vec<u8>]) -> bool {
    let forms = secrets.iter().flat_map(|secret| {
        let base64 = serde_json::to_string(&ByteString(secret.clone())).unwrap_or_default();
        [secret.clone(), base64.trim_matches('"').as_bytes().to_vec()]
    });
    let mut forms = forms.filter(|form| form.len() >= QUOTATION);
    forms.any(|form| form.windows(QUOTATION).any(|part| message.as_bytes().windows(QUOTATION).any(|text| text == part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_quotes_the_secret_is_not_passed_on() {
        let message = "admission webhook \"w\" denied the request: {\"token\":\"c2VjcmV0LXRva2Vu\"}";
        assert_eq!(harmless(message), "admission webhook \"w\" denied the request");
        let policy =
            "secrets \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: secret-token";
        assert!(harmless(policy).ends_with("denied request"));
    }

    #[test]
    fn a_part_of_a_secret_is_a_quotation_too() {
        let secrets = [b"a-very-secret-token".to_vec()];
        let refused = |words: &str| StoreError::Refused(words.to_owned()).without(&secrets).to_string();
        for words in ["quota: a-very-s", "y-secret-to and more", "YS12ZXJ5LXNl"] {
            assert!(refused(words).contains("withheld"), "{words}");
        }
        assert!(refused("exceeded quota").contains("exceeded quota"));
    }
}
