//! The HTTP face of Tidings: parse, authorise, call the engine, map the answer.
//!
//! [`router`] is the whole face: the operations under `/v1` (described by the OpenAPI document, which is also what the
//! authorisation is read from), the public routes of `public.rs`, health, figures and a few pages.

mod auth;
mod check;
pub mod extract;
mod failure;
mod health;
mod middleware;
mod openapi;
pub mod page;
mod pages;
pub mod problem;
pub mod public;
pub mod scope;
mod state;
pub mod v1;
pub mod words;

pub use auth::{Caller, Identity, Operator};
pub use middleware::describe_figures;
pub use state::{ApiSettings, ApiState, MetricsRenderer};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use problem::Problem;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

/// The largest body of most operations, in bytes.
pub const BODY_MAX: usize = 1024 * 1024;

/// The whole HTTP face. `process` begins the ids it gives to requests.
pub fn router(state: ApiState, process: &str) -> Router {
    let (operations, document) = described();
    state.keep_document(document_json(&document));
    let gate = auth::Gate::new(state.clone(), &document);
    Router::new()
        .merge(operations.route_layer(from_fn_with_state(gate, auth::authenticate)))
        .merge(health::router())
        .merge(pages::router())
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .merge(public::router(state.engine().clone()))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(CatchPanicLayer::custom(middleware::on_panic))
        .layer(from_fn(middleware::secure))
        .layer(from_fn_with_state(
            middleware::RequestIds::new(process),
            middleware::observe,
        ))
        .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION]))
        .with_state(state)
}

/// `/healthz`, `/readyz` and `/metrics` alone: for processes that answer nothing else, and for an address of their own.
pub fn watch_router(state: ApiState) -> Router {
    health::watching()
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(CatchPanicLayer::custom(middleware::on_panic))
        .layer(from_fn(middleware::secure))
        .with_state(state)
}

/// The OpenAPI 3.1 document as it is served and committed.
pub fn openapi_json() -> String {
    document_json(&described().1)
}

fn described() -> (Router<ApiState>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(v1::router())
        .split_for_parts();
    openapi::complete(&mut document);
    (router, document)
}

fn document_json(document: &utoipa::openapi::OpenApi) -> String {
    let mut json = document.to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

async fn no_route() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "route.unknown",
        "Not found",
        "there is no such path; /docs lists them",
    )
}

async fn no_method() -> Problem {
    let detail = "the path exists, but not with this method; the Allow header says which it takes";
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method.not_allowed",
        "Method not allowed",
        detail,
    )
}
