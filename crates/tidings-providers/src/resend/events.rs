//! What Resend reports about mails: one event a webhook.

use crate::bounce;
use crate::contract::{ReportedEvent, SuppressBecause, WebhookParsed};
use crate::email_headers::bare_address;
use crate::mask::mask;
use crate::tag;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tidings_core::ErrorCategory;
use tidings_core::event::DeliveryEventKind;
use tidings_core::redact::Private;

/// The most recipients read of one event; we send to one.
const MOST_RECIPIENTS: usize = 50;

type Object = Map<String, Value>;

/// Reads an event. Kinds that are not about a mail's way are passed over.
pub fn read(kind: &str, id: &str, body: &Object, data: &Object) -> WebhookParsed {
    let mut parsed = WebhookParsed::default();
    let Some(meaning) = meaning(kind, data) else {
        // Contacts and domains are none of ours; they are no fault either.
        if !kind.starts_with("contact.") && !kind.starts_with("domain.") {
            parsed.skipped.push("an unknown kind of event".to_owned());
        }
        return parsed;
    };
    let common = ReportedEvent {
        occurred_at: text(body, "created_at").and_then(|at| at.parse::<Timestamp>().ok()),
        provider_message_id: text(data, "email_id").map(str::to_owned),
        reference: reference(data),
        ..meaning
    };
    let recipients = recipients(data);
    let several = recipients.len() > 1;
    for (at, recipient) in recipients.iter().enumerate() {
        let dedupe_key = if several {
            format!("{id}#{at}")
        } else {
            id.to_owned()
        };
        parsed.events.push(ReportedEvent {
            dedupe_key,
            recipient: Some(Private::new(recipient.clone())),
            ..common.clone()
        });
    }
    if recipients.is_empty() {
        parsed.events.push(ReportedEvent {
            dedupe_key: id.to_owned(),
            ..common
        });
    }
    parsed
}

/// What the last event of a mail means, where Resend was asked for it; none for an event that is not known. What else a webhook
/// says of the event (why it bounced, what was clicked) is not told then, and neither is when it happened.
pub(super) fn asked(id: &str, last_event: &str, mail: &Object) -> Option<ReportedEvent> {
    let meaning = meaning(&format!("email.{last_event}"), &Object::new())?;
    let recipients = recipients(mail);
    Some(ReportedEvent {
        dedupe_key: format!("{id}:{last_event}"),
        provider_message_id: Some(id.to_owned()),
        reference: reference(mail),
        recipient: match recipients.as_slice() {
            [one] => Some(Private::new(one.clone())),
            _ => None,
        },
        ..meaning
    })
}

