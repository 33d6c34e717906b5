//! The token Secret as it was found or is to be written: an access token, its expiry and a state, and never a refresh token.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    api::{TokenState, names::token_secret},
    domain::{ledger::record::Data, token::AccessToken},
};

/// All keys that a token Secret may have.
pub const KEYS: [&str; 6] = [
    token_secret::ACCESS_TOKEN,
    token_secret::TOKEN_TYPE,
    token_secret::EXPIRES_AT,
    token_secret::REFRESH_AT,
    token_secret::ROTATION,
    token_secret::STATE,
];

/// What the token Secret says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// The access token, where there is one.
    pub access: Option<Access>,
    /// Successful refreshes so far.
    pub rotation: u64,
    /// Why there is a token, or none.
    pub state: TokenState,
}

/// An access token as pods see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    pub token: AccessToken,
    pub token_type: String,
    /// When it ends, in whole seconds.
    pub expires_at: Timestamp,
    /// When its refresh is planned, in milliseconds; retries do not change it. None while the connection is suspended.
    pub refresh_at: Option<Timestamp>,
}

/// What was found in a token Secret of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Published {
    /// What it says; none if someone edited it beyond recognition.
    pub content: Option<Content>,
    /// Keys in it that are not ours.
    pub unknown_keys: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// The uid of the connection that owns it.
    pub owner: Option<String>,
    /// Whether another program wrote its data since we did: what it says then is not ours.
    pub is_edited: bool,
}

impl Published {
    /// From a Secret of ours.
    pub fn read(
        data: Data,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        owner: Option<String>,
    ) -> Self {
        let unknown_keys = data.keys().filter(|key| !KEYS.contains(&key.as_str())).cloned().collect();
        Self { content: Content::decode(data), unknown_keys, labels, annotations, owner, is_edited: false }
    }

    /// The access token that pods can use at this moment, if there is one.
    pub fn usable(&self, now: Timestamp) -> Option<&Access> {
        self.content.as_ref()?.access.as_ref().filter(|access| now < access.expires_at)
    }
}

impl Content {
    /// As the data of a Secret.
    pub fn encode(&self) -> Data {
        let mut data = Data::new();
        let mut put = |key: &str, value: String| data.insert(key.to_owned(), value.into_bytes());
        if let Some(access) = &self.access {
            put(token_secret::ACCESS_TOKEN, access.token.expose().to_owned());
            put(token_secret::TOKEN_TYPE, access.token_type.clone());
            put(token_secret::EXPIRES_AT, access.expires_at.to_string());
            if let Some(refresh_at) = access.refresh_at {
                put(token_secret::REFRESH_AT, refresh_at.to_string());
            }
        }
        put(token_secret::ROTATION, self.rotation.to_string());
        put(token_secret::STATE, self.state.to_string());
        data
    }

    /// What pods are notified of: the rotation, and the state where there is no usable token.
    pub fn mark(&self) -> String {
        match self.state {
            TokenState::Ready => self.rotation.to_string(),
            TokenState::Pending | TokenState::Expired | TokenState::ReauthRequired => {
                format!("{}-{}", self.rotation, self.state)
            }
        }
    }

    /// Which of our keys it does not have.
    pub fn absent_keys(&self) -> impl Iterator<Item = &'static str> + use<> {
        let present = self.encode();
        KEYS.into_iter().filter(move |key| !present.contains_key(*key))
    }

    /// From the data of a Secret, or the files of a mounted one; none if it is not what [`Content::encode`] writes.
    pub fn decode(mut data: Data) -> Option<Self> {
        let mut text = |key: &str| data.remove(key).map(String::from_utf8).transpose().ok();
        let token = text(token_secret::ACCESS_TOKEN)?;
        let (token_type, expires_at) = (text(token_secret::TOKEN_TYPE)?, text(token_secret::EXPIRES_AT)?);
        let refresh_at = text(token_secret::REFRESH_AT)?.map(|time| time.parse()).transpose().ok()?;
        let access = match (token, token_type, expires_at) {
            (Some(token), Some(token_type), Some(expires_at)) => {
                let (token, expires_at) = (AccessToken::new(token), expires_at.parse().ok()?);
                Some(Access { token, token_type, expires_at, refresh_at })
            }
            (None, None, None) if refresh_at.is_none() => None,
            _ => return None,
        };
        let rotation = text(token_secret::ROTATION)??.parse().ok()?;
        let state = text(token_secret::STATE)??.parse().ok()?;
        Some(Self { access, rotation, state })
    }

    /// One that says why there is no token.
    pub fn without_token(state: TokenState, rotation: u64) -> Self {
        Self { access: None, rotation, state }
    }

    /// The same, with the state that the time of day gives it.
    pub fn at(mut self, now: Timestamp) -> Self {
        if let Some(access) = &self.access {
            self.state = if now < access.expires_at { TokenState::Ready } else { TokenState::Expired };
        }
        self
    }
}
