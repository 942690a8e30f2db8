//! Suppressions: addresses that must not be written to.

use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds};
use crate::problem::{Answer, Problem};
use crate::words::{ChannelWord, SuppressionReasonWord};
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::{Address, Channel, SuppressionId};
use tidings_engine::store::suppressions::{self, NewSuppression, Suppression, SuppressionFilter};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_suppressions, add_suppression))
        .routes(routes!(lookup_suppressions))
        .routes(routes!(lift_suppression))
}

/// List suppressions
///
/// Newest first.
#[utoipa::path(get, path = "/v1/suppressions", tag = "suppressions", params(SuppressionQuery),
    responses((status = 200, description = "A page", body = Page<SuppressionView>)),
    security(("api_key" = ["contacts:read"])))]
async fn list_suppressions(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<SuppressionQuery>,
) -> Answer<Json<Page<SuppressionView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let filter = SuppressionFilter {
        channel: query.channel,
        reason: query.reason,
        address: None,
        with_lifted: query.with_lifted.unwrap_or(false),
    };
    let mut tx = state.tenant(&caller).tx().await?;
    let rows = suppressions::list(&mut tx, filter, bounds.after.map(SuppressionId), bounds.limit).await?;
    Ok(Json(
        Page::of(rows.items, rows.next.map(|id| id.0)).map(SuppressionView::from),
    ))
}

/// Suppress an address
///
/// In force for every dispatch that begins after the answer, for every contact that has the address.
#[utoipa::path(post, path = "/v1/suppressions", tag = "suppressions", request_body = SuppressionBody,
    responses((status = 201, description = "In force", body = SuppressionView), (status = 200, description = "Was in force", body = SuppressionView)),
    security(("api_key" = ["contacts:write"])))]
async fn add_suppression(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<SuppressionBody>,
) -> Answer<(StatusCode, Json<SuppressionView>)> {
    let address = input.checked(state.default_region(&caller).await?.as_deref())?;
    let mut tx = state.tenant(&caller).tx().await?;
    let blind_index = tx
        .keyring()
        .tenant_key(&mut tx, caller.tenant)
        .await?
        .blind_index(&address);
    let new = NewSuppression {
        tenant: caller.tenant,
        channel: input.channel,
        blind_index,
        reason: SuppressionReason::Manual,
        source: caller.actor(),
        detail: input.detail,
    };
    let added = suppressions::add(&mut tx, &[new], &mut state.dice(), state.now()).await?;
    let filter = SuppressionFilter {
        channel: Some(input.channel),
        reason: Some(SuppressionReason::Manual),
        address: Some(blind_index),
        with_lifted: false,
    };
    let found = suppressions::list(&mut tx, filter, None, 1)
        .await?
        .items
        .pop()
        .ok_or_else(Problem::internal)?;
    tx.commit().await?;
    let status = if added > 0 {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(found.into())))
}

/// Find suppressions of an address
#[utoipa::path(post, path = "/v1/suppressions/lookup", tag = "suppressions", request_body = SuppressionLookup,
    responses((status = 200, description = "Those found, lifted ones too", body = Page<SuppressionView>)),
    security(("api_key" = ["contacts:read"])))]
async fn lookup_suppressions(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<SuppressionLookup>,
) -> Answer<Json<Page<SuppressionView>>> {
    let region = state.default_region(&caller).await?;
    let mut checks = Checks::default();
    let address = checks.address("/value", input.channel, &input.value, region.as_deref());
    checks.finish()?;
    let address = address.ok_or_else(Problem::internal)?;
    let mut tx = state.tenant(&caller).tx().await?;
    let blind_index = tx
        .keyring()
        .tenant_key(&mut tx, caller.tenant)
        .await?
        .blind_index(&address);
    let filter = SuppressionFilter {
        address: Some(blind_index),
        with_lifted: true,
        ..SuppressionFilter::default()
    };
    let rows = suppressions::list(&mut tx, filter, None, crate::page::LIMIT_MAX).await?;
    Ok(Json(
        Page::of(rows.items, None::<Uuid>).map(SuppressionView::from),
    ))
}

/// Lift a suppression
///
/// The address may be written to again, if nothing else stands against it.
#[utoipa::path(post, path = "/v1/suppressions/{suppression_id}/lift", tag = "suppressions",
    params(("suppression_id" = Uuid, Path, description = "The suppression")),
    responses((status = 204, description = "Lifted")),
    security(("api_key" = ["contacts:write"])))]
async fn lift_suppression(
    caller: Caller,
    State(state): State<ApiState>,
    Path(suppression): Path<Uuid>,
) -> Answer<StatusCode> {
    let mut tx = state.tenant(&caller).tx().await?;
    suppressions::lift(&mut tx, SuppressionId(suppression), &caller.actor(), state.now()).await?;
    state
        .audit(&mut tx, &caller, "suppression.lifted", suppression.to_string())
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An address to suppress.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"channel": "email", "value": "ann@example.com", "detail": "asked by phone call"}))]
pub struct SuppressionBody {
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

impl SuppressionBody {
    fn checked(&self, region: Option<&str>) -> Answer<Address> {
        let mut checks = Checks::default();
        let address = checks.address("/value", self.channel, &self.value, region);
        checks.optional_text("/detail", self.detail.as_deref(), 1, 64);
        checks.finish()?;
        address.ok_or_else(Problem::internal)
    }
}

/// The address to look for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"channel": "email", "value": "ann@example.com"}))]
pub struct SuppressionLookup {
    /// Any channel of its kind.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// The address.
    #[schema(min_length = 3, max_length = 254)]
    pub value: String,
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
    /// Ends by itself then; null: stays until it is lifted.
    pub expires_at: Option<Timestamp>,
    /// Lifted since then; null while in force.
    pub lifted_at: Option<Timestamp>,
    /// Who lifted it.
    pub lifted_by: Option<String>,
    /// Contacts that have the address.
    pub contact_ids: Vec<Uuid>,
}

impl From<Suppression> for SuppressionView {
    fn from(suppression: Suppression) -> Self {
        Self {
            id: suppression.id.0,
            channel: suppression.channel,
            reason: suppression.reason,
            source: suppression.source,
            detail: suppression.detail,
            created_at: suppression.created_at,
            expires_at: suppression.expires_at,
            lifted_at: suppression.lifted_at,
            lifted_by: suppression.lifted_by,
            contact_ids: suppression
                .contacts
                .into_iter()
                .map(|contact| contact.0)
                .collect(),
        }
    }
}

/// Which suppressions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SuppressionQuery {
    /// Only on this channel.
    #[param(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// Only for this reason.
    #[param(value_type = Option<SuppressionReasonWord>)]
    pub reason: Option<SuppressionReason>,
    /// Lifted ones too.
    pub with_lifted: Option<bool>,
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
