//! The part of the control path below `/connections`.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, Query, State},
    response::{IntoResponse, Json, Response},
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Answer, Control,
    problem::{Problem, checked_name, checked_script_name, read},
    scripts,
};
use crate::{
    authority::{Authority, Lifetimes},
    duration,
};

pub(super) fn router() -> Router<Control> {
    Router::new()
        .route("/connections", get(list))
        .route("/connections/{name}", get(show))
        .route("/connections/{name}/consent", post(consent))
        .route("/connections/{name}/revoke", post(revoke))
        .route("/connections/{name}/expire", post(expire))
        .route("/connections/{name}/reject-access", post(reject_access))
        .route("/connections/{name}/release", post(release))
        .route("/connections/{name}/lifetimes", put(set_lifetimes))
        .route("/connections/{name}/wait", get(wait))
        .merge(scripts::router())
}

async fn list(State(control): State<Control>) -> Answer {
    control.shared.read(|state| Ok(Json(json!({ "connections": state.authority.connections().collect::<Vec<_>>() }))))
}

#[derive(Deserialize)]
struct Show {
    tokens: Option<String>,
}

async fn show(State(control): State<Control>, Path(name): Path<String>, Query(show): Query<Show>) -> Answer {
    let now = control.shared.now();
    control.shared.read(|state| {
        known(&state.authority, &name)?;
        let mut shown = json!({
            "name": name,
            "now_ms": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            "lifetimes": state.authority.lifetimes(&name),
            "counters": state.authority.counters(&name),
            "families": state.authority.families(&name),
            "script": state.scripts.pending(&name),
            "introspection_script": state.introspections.pending(&name),
        });
        if show.tokens.as_deref() == Some("1")
            && let Some((refresh, access)) = state.authority.newest_tokens(&name)
            && let Some(object) = shown.as_object_mut()
        {
            object.insert("tokens".to_owned(), json!({ "refresh_token": refresh, "access_token": access }));
        }
        Ok(Json(shown))
    })
}

fn known(authority: &Authority, name: &str) -> Result<(), Problem> {
    if authority.connections().any(|known| known == name) {
        return Ok(());
    }
    let write = "POST /connections/NAME/consent first; GET /connections lists those that are there";
    Err(Problem::new(404, "nobody has consented to a connection of this name", write))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    client_id: Option<String>,
}

#[derive(Deserialize)]
struct Form {
    raw: Option<String>,
}

async fn consent(
    State(control): State<Control>,
    Path(name): Path<String>,
    Query(form): Query<Form>,
    body: String,
) -> Result<Response, Problem> {
    let name = checked_name(&name)?;
    let consent: Consent =
        if body.is_empty() { Consent::default() } else { read(&body, r#"nothing, or {"client_id": "…"}"#)? };
    let client_id = consent.client_id.as_deref();
    let token = control.shared.change(|state, now| {
        if let Some(client_id) = client_id
            && !state.authority.clients().any(|(id, _)| id == client_id)
        {
            return Err(Problem::new(404, "there is no such client", "PUT /clients/ID first"));
        }
        Ok(state.authority.consent(now, name, client_id))
    })?;
    Ok(if form.raw.as_deref() == Some("1") {
        token.into_response()
    } else {
        Json(json!({ "refresh_token": token })).into_response()
    })
}

async fn revoke(State(control): State<Control>, Path(name): Path<String>) -> Answer {
    control.shared.change(|state, _| {
        known(&state.authority, &name)?;
        state.authority.revoke(&name);
        Ok(Json(json!({ "revoked": name })))
    })
}

async fn expire(State(control): State<Control>, Path(name): Path<String>) -> Answer {
    control.shared.change(|state, now| {
        known(&state.authority, &name)?;
        state.authority.expire_refresh_tokens(now, &name);
        Ok(Json(json!({ "expired": name })))
    })
}

async fn reject_access(State(control): State<Control>, Path(name): Path<String>) -> Answer {
    control.shared.change(|state, now| {
        known(&state.authority, &name)?;
        state.authority.reject_access_tokens(now, &name);
        Ok(Json(json!({ "rejected": name })))
    })
}

async fn release(State(control): State<Control>, Path(name): Path<String>) -> Answer {
    let name = checked_script_name(&name)?;
    control.shared.release(name);
    Ok(Json(json!({ "released": name })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetLifetimes {
    access: Option<String>,
    refresh: Option<String>,
}

async fn set_lifetimes(State(control): State<Control>, Path(name): Path<String>, body: String) -> Answer {
    const WRITE: &str = r#"{"access": "20s", "refresh": "1440h"}; either may be left out"#;
    let name = checked_name(&name)?;
    let wanted: SetLifetimes = read(&body, WRITE)?;
    let parse = |text: Option<String>| text.map(|text| duration::parse(&text)).transpose();
    let access = parse(wanted.access).map_err(|error| Problem::bad(error, WRITE))?;
    let refresh = parse(wanted.refresh).map_err(|error| Problem::bad(error, WRITE))?;
    control.shared.change(|state, _| {
        let now = state.authority.lifetimes(name);
        let lifetimes = Lifetimes { access: access.unwrap_or(now.access), refresh: refresh.unwrap_or(now.refresh) };
        state.authority.set_lifetimes(name, lifetimes);
        Ok(Json(json!({ "lifetimes": lifetimes })))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    exchanges: Option<u64>,
    rotations: Option<u64>,
    timeout: Option<String>,
}

async fn wait(State(control): State<Control>, Path(name): Path<String>, Query(wait): Query<Wait>) -> Answer {
    const WRITE: &str = "?rotations=3&timeout=10s; `exchanges` counts finished ones, of either result";
    let name = checked_name(&name)?;
    let timeout = wait.timeout.as_deref().map_or(Ok(Duration::from_secs(30)), duration::parse);
    let timeout = timeout.map_err(|error| Problem::bad(error, WRITE))?;
    if wait.exchanges.is_none() && wait.rotations.is_none() {
        return Err(Problem::bad("what is to be waited for is not said", WRITE));
    }
    let wanted = |authority: &Authority| {
        let finished = u64::try_from(authority.finished(name)).unwrap_or(u64::MAX);
        finished >= wait.exchanges.unwrap_or(0) && authority.counters(name).rotations >= wait.rotations.unwrap_or(0)
    };
    let result = control.shared.until(timeout, wanted).await;
    result.map_err(|timeout| Problem::new(408, timeout.to_string(), "a longer timeout"))?;
    control.shared.read(|state| Ok(Json(json!({ "counters": state.authority.counters(name) }))))
}
