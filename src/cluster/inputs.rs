//! Secrets that users write, as values: the client's credentials, and the token in an initial grant. An error says what to
//! write instead, and never shows the value.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::{
    api::names,
    domain::{
        snapshot::{InitialGrant, InitialToken, Sharing},
        spec::InitialGrantRef,
        token::{ClientCredentials, ClientSecret, InvalidInput, RefreshToken, read_input},
    },
};

/// The client as registered with the server.
///
/// # Errors
/// Why there is none, and what to do.
pub fn credentials(secret: Option<&Secret>, name: &str) -> Result<ClientCredentials, String> {
    let (id_key, secret_key) = (names::CLIENT_ID_KEY, names::CLIENT_SECRET_KEY);
    let secret = opaque(secret, name, "the keys client_id and client_secret")?;
    let bad = |key: &str, why: InvalidInput| format!("{key} in the Secret {name} {why}: write it again");
    let id = value(secret, id_key).ok_or_else(|| format!("the Secret {name} has no key {id_key}: add it"))?;
    let id = id.map_err(|why| bad(id_key, why))?.to_owned();
    let secret = value(secret, secret_key).transpose().map_err(|why| bad(secret_key, why))?;
    Ok(ClientCredentials { id, secret: secret.map(ClientSecret::new) })
}

/// The refresh token of an authorization.
pub fn initial_token(secret: Option<&Secret>, reference: &InitialGrantRef) -> InitialGrant {
    let InitialGrantRef { secret: name, key, keep: _ } = reference;
    let secret = match opaque(secret, name, &format!("a refresh token under the key {key}")) {
        Ok(secret) => secret,
        Err(why) => return InitialGrant::Missing(why),
    };
    match value(secret, key) {
        None => InitialGrant::Missing(format!("the Secret {name} has no key {key}: put a refresh token there")),
        Some(Err(why)) => InitialGrant::Invalid(format!(
            "the value of {key} in the Secret {name} {why}: store the refresh token there exactly as it was received"
        )),
        Some(Ok(text)) => {
            let token = RefreshToken::new(text);
            InitialGrant::Present(InitialToken {
                fingerprint: token.fingerprint(),
                version: secret.resource_version().unwrap_or_default(),
                copied: is_copied(secret, key, text),
                sharing: Sharing::Alone,
                token,
            })
        }
    }
}

/// Whether the copy that `kubectl apply` keeps of what was applied holds the token, plain or in base64. The copy is read, not
/// searched: Go escapes `<`, `>` and `&` in JSON, others do not. One that cannot be read is taken to hold it.
fn is_copied(secret: &Secret, key: &str, text: &str) -> bool {
    let Some(copy) = secret.annotations().get(names::LAST_APPLIED_ANNOTATION) else { return false };
    let Ok(copy) = serde_json::from_str::<Secret>(copy) else { return true };
    let same = |value: &String| read_input(value.as_bytes()) == Ok(text);
    copy.string_data.is_some_and(|data| data.get(key).is_some_and(same))
        || copy.data.is_some_and(|data| data.get(key).is_some_and(|value| read_input(&value.0) == Ok(text)))
}

/// Secrets that people write are read only if they are of type `Opaque`: no service account's token, no grant of ours.
fn opaque<'a>(secret: Option<&'a Secret>, name: &str, holds: &str) -> Result<&'a Secret, String> {
    let secret = secret.ok_or_else(|| format!("there is no Secret {name}: create it, of type Opaque, with {holds}"))?;
    match secret.type_.as_deref() {
        Some(names::OPAQUE_SECRET_TYPE) => Ok(secret),
        other => Err(format!(
            "the Secret {name} is of type {}, and only Opaque ones are read: delete it and create it with {holds}",
            other.unwrap_or("unknown")
        )),
    }
}

fn value<'a>(secret: &'a Secret, key: &str) -> Option<Result<&'a str, InvalidInput>> {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|value| read_input(&value.0))
}
