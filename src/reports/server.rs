//! The port: `POST /v1/connections/NAMESPACE/NAME/rejections` with `{"proof": "…"}`, in plain HTTP within the cluster. No token comes in.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;

use super::{intake::Intake, limits::Target};
use crate::ports::Peer;

/// In bytes.
const MAX_BODY: usize = 1024;

#[derive(Deserialize)]
struct Report {
    /// [`crate::domain::possession::proof`]
    proof: String,
}

/// What clients can ask for.
pub fn router(intake: Arc<Intake>) -> Router {
    Router::new()
        .route("/v1/connections/{namespace}/{name}/rejections", post(report))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(intake)
}

/// The answer comes before the report is looked at, so that neither it nor its time shows anything.
async fn report(
    State(intake): State<Arc<Intake>>,
    Path((namespace, name)): Path<(String, String)>,
    Extension(Peer(source)): Extension<Peer>,
    Json(report): Json<Report>,
) -> Response {
    let target = Target { namespace, name };
    let Some(turn) = intake.admit(source, &target) else {
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "10")]).into_response();
    };
    tokio::spawn(async move {
        intake.take(&target, &report.proof).await;
        drop(turn);
    });
    StatusCode::ACCEPTED.into_response()
}
