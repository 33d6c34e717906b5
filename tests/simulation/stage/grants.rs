//! Grant Secrets as the operator itself reads them.

use base64::prelude::{BASE64_STANDARD, Engine};
use pleo_operator::domain::{
    ledger::record,
    snapshot::{GrantSecret, Versioned},
};
use serde_json::Value;

/// The grant in a Secret, whosever it is.
pub fn read(secret: &Value) -> GrantSecret {
    let data = secret["data"].as_object().into_iter().flatten();
    let decoded = |(key, value): (&String, &Value)| {
        (key.clone(), BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).unwrap())
    };
    let version = secret["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    match record::decode(data.map(decoded).collect()) {
        Ok(value) => GrantSecret::Ours(Versioned { value, version }),
        Err(why) => GrantSecret::Unreadable(why),
    }
}
