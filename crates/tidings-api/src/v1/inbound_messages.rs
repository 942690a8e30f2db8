//! Read marks and the typing indicator for messages from contacts.

use crate::ApiState;
use crate::auth::Caller;
use crate::extract::Path;
use crate::failure::database_unreachable;
use crate::problem::{Answer, Problem};
use axum::extract::State;
use axum::http::StatusCode;
use tidings_core::ErrorCategory;
use tidings_engine::{SignalError, SignalKind};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(mark_read))
        .routes(routes!(show_typing))
}

/// Mark an inbound message as read
///
/// Its author sees it. Marking it again changes nothing. WhatsApp Cloud API only.
#[utoipa::path(post, path = "/v1/inbound-messages/{inbound_message_id}/read", tag = "messages",
    params(("inbound_message_id" = Uuid, Path, description = "The message from the contact")),
    responses((status = 204, description = "Told")),
    security(("api_key" = ["messages:write"])))]
async fn mark_read(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
) -> Answer<StatusCode> {
    tell(&state, &caller, message, SignalKind::Read).await
}

/// Show that an answer is being written
///
/// WhatsApp shows it for 25 seconds at most, or until the answer, and marks the message as read. WhatsApp Cloud API only.
#[utoipa::path(post, path = "/v1/inbound-messages/{inbound_message_id}/typing", tag = "messages",
    params(("inbound_message_id" = Uuid, Path, description = "The message from the contact")),
    responses((status = 204, description = "Told")),
    security(("api_key" = ["messages:write"])))]
async fn show_typing(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
) -> Answer<StatusCode> {
    tell(&state, &caller, message, SignalKind::Typing).await
}

async fn tell(state: &ApiState, caller: &Caller, message: Uuid, kind: SignalKind) -> Answer<StatusCode> {
    state
        .engine()
        .signal(caller.tenant, message, kind)
        .await
        .map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}

fn problem(error: SignalError) -> Problem {
    let title = "The author was not told";
    let detail = error.to_string();
    match error {
        SignalError::UnknownMessage(_) => Problem::not_found("inbound message"),
        SignalError::Unsupported(_) => {
            Problem::new(StatusCode::CONFLICT, "signal.unsupported", title, detail)
        }
        SignalError::Connection(_) => Problem::new(StatusCode::CONFLICT, "signal.connection", title, detail),
        SignalError::Refused { category, .. } => {
            let status = match category {
                ErrorCategory::RateLimit => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::BAD_GATEWAY,
            };
            Problem::new(status, "signal.refused", title, detail)
        }
        SignalError::Unanswered(_) => {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "signal.unanswered", title, detail)
        }
        SignalError::Engine(error) => {
            tracing::error!(%error, "a read mark could not be told");
            database_unreachable()
        }
    }
}
