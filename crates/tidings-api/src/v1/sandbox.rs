//! What the sandbox captured instead of sending, and answers as the customer.

use crate::ApiState;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds, page};
use crate::problem::{Answer, Problem};
use crate::words::ChannelWord;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::redact::Private;
use tidings_core::{Channel, TenantId};
use tidings_engine::providers::{Content, InboundMessage};
use tidings_engine::{SandboxMail, sandbox_mail};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_captured))
        .routes(routes!(get_captured))
        .routes(routes!(reply_as_customer))
}

/// List captured messages
///
/// Newest first.
#[utoipa::path(get, path = "/v1/sandbox/messages", tag = "sandbox", params(CapturedQuery),
    responses((status = 200, description = "A page", body = Page<CapturedView>)),
    security(("api_key" = ["sandbox:read"])))]
async fn list_captured(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<CapturedQuery>,
) -> Answer<Json<Page<CapturedView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let mails = sandbox_mail(state.store(), caller.tenant, bounds.after, bounds.limit + 1).await?;
    Ok(Json(
        page(mails, bounds.limit, |mail| mail.id).map(CapturedView::from),
    ))
}

/// Read a captured message
///
/// With its content as the customer would get it.
#[utoipa::path(get, path = "/v1/sandbox/messages/{captured_id}", tag = "sandbox",
    params(("captured_id" = Uuid, Path, description = "Its id in the sandbox")),
    responses((status = 200, description = "The message", body = CapturedDetail)),
    security(("api_key" = ["sandbox:read"])))]
async fn get_captured(
    caller: Caller,
    State(state): State<ApiState>,
    Path(captured): Path<Uuid>,
) -> Answer<Json<CapturedDetail>> {
    Ok(Json(captured_mail(&state, caller.tenant, captured).await?.into()))
}

/// Answer as the customer
///
/// Takes the text in as if the recipient had sent it: STOP, START and HELP do what they say.
#[utoipa::path(post, path = "/v1/sandbox/messages/{captured_id}/reply", tag = "sandbox", request_body = SandboxReply,
    params(("captured_id" = Uuid, Path, description = "Its id in the sandbox")),
    responses((status = 201, description = "Taken in", body = ReplyTaken)),
    security(("api_key" = ["sandbox:write"])))]
async fn reply_as_customer(
    caller: Caller,
    State(state): State<ApiState>,
    Path(captured): Path<Uuid>,
    Json(input): Json<SandboxReply>,
) -> Answer<(StatusCode, Json<ReplyTaken>)> {
    input.check()?;
    let mail = captured_mail(&state, caller.tenant, captured).await?;
    let connection = mail.connection;
    let inbound = input.from(
        mail,
        format!("sandbox-reply:{}", state.dice().uuid(state.now())),
        state.now(),
    );
    let keyword = state
        .engine()
        .receive(caller.tenant, connection, &inbound)
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(ReplyTaken {
            keyword: keyword.to_owned(),
        }),
    ))
}

async fn captured_mail(state: &ApiState, tenant: TenantId, captured: Uuid) -> Answer<SandboxMail> {
    // The list goes on below an id; the entry itself is the first below the next one.
    let above = Uuid::from_u128(captured.as_u128().saturating_add(1));
    let found = sandbox_mail(state.store(), tenant, Some(above), 1).await?.pop();
    found
        .filter(|mail| mail.id == captured)
        .ok_or_else(|| Problem::not_found("captured message"))
}

/// A captured message, for a list.
#[derive(Serialize, ToSchema)]
pub struct CapturedView {
    /// Its id in the sandbox.
    pub id: Uuid,
    /// The message.
    pub message_id: String,
    /// Our reference of the dispatch.
    pub reference: String,
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// The recipient.
    pub to: String,
    /// Subject line.
    pub subject: Option<String>,
    /// The first 200 characters of the text.
    pub text: Option<String>,
    /// The same reference was accepted before: a fault was injected, or something was sent twice.
    pub duplicate: bool,
    /// When.
    pub captured_at: Timestamp,
}

