//! Suppressions: addresses that must not be written to.

use crate::words::{ChannelWord, SuppressionReasonWord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::Channel;
use tidings_core::decide::facts::SuppressionReason;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// An address to suppress.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"channel": "email", "value": "ann@example.com", "detail": "asked by phone"}))]
pub struct NewSuppression {
    /// On which channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// The address.
    #[schema(min_length = 3, max_length = 254)]
    pub value: String,
    /// Why, for your records; no addresses.
    #[schema(max_length = 64)]
    pub detail: Option<String>,
}

/// A suppression. The address itself is not kept, only its keyed hash; look one up with `POST /v1/suppressions/lookup`.
#[derive(Serialize, ToSchema)]
pub struct SuppressionView {
    /// Its id.
    pub id: Uuid,
    /// On which channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Why.
    #[schema(value_type = SuppressionReasonWord)]
    pub reason: SuppressionReason,
    /// What entered it.
    pub source: String,
    /// A code of the cause.
    pub detail: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// Lifted since then; null while in force.
    pub lifted_at: Option<Timestamp>,
    /// Who lifted it.
    pub lifted_by: Option<String>,
}

/// Which suppressions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SuppressionQuery {
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
