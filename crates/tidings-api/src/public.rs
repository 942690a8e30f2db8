//! Routes that strangers reach without a key: provider webhooks, tracking, unsubscribing, preference pages.
//!
//! Their authority is a signature or a sealed token; nothing here takes an API key.

use crate::ApiState;
use axum::Router;

/// The public routes.
pub(crate) fn router() -> Router<ApiState> {
    Router::new()
}
