//! Messages that wait for a person's yes.

use super::messages::ContentBody;
use crate::ApiState;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds};
use crate::problem::{Answer, Problem};
use crate::words::{CategoryWord, ChannelWord, UrgencyWord};
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::redact::Private;
use tidings_core::{Category, Channel, MessageId, MessageType, Urgency};
use tidings_engine::store::messages::read;
use tidings_engine::{ApprovalEdit, ApprovalTold, DirectContent, WaitingPreview};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_approvals))
        .routes(routes!(preview_approval))
        .routes(routes!(approve_message))
        .routes(routes!(edit_message))
        .routes(routes!(reject_message))
}

/// List messages that wait for a yes
///
/// The oldest first.
#[utoipa::path(get, path = "/v1/approvals", tag = "approvals", params(ApprovalQuery),
    responses((status = 200, description = "A page", body = Page<ApprovalView>)),
    security(("api_key" = ["messages:read"])))]
async fn list_approvals(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<ApprovalQuery>,
) -> Answer<Json<Page<ApprovalView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let after = bounds.after.map(MessageId);
    let page = state
        .engine()
        .approvals(caller.tenant, after, bounds.limit)
        .await?;
    let page = Page::of(page.items, page.next.map(|message| message.0));
    Ok(Json(page.map(ApprovalView::from)))
}

/// See what a waiting message would say
#[utoipa::path(get, path = "/v1/approvals/{message_id}", tag = "approvals",
    params(("message_id" = Uuid, Path, description = "The message")),
    responses((status = 200, description = "The message, on every channel it can go by", body = PreviewView), (status = 409, description = "It does not wait for approval", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["messages:read"])))]
async fn preview_approval(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
) -> Answer<Json<PreviewView>> {
    known(&caller, &state, message).await?;
    let preview = state
        .engine()
        .preview_waiting(caller.tenant, MessageId(message))
        .await?;
    Ok(Json(PreviewView::from(preview)))
}

/// Approve a message
///
/// The rules are asked again as of now.
#[utoipa::path(post, path = "/v1/approvals/{message_id}/approve", tag = "approvals",
    params(("message_id" = Uuid, Path, description = "The message")),
    responses((status = 200, description = "What the rules said", body = Object), (status = 409, description = "It does not wait for approval", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["messages:write"])))]
async fn approve_message(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
) -> Answer<Json<Value>> {
    known(&caller, &state, message).await?;
    let verdict = state.engine().approve(caller.tenant, MessageId(message)).await?;
    Ok(Json(serde_json::to_value(verdict).unwrap_or_default()))
}

/// Approve a message with other words
///
/// What cannot be rendered changes nothing.
#[utoipa::path(post, path = "/v1/approvals/{message_id}/edit", tag = "approvals", request_body = EditBody,
    params(("message_id" = Uuid, Path, description = "The message")),
    responses((status = 200, description = "What the rules said", body = Object), (status = 409, description = "It does not wait for approval, or the edit cannot be rendered", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["messages:write"])))]
async fn edit_message(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
    Json(body): Json<EditBody>,
) -> Answer<Json<Value>> {
    known(&caller, &state, message).await?;
    let edit = match (body.context, body.content) {
        (Some(context), None) => ApprovalEdit::Context(Private::new(context)),
        (None, Some(content)) => ApprovalEdit::Content(DirectContent::from(content)),
        _ => {
            return Err(Problem::invalid_field(
                "#/context",
                "value.invalid",
                "either context or content".to_owned(),
            ));
        }
    };
    let verdict = state
        .engine()
        .approve_edited(caller.tenant, MessageId(message), edit)
        .await?;
    Ok(Json(serde_json::to_value(verdict).unwrap_or_default()))
}

/// Reject a message
///
/// It is cancelled.
#[utoipa::path(post, path = "/v1/approvals/{message_id}/reject", tag = "approvals",
    params(("message_id" = Uuid, Path, description = "The message")),
    responses((status = 204, description = "Cancelled"), (status = 409, description = "It does not wait for approval", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["messages:write"])))]
async fn reject_message(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
) -> Answer<StatusCode> {
    known(&caller, &state, message).await?;
    state.engine().refuse(caller.tenant, MessageId(message)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A message of another tenant is as unknown as one that never was.
async fn known(caller: &Caller, state: &ApiState, message: Uuid) -> Answer<()> {
    let mut tx = state.tenant(caller).tx().await?;
    let row = read::get(&mut tx, caller.tenant, MessageId(message)).await?;
    row.map(drop).ok_or_else(|| Problem::not_found("message"))
}

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApprovalQuery {
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// What is changed; exactly one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"context": {"customer_name": "Ann"}}))]
pub struct EditBody {
    /// Other values for the template's variables; `null` takes one out, those not named stay.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub context: Option<Map<String, Value>>,
    /// A text instead of the template.
    pub content: Option<ContentBody>,
}

/// A message that waits for a yes.
#[derive(Serialize, ToSchema)]
pub struct ApprovalView {
    /// The message.
    pub message_id: Uuid,
    /// To whom.
    pub contact_id: Uuid,
    /// Its type.
    #[schema(value_type = String)]
    pub message_type: MessageType,
    /// Its category.
    #[schema(value_type = CategoryWord)]
    pub category: Category,
    /// Its urgency.
    #[schema(value_type = UrgencyWord)]
    pub urgency: Urgency,
    /// The caller's reference; tells the campaign.
    pub source_reference: Option<String>,
    /// Since when.
    pub accepted_at: Timestamp,
    /// Until when; then it is cancelled.
    pub expires_at: Option<Timestamp>,
}

impl From<ApprovalTold> for ApprovalView {
    fn from(told: ApprovalTold) -> Self {
        Self {
            message_id: told.message_id.0,
            contact_id: told.contact_id.0,
            message_type: told.message_type,
            category: told.category,
            urgency: told.urgency,
            source_reference: told.source_reference,
            accepted_at: told.accepted_at,
            expires_at: told.expires_at,
        }
    }
}

/// What a waiting message would say.
#[derive(Serialize, ToSchema)]
pub struct PreviewView {
    /// The message.
    pub message: ApprovalView,
    /// The template's variables.
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// One entry a channel it can go by.
    pub contents: Vec<ChannelContentView>,
}

/// What it would say on a channel.
#[derive(Serialize, ToSchema)]
pub struct ChannelContentView {
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// The subject of an e-mail.
    pub subject: Option<String>,
    /// The text.
    pub text: String,
    /// The HTML of an e-mail.
    pub html: Option<String>,
}

impl From<WaitingPreview> for PreviewView {
    fn from(preview: WaitingPreview) -> Self {
        let contents = preview.contents.into_iter().map(|content| ChannelContentView {
            channel: content.channel,
            subject: content.subject,
            text: content.text,
            html: content.html,
        });
        Self {
            message: preview.message.into(),
            context: preview.context,
            contents: contents.collect(),
        }
    }
}
