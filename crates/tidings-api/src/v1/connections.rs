//! Connections: accounts at providers.

use crate::words::{ChannelWord, ProviderWord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::{Channel, ProviderKind};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A connection to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "main mail", "provider": "smtp", "channel": "email",
    "settings": {"host": "mail.example.com", "port": 587, "from": "hello@example.com"},
    "credentials": {"username": "hello", "password": "..."}
}))]
pub struct NewConnection {
    /// Its name; unique within the tenant.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// The provider.
    #[schema(value_type = ProviderWord)]
    pub provider: ProviderKind,
    /// The channel it carries.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Sender identity, base URL, options; the fields stand with the provider's documentation. Nothing secret.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// Secrets. They are sealed, and never answered.
    #[schema(value_type = Option<Object>, write_only)]
    pub credentials: Option<Map<String, Value>>,
    /// Lower is tried first.
    #[serde(default)]
    #[schema(minimum = -1000, maximum = 1000)]
    pub priority: i32,
    /// Share among connections of the same priority.
    #[serde(default = "one")]
    #[schema(minimum = 0, maximum = 1000)]
    pub weight: i32,
    /// Off keeps it but sends nothing over it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Other than the provider's default.
    pub rate_limit: Option<RateLimitBody>,
}

fn yes() -> bool {
    true
}

fn one() -> i32 {
    1
}

/// At most `limit` messages in any `per_ms` milliseconds.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"limit": 100, "per_ms": 60000}))]
pub struct RateLimitBody {
    /// How many.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub limit: u32,
    /// In how many milliseconds.
    #[schema(minimum = 1, maximum = 86_400_000)]
    pub per_ms: u64,
}

/// What to change about a connection. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"enabled": false}))]
pub struct ConnectionChange {
    /// Its name.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// Replaces the settings as a whole.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Map<String, Value>>,
    /// Replaces the secrets as a whole.
    #[schema(value_type = Option<Object>, write_only)]
    pub credentials: Option<Map<String, Value>>,
    /// Lower is tried first.
    #[schema(minimum = -1000, maximum = 1000)]
    pub priority: Option<i32>,
    /// Share among connections of the same priority.
    #[schema(minimum = 0, maximum = 1000)]
    pub weight: Option<i32>,
    /// Off keeps it but sends nothing over it.
    pub enabled: Option<bool>,
    /// Other than the provider's default; null for the default.
    #[serde(default, deserialize_with = "super::contacts::present")]
    #[schema(value_type = Option<RateLimitBody>)]
    pub rate_limit: Option<Option<RateLimitBody>>,
}

/// A connection, without its secrets.
#[derive(Serialize, ToSchema)]
pub struct ConnectionView {
    /// Its id; part of its webhook's address, `/webhooks/{provider}/{id}`.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The provider.
    #[schema(value_type = ProviderWord)]
    pub provider: ProviderKind,
    /// The channel it carries.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Sender identity, base URL, options.
    #[schema(value_type = Object)]
    pub settings: Value,
    /// Whether secrets are kept for it.
    pub has_credentials: bool,
    /// Lower is tried first.
    pub priority: i32,
    /// Share among connections of the same priority.
    pub weight: i32,
    /// Whether it is used.
    pub enabled: bool,
    /// Other than the provider's default.
    pub rate_limit: Option<RateLimitBody>,
    /// `closed` (in use), `open` (broken, resting) or `half_open` (probing).
    pub breaker: String,
    /// Why the breaker opened.
    pub breaker_cause: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a test of a connection found.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"ok": true, "findings": ["connected to mail.example.com:587", "STARTTLS: TLS 1.3", "login accepted"]}))]
pub struct ConnectionTest {
    /// The credentials and endpoint work.
    pub ok: bool,
    /// What was tried and found.
    pub findings: Vec<String>,
}

/// Which connections to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConnectionQuery {
    /// Only this channel.
    #[param(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
}
