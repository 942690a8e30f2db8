//! Routes that strangers reach without a key: provider webhooks, the open pixel, click links, unsubscribing, preference pages.
//!
//! Their authority is a signature or a signed token; nothing here takes an API key, sets a cookie or asks for a login. Paths
//! hold tokens, so they are never logged: the middleware logs the route's template.

mod form;
mod html;
mod links;
mod preferences;
mod texts;
mod unsubscribe;
mod webhooks;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use tidings_engine::Engine;

/// The largest form a page takes, in bytes.
const FORM_MAX: usize = 64 * 1024;

/// The public routes over an engine.
pub fn router<S: Clone + Send + Sync + 'static>(engine: Engine) -> Router<S> {
    let hook = get(webhooks::take).post(webhooks::take);
    Router::new()
        .route("/t/o/{token}", get(links::pixel))
        .route("/t/c/{token}", get(links::click))
        .route("/u/{token}", get(unsubscribe::show).post(unsubscribe::act))
        .route("/p/{token}", get(preferences::show).post(preferences::act))
        .layer(DefaultBodyLimit::max(FORM_MAX))
        // Reads its own body, once the connection is known.
        .route("/webhooks/{provider}/{connection}", hook)
        .with_state(engine)
}
