//! The API server's audit log: which requests it answered, for whom, and how.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, file};

/// A request that the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// What was asked: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The API group, empty for the core one.
    pub group: String,
    /// The plural name of the resource, such as `secrets`.
    pub resource: String,
    /// Such as `status`, or empty.
    pub subresource: String,
    /// Empty for resources of the whole cluster.
    pub namespace: String,
    /// Empty where a request has none: list, watch, deletecollection, and create with a generated name.
    pub name: String,
    /// For whom it was judged: the user taken on, where somebody acted as somebody else.
    pub user: String,
    /// The program that asked, as it names itself.
    pub user_agent: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// A request that asks for a change.
pub type Write = Request;

impl Request {
    /// Whether it asks for a change, allowed or not.
    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<Object>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

impl Event {
    /// None for what is no resource, such as a version or the API's description.
    fn request(self) -> Option<Request> {
        let object = self.object_ref?;
        Some(Request {
            verb: self.verb,
            group: object.api_group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            user: self.impersonated_user.unwrap_or(self.user).username,
            user_agent: self.user_agent,
            code: self.response_status.map_or(0, |status| status.code),
        })
    }
}

/// All requests in the log, in the order in which they were answered.
pub(crate) fn read(log: &Path) -> Result<Vec<Request>, Error> {
    let text = fs::read_to_string(log).map_err(file("read", log))?;
    let complete = text.rsplit_once('\n').map_or("", |(complete, _being_written)| complete);
    let mut requests = Vec::new();
    for line in complete.lines() {
        let event: Event = serde_json::from_str(line).map_err(|source| Error::Audit {
            path: log.into(),
            line: line.into(),
            source,
        })?;
        requests.extend(event.request());
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Request> {
        serde_json::from_str::<Event>(line).unwrap().request()
    }

    #[test]
    fn the_user_is_the_one_taken_on() {
        let request = parse(
            r#"{"verb":"update","user":{"username":"admin"},"impersonatedUser":{"username":"ann"},
                "userAgent":"a/1","objectRef":{"resource":"pods","subresource":"status","name":"p"},
                "responseStatus":{"code":403}}"#,
        )
        .unwrap();
        assert_eq!((request.user.as_str(), request.code), ("ann", 403));
        assert!(request.is_write());
    }

    #[test]
    fn what_is_no_resource_is_left_out() {
        assert_eq!(parse(r#"{"verb":"get","user":{"username":"admin"}}"#), None);
    }

    #[test]
    fn a_line_that_is_being_written_is_left_for_later() {
        let log = std::env::temp_dir().join(format!("pleo-testbed-audit-{}", std::process::id()));
        let line = r#"{"verb":"get","user":{},"objectRef":{"resource":"pods"}}"#;
        fs::write(&log, format!("{line}\n{line}\n{{\"verb\":")).unwrap();
        let requests = read(&log);
        fs::remove_file(&log).unwrap();
        assert_eq!(requests.unwrap().len(), 2);
    }
}
