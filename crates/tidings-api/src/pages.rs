//! The few pages the binary serves itself: what this is, the API's documentation, the sandbox mailbox.
//!
//! Own files only: nothing is loaded from elsewhere, no script or style stands in the markup.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Policy of the sandbox page. Mail is shown in a frame that may not run scripts and has no origin; it takes over
/// this policy, so its inline styles must be allowed here, and images from elsewhere are not loaded.
const SANDBOX_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'self'; frame-ancestors 'none'";

/// Routes of the pages and their files.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| async { html(include_str!("../assets/home.html")) }))
        .route(
            "/docs",
            get(|| async { html(include_str!("../assets/docs.html")) }),
        )
        .route("/sandbox", get(|| async { mailbox() }))
        .route(
            "/assets/pages.css",
            get(|| async { file("text/css", include_str!("../assets/pages.css")) }),
        )
        .route(
            "/assets/docs.js",
            get(|| async { file("text/javascript", include_str!("../assets/docs.js")) }),
        )
        .route(
            "/assets/sandbox.js",
            get(|| async { file("text/javascript", include_str!("../assets/sandbox.js")) }),
        )
}

fn html(page: &'static str) -> Response {
    file("text/html", page)
}

fn mailbox() -> Response {
    let mut response = html(include_str!("../assets/sandbox.html"));
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(SANDBOX_POLICY),
    );
    response
}

fn file(media_type: &'static str, content: &'static str) -> Response {
    let media_type = format!("{media_type}; charset=utf-8");
    (
        [
            (header::CONTENT_TYPE, media_type),
            (header::CACHE_CONTROL, "no-cache".to_owned()),
        ],
        content,
    )
        .into_response()
}
