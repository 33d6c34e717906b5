//! Which other program wrote to a Secret of ours: the API server records for each field which manager wrote it last. This reads
//! what was fetched anyway, and makes no request.

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry};
use kube::ResourceExt;

use crate::{api::names, domain::report::signal::Edit};

/// What was read, and who else wrote into it.
pub struct Seen<T> {
    pub what: T,
    /// The last one whose words still stand there.
    pub edit: Option<Edit>,
}

/// The last program other than this operator that wrote data into a Secret, since we did. What was there when we wrote last,
/// we had seen: our writes replace the version that was read. Labels and annotations are free for all.
pub(super) fn edit(secret: &Secret) -> Option<Edit> {
    // `.` is `data` itself, which stays with the program that created the Secret.
    let wrote_data = |entry: &&ManagedFieldsEntry| {
        let data = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:data")?.as_object());
        data.is_some_and(|keys| keys.keys().any(|key| key != "."))
    };
    let is_ours = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(names::OPERATOR);
    let time = |entry: &ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
    let (ours, others): (Vec<_>, Vec<_>) = secret.managed_fields().iter().filter(wrote_data).partition(is_ours);
    let we_wrote = ours.into_iter().map(time).max().flatten();
    let last = others.into_iter().filter(|entry| time(entry) >= we_wrote).max_by_key(|entry| time(entry))?;
    Some(Edit {
        secret: secret.name_any(),
        by: last.manager.clone().unwrap_or_default(),
        at: last.time.as_ref().map(|time| time.0),
    })
}
