//! Tenants: for operators.

use crate::ApiState;
use crate::auth::Operator;
use crate::check::Checks;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds};
use crate::problem::Answer;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::TenantId;
use tidings_core::decide::Policy;
use tidings_engine::store::StoreError;
use tidings_engine::store::tenants::{self, NewTenant, Tenant, TenantChanges, TenantSettings, TenantStatus};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_tenants, make_tenant))
        .routes(routes!(get_tenant, change_tenant))
}

/// List tenants
///
/// By slug.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", params(TenantQuery),
    responses((status = 200, description = "A page", body = Page<TenantView>)),
    security(("api_key" = ["tenants:admin"])))]
async fn list_tenants(
    _operator: Operator,
    State(state): State<ApiState>,
    Query(query): Query<TenantQuery>,
) -> Answer<Json<Page<TenantView>>> {
    let bounds = bounds::<String>(query.limit, query.cursor.as_deref())?;
    let mut connection = state.store().worker().acquire().await.map_err(StoreError::from)?;
    let rows = tenants::list(&mut connection, bounds.after.as_deref(), bounds.limit).await?;
    Ok(Json(Page::of(rows.items, rows.next).map(TenantView::from)))
}

/// Make a tenant
#[utoipa::path(post, path = "/v1/tenants", tag = "tenants", request_body = TenantBody,
    responses((status = 201, description = "Made", body = TenantView), (status = 409, description = "The slug is taken", body = crate::problem::Problem, content_type = "application/problem+json")),
    security(("api_key" = ["tenants:admin"])))]
async fn make_tenant(
    operator: Operator,
    State(state): State<ApiState>,
    Json(input): Json<TenantBody>,
) -> Answer<(StatusCode, Json<TenantView>)> {
    let now = state.now();
    let new = input.checked(TenantId(state.dice().uuid(now)))?;
    let mut connection = state.store().worker().acquire().await.map_err(StoreError::from)?;
    let tenant = tenants::create(&mut connection, state.store().keyring(), new, now).await?;
    state.audit_operator(&operator, "tenant.made", tenant.id).await?;
    Ok((StatusCode::CREATED, Json(tenant.into())))
}

/// Read a tenant
#[utoipa::path(get, path = "/v1/tenants/{tenant_id}", tag = "tenants",
    params(("tenant_id" = Uuid, Path, description = "The tenant")),
    responses((status = 200, description = "The tenant", body = TenantView)),
    security(("api_key" = ["tenants:admin"])))]
async fn get_tenant(
    _operator: Operator,
    State(state): State<ApiState>,
    Path(tenant): Path<Uuid>,
) -> Answer<Json<TenantView>> {
    let mut connection = state.store().worker().acquire().await.map_err(StoreError::from)?;
    Ok(Json(
        tenants::get(&mut connection, TenantId(tenant)).await?.into(),
    ))
}

/// Change a tenant
#[utoipa::path(patch, path = "/v1/tenants/{tenant_id}", tag = "tenants", request_body = TenantChange,
    params(("tenant_id" = Uuid, Path, description = "The tenant")),
    responses((status = 200, description = "The tenant", body = TenantView)),
    security(("api_key" = ["tenants:admin"])))]
async fn change_tenant(
    operator: Operator,
    State(state): State<ApiState>,
    Path(tenant): Path<Uuid>,
    Json(change): Json<TenantChange>,
) -> Answer<Json<TenantView>> {
    let changes = change.checked()?;
    let mut connection = state.store().worker().acquire().await.map_err(StoreError::from)?;
    let tenant = tenants::update(&mut connection, TenantId(tenant), changes, state.now()).await?;
    state
        .audit_operator(&operator, "tenant.changed", tenant.id)
        .await?;
    Ok(Json(tenant.into()))
}

/// A tenant to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"slug": "weaver-kitchens", "name": "Weaver Kitchens", "policy": {"zone": "America/Chicago", "default_region": "US"}}))]
pub struct TenantBody {
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
    pub settings: Option<TenantSettings>,
}

impl TenantBody {
    fn checked(self, id: TenantId) -> Answer<NewTenant> {
        let mut checks = Checks::default();
        let form = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.slug.is_empty()
            || self.slug.len() > 63
            || self.slug.starts_with('-')
            || !self.slug.bytes().all(form)
        {
            checks.add(
                "/slug",
                "value.invalid",
                "1 to 63 lower-case letters, digits and hyphens; no hyphen first",
            );
        }
        checks.text("/name", &self.name, 1, 200);
        check_policy(&mut checks, self.policy.as_ref());
        checks.finish()?;
        let (policy, settings) = (self.policy.unwrap_or_default(), self.settings.unwrap_or_default());
        Ok(NewTenant {
            id,
            slug: self.slug,
            name: self.name,
            policy,
            settings,
        })
    }
}

fn check_policy(checks: &mut Checks, policy: Option<&Policy>) {
    if let Some(policy) = policy {
        checks.zone("/policy/zone", Some(&policy.zone));
        checks.country("/policy/default_region", policy.default_region.as_deref());
        for (field, problem) in policy.time_limits.problems() {
            let pointer = format!("/policy/time_limits/{}", field.replace('.', "/"));
            checks.add(pointer, "value.invalid", problem);
        }
    }
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
    pub status: Option<TenantStatusWord>,
    /// Replaces the policy as a whole.
    #[schema(value_type = Option<Object>)]
    pub policy: Option<Policy>,
    /// Replaces the settings as a whole.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<TenantSettings>,
}

impl TenantChange {
    fn checked(self) -> Answer<TenantChanges> {
        let mut checks = Checks::default();
        checks.optional_text("/name", self.name.as_deref(), 1, 200);
        check_policy(&mut checks, self.policy.as_ref());
        checks.finish()?;
        let status = self.status.map(TenantStatus::from);
        Ok(TenantChanges {
            name: self.name,
            status,
            policy: self.policy,
            settings: self.settings,
        })
    }
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

impl From<TenantStatusWord> for TenantStatus {
    fn from(word: TenantStatusWord) -> Self {
        match word {
            TenantStatusWord::Active => Self::Active,
            TenantStatusWord::Suspended => Self::Suspended,
            TenantStatusWord::Closed => Self::Closed,
        }
    }
}

impl From<TenantStatus> for TenantStatusWord {
    fn from(status: TenantStatus) -> Self {
        match status {
            TenantStatus::Active => Self::Active,
            TenantStatus::Suspended => Self::Suspended,
            TenantStatus::Closed => Self::Closed,
        }
    }
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

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id.0,
            slug: tenant.slug,
            name: tenant.name,
            status: tenant.status.into(),
            policy: serde_json::to_value(&tenant.policy).unwrap_or_default(),
            settings: serde_json::to_value(&tenant.settings).unwrap_or_default(),
            created_at: tenant.created_at,
            updated_at: tenant.updated_at,
        }
    }
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
