//! Who else wrote into a Secret of ours: the API server notes for each field which program wrote it last.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::{api::names, domain::signal::Edit};

/// What was read, and who else wrote into it.
pub struct Seen<T> {
    /// What stands there.
    pub what: T,
    /// The last one whose words still stand there.
    pub edit: Option<Edit>,
}

/// The last program other than this operator whose data stands in a Secret. Labels and annotations are free for all.
pub(super) fn edit(secret: &Secret) -> Option<Edit> {
    let others = secret.managed_fields().iter().filter(|entry| {
        let wrote_data = entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:data").is_some());
        wrote_data && entry.manager.as_deref() != Some(names::OPERATOR)
    });
    let last = others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    Some(Edit {
        secret: secret.name_any(),
        by: last.manager.clone().unwrap_or_default(),
        at: last.time.as_ref().map(|time| time.0),
    })
}