pub(super) fn text<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    object
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// The texts of a list, or the one text.
pub(super) fn texts<'o>(object: &'o Object, name: &str) -> Vec<&'o str> {
    match object.get(name) {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn recipients(data: &Object) -> Vec<String> {
    texts(data, "to")
        .into_iter()
        .take(MOST_RECIPIENTS)
        .map(|to| bare_address(to).to_owned())
        .filter(|to| !to.is_empty())
        .collect()
}

/// Tags come as an object; a list of names and values, as they are sent, is read too.
fn reference(data: &Object) -> Option<String> {
    let value = match data.get("tags")? {
        Value::Object(tags) => tags.get(tag::REFERENCE)?.as_str()?,
        Value::Array(tags) => tags
            .iter()
            .find(|tag| tag.get("name").and_then(Value::as_str) == Some(tag::REFERENCE))?
            .get("value")?
            .as_str()?,
        _ => return None,
    };
    tag::decode(value)
}

/// What a kind of event means; key, recipient, time and ids are the caller's.
fn meaning(kind: &str, data: &Object) -> Option<ReportedEvent> {
    let of = |kind| ReportedEvent::new(String::new(), kind);
    let inner = |name: &str| data.get(name).and_then(Value::as_object);
    Some(match kind {
        "email.sent" | "email.scheduled" => of(DeliveryEventKind::Accepted),
        "email.delivered" => of(DeliveryEventKind::Delivered),
        "email.delivery_delayed" => of(DeliveryEventKind::Deferred),
        "email.opened" => of(DeliveryEventKind::Opened),
        "email.clicked" => ReportedEvent {
            detail: inner("click")
                .and_then(|click| text(click, "link"))
                .map(|link| link.chars().take(2_000).collect()),
            ..of(DeliveryEventKind::Clicked)
        },
        "email.complained" => ReportedEvent {
            suppress: Some(SuppressBecause::Complaint),
            ..of(DeliveryEventKind::Complained)
        },
        "email.bounced" => bounced(inner("bounce").unwrap_or(&Object::new())),
        "email.failed" => {
            let reason = inner("failed").and_then(|failed| text(failed, "reason"));
            failed(reason, "failed")
        }
        "email.suppressed" => suppressed(inner("suppressed").unwrap_or(&Object::new())),
        _ => return None,
    })
}

/// `type` and `subType` are those of Amazon SES, through which Resend sends.
fn bounced(bounce: &Object) -> ReportedEvent {
    let (kind, sub_type) = (text(bounce, "type"), text(bounce, "subType"));
    ReportedEvent {
        detail: text(bounce, "message").map(mask),
        ..bounce::of_ses(kind, sub_type, sub_type.unwrap_or("bounce"))
    }
}

/// Never left Resend.
fn failed(reason: Option<&str>, otherwise: &str) -> ReportedEvent {
    let reason = reason.unwrap_or(otherwise);
    let category = match reason {
        text if text.contains("quota") || text.contains("api_key") || text.contains("domain") => {
            ErrorCategory::AuthFailure
        }
        _ => ErrorCategory::Permanent,
    };
    ReportedEvent {
        error: Some((category, mask(reason))),
        detail: Some(mask(reason)),
        ..ReportedEvent::new(String::new(), DeliveryEventKind::Failed)
    }
}

/// Resend did not send because the address bounced or complained before; its list is mirrored.
fn suppressed(suppressed: &Object) -> ReportedEvent {
    let words = ["type", "reason", "message"]
        .iter()
        .filter_map(|name| text(suppressed, name))
        .collect::<Vec<_>>()
        .join(" ")
        .to_ascii_lowercase();
    let because = if words.contains("complain") {
        SuppressBecause::Complaint
    } else {
        SuppressBecause::HardBounce
    };
    ReportedEvent {
        suppress: Some(because),
        error: Some((ErrorCategory::Permanent, "suppressed".to_owned())),
        detail: text(suppressed, "message").map(mask),
        ..ReportedEvent::new(String::new(), DeliveryEventKind::Failed)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;
    use serde_json::json;
    use tidings_core::event::BounceClass;

    fn event(kind: &str, data: &Value) -> WebhookParsed {
        let body = json!({ "type": kind, "created_at": "2026-11-20T10:00:05.000Z", "data": data });
        let body = body.as_object().unwrap();
        read(kind, "msg_1", body, body["data"].as_object().unwrap())
    }

    #[rstest]
    #[case("email.sent", json!({}), DeliveryEventKind::Accepted, None, None)]
    #[case("email.delivered", json!({}), DeliveryEventKind::Delivered, None, None)]
    #[case("email.delivery_delayed", json!({}), DeliveryEventKind::Deferred, None, None)]
    #[case("email.opened", json!({}), DeliveryEventKind::Opened, None, None)]
    #[case("email.complained", json!({}), DeliveryEventKind::Complained, None, Some(SuppressBecause::Complaint))]
    #[case("email.bounced", json!({"bounce": {"type": "Permanent", "subType": "General"}}),
        DeliveryEventKind::Bounced, Some(BounceClass::Hard), Some(SuppressBecause::HardBounce))]
    #[case("email.bounced", json!({"bounce": {"type": "Transient", "subType": "General"}}),
        DeliveryEventKind::Bounced, Some(BounceClass::Soft), None)]
    #[case("email.bounced", json!({"bounce": {"type": "Undetermined"}}),
        DeliveryEventKind::Bounced, Some(BounceClass::Soft), None)]
    #[case("email.bounced", json!({}), DeliveryEventKind::Bounced, Some(BounceClass::Soft), None)]
    #[case("email.failed", json!({"failed": {"reason": "reached_daily_quota"}}), DeliveryEventKind::Failed, None, None)]
    #[case("email.suppressed", json!({"suppressed": {"message": "on the list", "type": "OnAccountSuppressionList"}}),
        DeliveryEventKind::Failed, None, Some(SuppressBecause::HardBounce))]
    fn the_kinds(
        #[case] kind: &str,
        #[case] data: Value,
        #[case] expect: DeliveryEventKind,
        #[case] class: Option<BounceClass>,
        #[case] suppress: Option<SuppressBecause>,
    ) {
        let parsed = event(kind, &data);
        let told = &parsed.events[0];
        assert_eq!(
            (told.kind, told.bounce_class, told.suppress),
            (expect, class, suppress)
        );
        assert_eq!(told.dedupe_key, "msg_1");
    }

    #[test]
    fn out_of_office_is_not_counted_and_a_full_mailbox_is() {
        let counted = |sub_type: &str| {
            let data = json!({ "bounce": { "type": "Transient", "subType": sub_type } });
            event("email.bounced", &data).events[0].error.is_some()
        };
        assert!(!counted("General"));
        assert!(!counted("ContentRejected"));
        assert!(counted("MailboxFull"));
    }

    #[test]
    fn each_recipient_has_its_report_and_names_are_taken_off() {
        let tags = json!({ "tidings_reference": "d1-1" });
        let one = event(
            "email.delivered",
            &json!({ "to": ["Bob <bob@example.com>"], "tags": tags }),
        );
        assert_eq!(
            one.events[0].recipient.as_ref().unwrap().expose(),
            "bob@example.com"
        );
        assert_eq!(one.events[0].reference.as_deref(), Some("d1-1"));
        let tags = json!([{ "name": "tidings_reference", "value": "d1-1_2e2" }]);
        let two = event(
            "email.delivered",
            &json!({ "to": ["a@example.com", "b@example.com"], "tags": tags }),
        );
        assert_eq!(two.events.len(), 2);
        assert_ne!(two.events[0].dedupe_key, two.events[1].dedupe_key);
        assert_eq!(two.events[0].reference.as_deref(), Some("d1-1.2"));
    }

    #[test]
    fn what_is_not_about_mail_is_passed_over() {
        for (kind, skipped) in [
            ("contact.created", 0),
            ("domain.updated", 0),
            ("email.levitated", 1),
        ] {
            let parsed = event(kind, &json!({}));
            assert_eq!(
                (parsed.events.len(), parsed.skipped.len()),
                (0, skipped),
                "{kind}"
            );
        }
    }
}
