//! The operations under `/v1`, one file a group.

pub mod api_keys;
pub mod connections;
pub mod contact_parts;
pub mod contacts;
pub mod dead_letters;
pub mod erasure;
pub mod history;
pub mod queue;
pub mod sandbox;
pub mod suppressions;
pub mod templates;
pub mod tenants;

use crate::ApiState;
use utoipa_axum::router::OpenApiRouter;

/// Every operation that takes an API key.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(history::router())
        .merge(contacts::router())
        .merge(contact_parts::router())
        .merge(erasure::router())
        .merge(suppressions::router())
        .merge(templates::router())
        .merge(connections::router())
        .merge(api_keys::router())
        .merge(tenants::router())
}
