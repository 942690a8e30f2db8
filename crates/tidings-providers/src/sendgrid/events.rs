//! The event webhook: a JSON array, batched, mixed, repeated and in any order.

use super::send::REFERENCE;
use crate::bounce::class_of_status;
use crate::contract::{ReportedEvent, SuppressBecause, WebhookParsed, WebhookRefusal};
use crate::mask::mask;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tidings_core::ErrorCategory;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::redact::Private;

/// The most events read of one request.
const MOST: usize = 10_000;

type Event = Map<String, Value>;

/// Reads a batch. One element that cannot be read does not cost the others.
pub fn read(body: &[u8]) -> Result<WebhookParsed, WebhookRefusal> {
    let batch: Vec<Value> = serde_json::from_slice(body)
        .map_err(|_| WebhookRefusal::Malformed("not an array of events".to_owned()))?;
    let mut parsed = WebhookParsed::default();
    for (at, element) in batch.iter().take(MOST).enumerate() {
        let Value::Object(event) = element else {
            parsed.skipped.push(format!("element {at} is not an object"));
            continue;
        };
        match text(event, "event") {
            // About the account, not about a message.
            Some("account_status_change") => {}
            Some(name) => match reported(name, event, element) {
                Some(event) => parsed.events.push(event),
                None => parsed
                    .skipped
                    .push(format!("element {at} is an unknown kind of event")),
            },
            None => parsed.skipped.push(format!("element {at} has no event")),
        }
    }
    if batch.len() > MOST {
        parsed
            .skipped
            .push(format!("{} elements beyond the first {MOST}", batch.len() - MOST));
    }
    Ok(parsed)
}

fn text<'e>(event: &'e Event, key: &str) -> Option<&'e str> {
    event
        .get(key)
        .and_then(Value::as_str)
        .filter(|value| !value.is_empty())
}

/// What an event means.
struct Meaning {
    kind: DeliveryEventKind,
    bounce_class: Option<BounceClass>,
    suppress: Option<SuppressBecause>,
    error: Option<(ErrorCategory, String)>,
    detail: Option<String>,
}

impl Meaning {
    fn of(kind: DeliveryEventKind) -> Self {
        Self {
            kind,
            bounce_class: None,
            suppress: None,
            error: None,
            detail: None,
        }
    }

    fn suppressing(self, because: SuppressBecause) -> Self {
        Self {
            suppress: Some(because),
            ..self
        }
    }

    fn with_detail(self, detail: Option<&str>) -> Self {
        Self {
            detail: detail.map(mask).filter(|text| !text.is_empty()),
            ..self
        }
    }
}

fn reported(name: &str, event: &Event, element: &Value) -> Option<ReportedEvent> {
    let meaning = match name {
        "processed" => Meaning::of(DeliveryEventKind::Accepted),
        "deferred" => Meaning::of(DeliveryEventKind::Deferred).with_detail(text(event, "response")),
        "delivered" => Meaning::of(DeliveryEventKind::Delivered).with_detail(text(event, "response")),
        "bounce" | "blocked" => bounce(name, event),
        "dropped" => dropped(event),
        "open" if event.get("sg_machine_open") == Some(&Value::Bool(true)) => {
            Meaning::of(DeliveryEventKind::MachineOpened)
        }
        "open" => Meaning::of(DeliveryEventKind::Opened),
        "click" => Meaning {
            detail: text(event, "url").map(|url| url.chars().take(2_000).collect()),
            ..Meaning::of(DeliveryEventKind::Clicked)
        },
        "spamreport" => Meaning::of(DeliveryEventKind::Complained).suppressing(SuppressBecause::Complaint),
        "unsubscribe" | "group_unsubscribe" => {
            Meaning::of(DeliveryEventKind::Unsubscribed).suppressing(SuppressBecause::Unsubscribe)
        }
        "group_resubscribe" => Meaning::of(DeliveryEventKind::Resubscribed),
        _ => return None,
    };
    Some(ReportedEvent {
        dedupe_key: text(event, "sg_event_id").map_or_else(|| fingerprint(element), str::to_owned),
        kind: meaning.kind,
        occurred_at: event
            .get("timestamp")
            .and_then(seconds)
            .and_then(|s| Timestamp::from_second(s).ok()),
        provider_message_id: text(event, "sg_message_id").map(|id| message_id(id).to_owned()),
        reference: text(event, REFERENCE)
            .filter(|r| r.len() <= 200)
            .map(str::to_owned),
        recipient: text(event, "email").map(|email| Private::new(email.to_owned())),
        bounce_class: meaning.bounce_class,
        error: meaning.error,
        suppress: meaning.suppress,
        detail: meaning.detail,
    })
}

/// `bounce` is an address that does not work, `blocked` a refusal of this mail, `expired` a queue that gave up.
fn bounce(name: &str, event: &Event) -> Meaning {
    let reason = text(event, "reason").unwrap_or_default();
    let class = match text(event, "type").unwrap_or(if name == "blocked" { "blocked" } else { "" }) {
        "bounce" => BounceClass::Hard,
        "blocked" => BounceClass::Block,
        "expired" => BounceClass::Soft,
        _ => class_of_status(text(event, "status").unwrap_or_default(), reason).bounce_class(),
    };
    let meaning = Meaning {
        bounce_class: Some(class),
        error: Some((
            ErrorCategory::Permanent,
            text(event, "status").unwrap_or("bounce").to_owned(),
        )),
        ..Meaning::of(DeliveryEventKind::Bounced).with_detail(Some(reason))
    };
    if class == BounceClass::Hard {
        meaning.suppressing(SuppressBecause::HardBounce)
    } else {
        meaning
    }
}

/// Never left SendGrid; its own suppressions are mirrored.
fn dropped(event: &Event) -> Meaning {
    let reason = text(event, "reason").unwrap_or_default();
    let lower = reason.to_ascii_lowercase();
    let (suppress, category) = match lower.as_str() {
        "invalid" | "bounced address" => (Some(SuppressBecause::HardBounce), ErrorCategory::Permanent),
        "unsubscribed address" => (Some(SuppressBecause::Unsubscribe), ErrorCategory::Permanent),
        "spam reporting address" => (Some(SuppressBecause::Complaint), ErrorCategory::Permanent),
        text if text.contains("quota") => (None, ErrorCategory::AuthFailure),
        text if text.contains("smtpapi") => (None, ErrorCategory::InvalidInput),
        _ => (None, ErrorCategory::Permanent),
    };
    Meaning {
        suppress,
        error: Some((category, mask(reason))),
        ..Meaning::of(DeliveryEventKind::Failed).with_detail(Some(reason))
    }
}

/// `X-Message-Id` is what stands before `.filter` or `.recv`.
fn message_id(sg_message_id: &str) -> &str {
    [".filter", ".recv"]
        .iter()
        .filter_map(|mark| sg_message_id.find(mark))
        .min()
        .map_or(sg_message_id, |at| &sg_message_id[..at])
}

/// Unix seconds, as a number or as text.
fn seconds(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|s| s as i64))
        .or_else(|| value.as_str()?.parse().ok())
}

/// Stands in for `sg_event_id`: the same for the same element.
fn fingerprint(element: &Value) -> String {
    hex::encode(digest(&SHA256, element.to_string().as_bytes()))
}
