//! The control path: what the Rust API can do, as JSON over plain HTTP on loopback, so that
//! `curl` needs neither a CA nor a client.

mod connections;
mod problem;
mod scripts;

use crate::authority::{Client, ExchangeRecord};
use crate::listener::Listener;
use crate::shared::Shared;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Json};
use axum::routing::{get, post, put};
use problem::{Problem, checked_id, read};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the control path works on.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) ca_pem: Arc<str>,
}

type Answer = Result<Json<Value>, Problem>;

impl Control {
    /// Begins to listen, and tells where.
    pub(crate) async fn serve(self, address: SocketAddr) -> io::Result<SocketAddr> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        let router = self.router();
        tokio::spawn(async move { axum::serve(socket, router).await });
        Ok(address)
    }

    fn router(self) -> Router {
        Router::new()
            .route("/", get(async || Json(json!({ "paths": problem::PATHS }))))
            .route("/ca.pem", get(ca))
            .route("/clients", get(clients))
            .route("/clients/{id}", put(set_client))
            .route("/exchanges", get(exchanges))
            .route("/calls", get(calls))
            .route("/tokens", get(tokens))
            .route("/outage", post(begin_outage).delete(end_outage))
            .merge(connections::router())
            .fallback(async || Problem::no_such_path())
            .method_not_allowed_fallback(async || Problem::no_such_method())
            .layer(axum::middleware::map_response(problem::reworded))
            .with_state(self)
    }
}

async fn ca(State(control): State<Control>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], control.ca_pem.to_string())
}

async fn clients(State(control): State<Control>) -> Answer {
    let clients: Vec<Value> = control.shared.read(|state| {
        let clients = state.authority.clients();
        clients
            .map(|(id, client)| {
                json!({
                    "id": id,
                    "public": client.secret.is_none(),
                    "authentications": client.authentications,
                    "redirect_uris": client.redirect_uris,
                })
            })
            .collect()
    });
    Ok(Json(json!({ "clients": clients })))
}

async fn set_client(State(control): State<Control>, Path(id): Path<String>, body: String) -> Answer {
    const WRITE: &str = r#"{"secret": "…", "authentications": ["body", "basic"], "redirect_uris": ["https://…"]}; a public client has no secret"#;
    let id = checked_id(&id)?;
    let client: Client = read(&body, WRITE)?;
    if client.authentications.is_empty() {
        return Err(Problem::bad("`authentications` is empty, so the client could never authenticate", WRITE));
    }
    control.shared.change(|state, _| state.authority.set_client(id, client));
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
struct Which {
    connection: Option<String>,
}

async fn exchanges(State(control): State<Control>, Query(which): Query<Which>) -> Answer {
    control.shared.read(|state| {
        let wanted = |record: &&ExchangeRecord| which.connection.is_none() || record.connection == which.connection;
        let exchanges: Vec<_> = state.authority.exchanges().iter().filter(wanted).collect();
        Ok(Json(json!({ "exchanges": exchanges, "malformed_requests": state.authority.malformed_requests() })))
    })
}

async fn calls(State(control): State<Control>) -> Answer {
    control.shared.read(|state| Ok(Json(json!(state.calls))))
}

async fn tokens(State(control): State<Control>) -> Answer {
    control.shared.read(|state| Ok(Json(json!({ "tokens": state.authority.issued_tokens() }))))
}

async fn begin_outage(State(control): State<Control>) -> Answer {
    control.listener.pause().await;
    Ok(Json(json!({ "outage": true })))
}

async fn end_outage(State(control): State<Control>) -> Answer {
    control.listener.resume().await.map_err(|error| {
        Problem::new(
            409,
            format!("the port {} cannot be listened on: {error}", control.listener.address().port()),
            "the same again once the port is free",
        )
    })?;
    Ok(Json(json!({ "outage": false })))
}
