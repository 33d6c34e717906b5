//! What a webhook receives: that a user must authorize, and that the connection recovered. A CloudEvent (CloudEvents 1.0,
//! structured mode, JSON), without a secret and without the link.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{ConditionStatus, ConditionType, PleoConnectionStatus},
    domain::spec::ResolvedSpec,
};

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// A user must authorize (again).
    ReauthRequired,
    Recovered,
}

/// Something that others hear of at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: NoticeKind,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The reason of `ReauthRequired`.
    pub reason: String,
    pub message: String,
    pub at: Timestamp,
}

/// The notice that a step from one status to the next asks for.
pub fn notice(
    spec: &ResolvedSpec,
    before: &PleoConnectionStatus,
    after: &PleoConnectionStatus,
    now: Timestamp,
) -> Option<Notice> {
    let find = |status: &PleoConnectionStatus| status.condition(ConditionType::ReauthRequired).cloned();
    let (before, after) = (find(before), find(after)?);
    let is_news = before.is_none_or(|before| before.status != after.status || before.reason != after.reason);
    let kind = match ConditionStatus::of(&after) {
        ConditionStatus::True => NoticeKind::ReauthRequired,
        ConditionStatus::False => NoticeKind::Recovered,
        // A grant that is being tried: soon there is something to report.
        ConditionStatus::Unknown => return None,
    };
    is_news.then(|| Notice {
        kind,
        namespace: spec.namespace.clone(),
        name: spec.name.clone(),
        uid: spec.uid.clone(),
        reason: after.reason,
        message: after.message,
        at: now,
    })
}

impl Notice {
    /// One of its kind: a receiver that gets it twice can see that.
    pub fn id(&self) -> String {
        format!("{}-{:x}", self.uid, self.at.as_nanosecond())
    }

    /// The CloudEvent.
    pub fn event(&self) -> Value {
        let Self { kind, namespace, name, uid, reason, message, at } = self;
        let about = match kind {
            NoticeKind::ReauthRequired => "io.pleo.connection.reauth-required",
            NoticeKind::Recovered => "io.pleo.connection.recovered",
        };
        json!({
            "specversion": "1.0",
            "type": about,
            "source": format!("/apis/pleo.io/v1alpha1/namespaces/{namespace}/pleoconnections/{name}"),
            "subject": format!("{namespace}/{name}"),
            "id": self.id(),
            "time": at.to_string(),
            "datacontenttype": "application/json",
            "data": {
                "namespace": namespace,
                "name": name,
                "uid": uid,
                "reason": reason,
                "message": message,
            },
        })
    }
}
