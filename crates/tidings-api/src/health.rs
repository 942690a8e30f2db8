//! Whether the process lives and can work, and its figures.

use crate::ApiState;
use crate::problem::{Answer, Problem};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// Routes that need no key and show no tenant's data.
pub(crate) fn router() -> Router<ApiState> {
    watching().route("/openapi.json", get(document))
}

/// What whoever watches a process asks for.
pub(crate) fn watching() -> Router<ApiState> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// The process lives. Says nothing about the database, so that an outage there does not restart every node.
async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// The node can work: the database answers and is migrated, and sending is not fenced.
async fn readyz(State(state): State<ApiState>) -> Answer<Json<Value>> {
    let readiness = state.readiness().await?;
    if readiness.pending_migrations > 0 {
        let detail = format!(
            "the database lacks {} migrations; run: tidings migrate",
            readiness.pending_migrations
        );
        return Err(Problem::unavailable("database.unmigrated", detail, 10));
    }
    if let Some(reason) = readiness.fenced {
        let detail = format!("sending is fenced: {reason}; an operator lifts it with: tidings queue unfence");
        return Err(Problem::unavailable("queue.fenced", detail, 60));
    }
    Ok(Json(
        json!({"status": "ready", "database": "reachable", "migrations": "applied", "sending": "open"}),
    ))
}

/// Prometheus text.
async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics(),
    )
}

async fn document(State(state): State<ApiState>) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        state.document(),
    )
}
