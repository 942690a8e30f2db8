//! The story of a message: its timeline, and why.

use crate::ApiState;
use crate::auth::Caller;
use crate::extract::{Json, Path};
use crate::problem::Answer;
use crate::words::MessageStatusWord;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tidings_core::{MessageId, MessageStatus};
use tidings_engine::{AttemptTold, DecisionTold, DeliveryTold, EventTold, Explanation};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(message_timeline))
        .routes(routes!(explain_message))
}

/// Timeline of a message
///
/// Everything that happened to it, oldest first.
#[utoipa::path(get, path = "/v1/messages/{message_id}/timeline", tag = "messages",
    params(("message_id" = Uuid, Path, description = "The message")),
    responses((status = 200, description = "The timeline", body = TimelineView)),
    security(("api_key" = ["messages:read"])))]
async fn message_timeline(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
) -> Answer<Json<TimelineView>> {
    let told = state.engine().explain(caller.tenant, MessageId(message)).await?;
    Ok(Json(TimelineView::of(&told)))
}

/// Explain a message
///
/// Every decision with every rule's reason and the facts it looked at, every delivery with its attempts, every report,
/// and when asking again could give another answer.
#[utoipa::path(get, path = "/v1/messages/{message_id}/explain", tag = "messages",
    params(("message_id" = Uuid, Path, description = "The message")),
    responses((status = 200, description = "The explanation", body = Object)),
    security(("api_key" = ["messages:read"])))]
async fn explain_message(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
) -> Answer<Json<Value>> {
    let told = state.engine().explain(caller.tenant, MessageId(message)).await?;
    Ok(Json(serde_json::to_value(told).unwrap_or_default()))
}

/// Everything that happened to a message, oldest first.
#[derive(Serialize, ToSchema)]
pub struct TimelineView {
    /// The message.
    pub message_id: Uuid,
    /// Where it stands.
    #[schema(value_type = MessageStatusWord)]
    pub status: MessageStatus,
    /// The entries.
    pub entries: Vec<TimelineEntry>,
}

/// One thing that happened.
#[derive(Serialize, ToSchema)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What: `accepted`, `decided`, `queued`, `attempt.intended`, `attempt.accepted`, `event.opened` ...
    pub kind: String,
    /// In a sentence.
    pub summary: String,
    /// The rest, by kind.
    #[schema(value_type = Object)]
    pub detail: Value,
}

impl TimelineView {
    fn of(told: &Explanation) -> Self {
        let mut entries = vec![TimelineEntry {
            at: told.accepted_at,
            kind: "accepted".to_owned(),
            summary: format!("{} of urgency {} was asked for", told.message_type, told.urgency),
            detail: json!({"category": told.category}),
        }];
        entries.extend(told.decisions.iter().map(TimelineEntry::decided));
        for delivery in &told.deliveries {
            entries.extend(
                delivery
                    .attempts
                    .iter()
                    .flat_map(|attempt| TimelineEntry::tried(delivery, attempt)),
            );
            entries.extend(TimelineEntry::waiting(delivery));
        }
        entries.extend(told.events.iter().map(TimelineEntry::reported));
        // Stable: what happened at one instant stays in the order of the path.
        entries.sort_by_key(|entry| entry.at);
        Self {
            message_id: told.message_id.0,
            status: told.status,
            entries,
        }
    }
}

impl TimelineEntry {
    fn decided(decision: &DecisionTold) -> Self {
        let word = decision
            .verdict
            .get("verdict")
            .and_then(Value::as_str)
            .unwrap_or("unknown");
        Self {
            at: decision.decided_at,
            kind: "decided".to_owned(),
            summary: format!("the rules said {word} ({})", decision.stage),
            detail: json!({"verdict": decision.verdict, "because": because(&decision.reasons), "changes_at": decision.changes_at}),
        }
    }

    fn tried(delivery: &DeliveryTold, attempt: &AttemptTold) -> Vec<Self> {
        let (channel, number) = (delivery.channel, attempt.attempt_no);
        let by = attempt
            .connection
            .as_deref()
            .unwrap_or("a connection that is gone");
        let detail = json!({"delivery_id": delivery.id, "channel": channel, "attempt_no": number, "connection_id": attempt.connection_id, "connection": attempt.connection});
        let mut entries: Vec<Self> = Self::routed(attempt, by, &detail).into_iter().collect();
        entries.push(Self {
            at: attempt.intended_at,
            kind: "attempt.intended".to_owned(),
            summary: format!("attempt {number} over {channel} by {by} began"),
            detail: detail.clone(),
        });
        let Some(at) = attempt.finished_at else {
            return entries;
        };
        let mut detail = detail;
        detail["category"] = json!(attempt.category);
        detail["code"] = json!(attempt.code);
        detail["detail"] = json!(attempt.detail);
        let outcome = attempt.outcome;
        entries.push(Self {
            at,
            kind: format!("attempt.{outcome}"),
            summary: format!("attempt {number} over {channel} by {by}: {outcome}"),
            detail,
        });
        entries
    }

    /// Why it went by this connection, where it was not simply the best.
    fn routed(attempt: &AttemptTold, by: &str, detail: &Value) -> Option<Self> {
        let why = attempt.route.why?;
        let over: Vec<String> = attempt
            .route
            .passed_over
            .iter()
            .map(|one| {
                format!(
                    "{} ({})",
                    one.connection.as_deref().unwrap_or("one that is gone"),
                    one.code
                )
            })
            .collect();
        let over = if over.is_empty() {
            String::new()
        } else {
            format!("; passed over: {}", over.join(", "))
        };
        let mut detail = detail.clone();
        detail["passed_over"] = json!(attempt.route.passed_over);
        Some(Self {
            at: attempt.intended_at,
            kind: why.as_str().to_owned(),
            summary: format!("{by} takes it ({why}){over}"),
            detail,
        })
    }

    /// What a delivery waits for.
    fn waiting(delivery: &DeliveryTold) -> Option<Self> {
        Some(Self {
            at: delivery.waits_until?,
            kind: "delivery.waits".to_owned(),
            summary: format!("waits over {} until then", delivery.channel),
            detail: json!({"delivery_id": delivery.id, "channel": delivery.channel, "because": delivery.waits_because}),
        })
    }

    fn reported(event: &EventTold) -> Self {
        Self {
            at: event.occurred_at,
            kind: format!("event.{}", event.kind),
            summary: format!("{} was reported ({})", event.kind, event.provenance),
            detail: json!({"delivery_id": event.delivery_id, "bounce_class": event.bounce_class, "code": event.code, "received_at": event.received_at}),
        }
    }
}

/// The codes of the rules that did not simply pass.
fn because(reasons: &Value) -> Vec<&str> {
    let spoke = |reason: &&Value| {
        !matches!(
            reason.get("verdict").and_then(Value::as_str),
            Some("pass" | "skipped")
        )
    };
    reasons
        .as_array()
        .into_iter()
        .flatten()
        .filter(spoke)
        .filter_map(|reason| reason.get("code")?.as_str())
        .collect()
}
