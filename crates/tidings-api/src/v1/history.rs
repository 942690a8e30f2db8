//! What became of a message: the list, one, its timeline, and why.

use crate::ApiState;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds, page};
use crate::problem::{Answer, Problem};
use crate::words::{CategoryWord, ChannelWord, MessageStatusWord, UrgencyWord};
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::{Category, Channel, ContactId, MessageId, MessageStatus, MessageType, Urgency};
use tidings_engine::store::messages::dispatch::MessageRow;
use tidings_engine::store::messages::read::{self, MessageFilter};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_messages))
        .routes(routes!(get_message))
}

/// List messages
///
/// Newest first.
#[utoipa::path(get, path = "/v1/messages", tag = "messages", params(MessageQuery),
    responses((status = 200, description = "A page", body = Page<MessageView>)),
    security(("api_key" = ["messages:read"])))]
async fn list_messages(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<MessageQuery>,
) -> Answer<Json<Page<MessageView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let filter = MessageFilter {
        contact: query.contact.map(ContactId),
        status: query.status,
        message_type: query.message_type,
        source_reference: query.source_reference,
        channel: query.channel,
        since: query.since,
        below: bounds.after.map(MessageId),
        ..MessageFilter::default()
    };
    let mut tx = state.tenant(&caller).tx().await?;
    let rows = read::list(&mut tx, caller.tenant, &filter, i64::from(bounds.limit) + 1).await?;
    let page = page(rows, bounds.limit, |row| row.id.0);
    Ok(Json(page.map(MessageView::from)))
}

/// Read a message
#[utoipa::path(get, path = "/v1/messages/{message_id}", tag = "messages",
    params(("message_id" = Uuid, Path, description = "The message")),
    responses((status = 200, description = "The message", body = MessageView)),
    security(("api_key" = ["messages:read"])))]
async fn get_message(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
) -> Answer<Json<MessageView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let row = read::get(&mut tx, caller.tenant, MessageId(message)).await?;
    row.map(|row| Json(row.into()))
        .ok_or_else(|| Problem::not_found("message"))
}

/// Which messages to list, newest first.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MessageQuery {
    /// Only to this contact.
    pub contact: Option<Uuid>,
    /// Only with this status.
    #[param(value_type = Option<MessageStatusWord>)]
    pub status: Option<MessageStatus>,
    /// Only of this type.
    #[param(value_type = Option<String>)]
    pub message_type: Option<MessageType>,
    /// Only over this channel.
    #[param(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// Only with this source reference.
    pub source_reference: Option<String>,
    /// Only accepted at or after this instant.
    pub since: Option<Timestamp>,
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A message.
#[derive(Serialize, ToSchema)]
pub struct MessageView {
    /// Its id.
    pub id: Uuid,
    /// To whom.
    pub contact_id: Uuid,
    /// Its type.
    #[schema(value_type = String)]
    pub message_type: MessageType,
    /// What it is in law.
    #[schema(value_type = CategoryWord)]
    pub category: Category,
    /// How soon.
    #[schema(value_type = UrgencyWord)]
    pub urgency: Urgency,
    /// What is known of it.
    #[schema(value_type = MessageStatusWord)]
    pub status: MessageStatus,
    /// How that became known: `response`, `webhook`, `poll`, `inferred`.
    pub status_provenance: String,
    /// Why it waits, while pending: `hold`, `batch`, `approval`.
    pub waits_for: Option<String>,
    /// A stable code of why it ended without being sent.
    pub ended_because: Option<String>,
    /// The channel asked for.
    #[schema(value_type = Option<ChannelWord>)]
    pub requested_channel: Option<Channel>,
    /// Your reference.
    pub source_reference: Option<String>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it is planned to go out.
    pub planned_at: Option<Timestamp>,
    /// When a provider took it.
    pub sent_at: Option<Timestamp>,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
    /// When it was first opened by a person.
    pub opened_at: Option<Timestamp>,
    /// When a link was first clicked.
    pub clicked_at: Option<Timestamp>,
    /// When it failed for good.
    pub failed_at: Option<Timestamp>,
    /// When the rules look at it again, while pending.
    pub decide_again_at: Option<Timestamp>,
}

impl From<MessageRow> for MessageView {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id.0,
            contact_id: row.contact.0,
            message_type: row.message_type,
            category: row.category,
            urgency: row.urgency,
            status: row.status,
            status_provenance: row.provenance.as_str().to_owned(),
            waits_for: row.waits_for.map(|reason| reason.as_str().to_owned()),
            ended_because: row.ended_because,
            requested_channel: row.requested_channel,
            source_reference: row.source_reference,
            accepted_at: row.accepted_at,
            planned_at: row.planned_at,
            sent_at: row.sent_at,
            delivered_at: row.delivered_at,
            opened_at: row.opened_at,
            clicked_at: row.clicked_at,
            failed_at: row.failed_at,
            decide_again_at: row.decide_again_at,
        }
    }
}
