//! API keys of a tenant.

use crate::scope::ScopeWord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A key to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "web shop", "scopes": ["messages:write", "contacts:*"]}))]
pub struct NewApiKey {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do: never more than the key that makes it.
    #[schema(value_type = Vec<ScopeWord>, min_items = 1, max_items = 32)]
    pub scopes: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
pub struct ApiKeyView {
    /// Its id.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// The part of the key that may be shown.
    pub prefix: String,
    /// What it may do.
    #[schema(value_type = Vec<ScopeWord>)]
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// A key just made, with its secret: shown this once.
#[derive(Serialize, ToSchema)]
pub struct ApiKeyMade {
    /// The key to send as `Authorization: Bearer ...`. It is not kept and cannot be shown again.
    pub secret: String,
    /// The key.
    pub key: ApiKeyView,
}
