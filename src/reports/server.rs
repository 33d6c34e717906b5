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
use tokio::sync::Semaphore;

use super::{intake::Intake, limits::Target};
use crate::ports::Peer;

/// In bytes.
const MAX_BODY: usize = 1024;
/// Reports that are looked at at the same time.
const AT_ONCE: usize = 16;

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
        .with_state((intake, Arc::new(Semaphore::new(AT_ONCE))))
}

type Shared = (Arc<Intake>, Arc<Semaphore>);

/// The answer comes before the report is looked at, so that neither it nor its time shows anything.
async fn report(
    State((intake, room)): State<Shared>,
    Path((namespace, name)): Path<(String, String)>,
    Extension(Peer(source)): Extension<Peer>,
    Json(report): Json<Report>,
) -> Response {
    let target = Target { namespace, name };
    let Ok(place) = room.try_acquire_owned() else { return too_many() };
    if !intake.admits(source, &target) {
        return too_many();
    }
    tokio::spawn(async move {
        intake.take(&target, &report.proof).await;
        drop(place);
    });
    StatusCode::ACCEPTED.into_response()
}

fn too_many() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "10")]).into_response()
}
