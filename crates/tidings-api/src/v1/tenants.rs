//! Tenants: for operators.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::decide::Policy;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A tenant to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"slug": "weaver-kitchens", "name": "Weaver Kitchens", "policy": {"zone": "America/Chicago", "default_region": "US"}}))]
pub struct NewTenant {
    /// Short name: lower-case letters, digits and hyphens.
    #[schema(min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9-]*$")]
    pub slug: String,
    /// The company's name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// What the tenant wants of the rules; what is left out is the product's default.
    #[schema(value_type = Option<Object>)]
    pub policy: Option<Policy>,
    /// Branding, postal address, tracking switches.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Map<String, Value>>,
}

/// What to change about a tenant. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Weaver Kitchens Ltd"}))]
pub struct TenantChange {
    /// The company's name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// `active`, `suspended` (nothing is accepted or sent) or `closed`.
    #[schema(value_type = Option<String>)]
    pub status: Option<TenantStatusWord>,
    /// Replaces the policy as a whole.
    #[schema(value_type = Option<Object>)]
    pub policy: Option<Policy>,
    /// Replaces the settings as a whole.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Map<String, Value>>,
}

/// Whether a tenant is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatusWord {
    /// Served.
    Active,
    /// Nothing is accepted or sent.
    Suspended,
    /// Left.
    Closed,
}

/// A tenant.
#[derive(Serialize, ToSchema)]
pub struct TenantView {
    /// Its id; for `Tidings-Tenant`.
    pub id: Uuid,
    /// Short name.
    pub slug: String,
    /// The company's name.
    pub name: String,
    /// Whether it is served.
    pub status: TenantStatusWord,
    /// What it wants of the rules.
    #[schema(value_type = Object)]
    pub policy: Value,
    /// Branding, postal address, tracking switches.
    #[schema(value_type = Object)]
    pub settings: Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Which tenants to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TenantQuery {
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