/// A captured message with its content.
#[derive(Serialize, ToSchema)]
pub struct CapturedDetail {
    /// Its id in the sandbox.
    pub id: Uuid,
    /// The message.
    pub message_id: String,
    /// Our reference of the dispatch.
    pub reference: String,
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// The recipient.
    pub to: String,
    /// Subject line.
    pub subject: Option<String>,
    /// HTML part. Not cleaned: show it only in a frame that runs no scripts.
    pub html: Option<String>,
    /// Text part, or the text of a short channel.
    pub text: Option<String>,
    /// One-click unsubscribe address of its headers.
    pub unsubscribe_url: Option<String>,
    /// Files, without their content.
    pub attachments: Vec<CapturedAttachment>,
    /// The same reference was accepted before.
    pub duplicate: bool,
    /// When.
    pub captured_at: Timestamp,
}

/// How many characters of a text a list shows.
const EXCERPT_CHARS: usize = 200;

impl From<SandboxMail> for CapturedView {
    fn from(mail: SandboxMail) -> Self {
        let (subject, text) = match mail.content.into_exposed() {
            Content::Email(email) => (Some(email.subject), email.text),
            other => (None, other.preview()),
        };
        Self {
            id: mail.id,
            message_id: mail.message_id,
            reference: mail.reference,
            channel: mail.channel,
            to: mail.to.into_exposed(),
            subject,
            text: Some(text.chars().take(EXCERPT_CHARS).collect()),
            duplicate: mail.duplicate,
            captured_at: mail.captured_at,
        }
    }
}

impl From<SandboxMail> for CapturedDetail {
    fn from(mail: SandboxMail) -> Self {
        let mut detail = Self {
            id: mail.id,
            message_id: mail.message_id,
            reference: mail.reference,
            channel: mail.channel,
            to: mail.to.into_exposed(),
            subject: None,
            html: None,
            text: None,
            unsubscribe_url: None,
            attachments: Vec::new(),
            duplicate: mail.duplicate,
            captured_at: mail.captured_at,
        };
        match mail.content.into_exposed() {
            Content::Email(email) => {
                detail.subject = Some(email.subject);
                detail.html = email.html;
                detail.text = Some(email.text);
                detail.unsubscribe_url = email.unsubscribe_url;
                let file = |file: tidings_engine::providers::Attachment| CapturedAttachment {
                    filename: file.filename,
                    content_type: file.content_type,
                };
                detail.attachments = email.attachments.into_iter().map(file).collect();
            }
            other => detail.text = Some(other.preview()),
        }
        detail
    }
}

/// A file of a captured message.
#[derive(Serialize, ToSchema)]
pub struct CapturedAttachment {
    /// File name.
    pub filename: String,
    /// MIME type.
    pub content_type: String,
}

/// Which captured messages to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CapturedQuery {
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// An answer as the customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"text": "STOP"}))]
pub struct SandboxReply {
    /// What the customer writes.
    #[schema(min_length = 1, max_length = 4000)]
    pub text: String,
}

impl SandboxReply {
    fn check(&self) -> Answer<()> {
        let length = self.text.chars().count();
        if length == 0 || length > 4000 {
            return Err(Problem::invalid_field(
                "/text",
                "value.length",
                "1 to 4000 characters",
            ));
        }
        Ok(())
    }

    fn from(self, mail: SandboxMail, dedupe_key: String, now: Timestamp) -> InboundMessage {
        InboundMessage {
            dedupe_key,
            channel: mail.channel,
            from: mail.to,
            to: None,
            name: mail.to_name,
            subject: None,
            text: Private::new(self.text),
            provider_message_id: None,
            occurred_at: Some(now),
            media: Vec::new(),
            handled_keyword: None,
            in_reply_to: Some(mail.reference),
            automatic: false,
            whatsapp: None,
        }
    }
}

/// What became of an answer.
#[derive(Serialize, ToSchema)]
pub struct ReplyTaken {
    /// The keyword that was understood; `none` for other texts.
    pub keyword: String,
}
