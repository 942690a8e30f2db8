//! The operations under `/v1`, one file a group.

pub mod alert_settings;
pub mod alerts;
pub mod analytics;
pub mod api_keys;
pub mod approvals;
pub mod campaigns;
pub mod compatibility;
pub mod connection_standing;
pub mod connections;
pub mod contact_parts;
pub mod contacts;
pub mod dead_letters;
pub mod erasure;
pub mod history;
pub mod inbound_messages;
pub mod messages;
pub mod queue;
pub mod sandbox;
pub mod story;
pub mod suppressions;
pub mod template_preview;
pub mod templates;
pub mod tenants;
pub mod whatsapp_templates;

use crate::ApiState;
use utoipa_axum::router::OpenApiRouter;

/// Every operation that takes an API key.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(messages::router())
        .merge(inbound_messages::router())
        .merge(approvals::router())
        .merge(campaigns::router())
        .merge(history::router())
        .merge(story::router())
        .merge(contacts::router())
        .merge(contact_parts::router())
        .merge(erasure::router())
        .merge(suppressions::router())
        .merge(template_preview::router())
        .merge(templates::router())
        .merge(connection_standing::router())
        .merge(connections::router())
        .merge(alerts::router())
        .merge(alert_settings::router())
        .merge(analytics::router())
        .merge(queue::router())
        .merge(dead_letters::router())
        .merge(sandbox::router())
        .merge(api_keys::router())
        .merge(tenants::router())
        .merge(compatibility::router())
}
