//! What SES reports: the text of one SNS notification. Event publishing (`eventType`) and the older notifications of an
//! identity (`notificationType`) have the same inner forms.

use crate::bounce::of_ses;
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

/// Reads a notification; `message_id` is that of SNS, the same over repetitions.
pub fn read(message: &str, message_id: &str) -> WebhookParsed {
    let mut parsed = WebhookParsed::default();
    let Ok(Value::Object(event)) = serde_json::from_str::<Value>(message) else {
        // On setting up, SES says in plain text that it can publish to the topic.
        if !message.starts_with("Successfully validated SNS topic") {
            parsed
                .skipped
                .push("a notification is not an event of SES".to_owned());
        }
        return parsed;
    };
    let name = text(&event, "eventType").or_else(|| text(&event, "notificationType"));
    if name == Some("AmazonSnsSubscriptionSucceeded") {
        return parsed;
    }
    let empty = Object::new();
    let mail = object(&event, "mail").unwrap_or(&empty);
    let Some(told) = name.and_then(|name| told(name, &event, mail)) else {
        parsed.skipped.push("an unknown kind of event".to_owned());
        return parsed;
    };
    let several = told.len() > 1;
    for (at, (recipient, meaning)) in told.into_iter().take(MOST_RECIPIENTS).enumerate() {
        parsed.events.push(ReportedEvent {
            dedupe_key: if several {
                format!("{message_id}#{at}")
            } else {
                message_id.to_owned()
            },
            occurred_at: meaning.occurred_at.or_else(|| instant(mail)),
            provider_message_id: text(mail, "messageId").map(str::to_owned),
            reference: reference(mail),
            recipient: recipient.map(Private::new),
            ..meaning
        });
    }
    parsed
}

fn text<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    object
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn object<'o>(object: &'o Object, name: &str) -> Option<&'o Object> {
    object.get(name).and_then(Value::as_object)
}

fn instant(object: &Object) -> Option<Timestamp> {
    text(object, "timestamp")?.parse().ok()
}

fn reference(mail: &Object) -> Option<String> {
    let values = object(mail, "tags")?.get(tag::REFERENCE)?;
    tag::decode(
        values
            .as_array()
            .and_then(|list| list.first())
            .unwrap_or(values)
            .as_str()?,
    )
}

/// Whom a report is about, and what it says; key and ids are the caller's.
type Told = Vec<(Option<String>, ReportedEvent)>;

fn told(name: &str, event: &Object, mail: &Object) -> Option<Told> {
    let empty = Object::new();
    let of = |key: &str| object(event, key).unwrap_or(&empty);
    let to_all = |meaning: ReportedEvent| each(addresses(mail, "destination"), &meaning);
    Some(match name {
        "Send" => to_all(meaning(DeliveryEventKind::Accepted, of("send"))),
        "Delivery" => {
            let delivery = of("delivery");
            let meaning = ReportedEvent {
                detail: text(delivery, "smtpResponse").map(mask),
                ..meaning(DeliveryEventKind::Delivered, delivery)
            };
            each(addresses(delivery, "recipients"), &meaning)
        }
        "DeliveryDelay" => {
            let delay = of("deliveryDelay");
            let meaning = ReportedEvent {
                detail: text(delay, "delayType").map(mask),
                ..meaning(DeliveryEventKind::Deferred, delay)
            };
            each(addresses(delay, "delayedRecipients"), &meaning)
        }
        "Bounce" => bounced(of("bounce")),
        "Complaint" => complained(of("complaint")),
        "Reject" => to_all(failed(of("reject"), "reason", ErrorCategory::Permanent, "Reject")),
        "Rendering Failure" => to_all(failed(
            of("failure"),
            "errorMessage",
            ErrorCategory::InvalidInput,
            "RenderingFailure",
        )),
        // These carry no recipient; with several, nobody knows who it was.
        "Open" => only(mail, meaning(DeliveryEventKind::Opened, of("open"))),
        "Click" => {
            let click = of("click");
            let meaning = ReportedEvent {
                detail: text(click, "link").map(|link| link.chars().take(2_000).collect()),
                ..meaning(DeliveryEventKind::Clicked, click)
            };
            only(mail, meaning)
        }
        "Subscription" => subscribed(of("subscription"), mail),
        _ => return None,
    })
}

fn meaning(kind: DeliveryEventKind, of: &Object) -> ReportedEvent {
    ReportedEvent {
        occurred_at: instant(of),
        ..ReportedEvent::new(String::new(), kind)
    }
}

/// The addresses of a list of texts, or of objects with `emailAddress`; display names are taken off.
fn addresses(of: &Object, name: &str) -> Vec<String> {
    let list = of.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|entry| entry.as_str().or_else(|| entry.get("emailAddress")?.as_str()))
        .map(|text| bare_address(text).to_owned())
        .filter(|address| !address.is_empty())
        .collect()
}

/// The same for each; about the message where nobody is named.
fn each(recipients: Vec<String>, meaning: &ReportedEvent) -> Told {
    if recipients.is_empty() {
        return vec![(None, meaning.clone())];
    }
    recipients
        .into_iter()
        .map(|recipient| (Some(recipient), meaning.clone()))
        .collect()
}

fn only(mail: &Object, meaning: ReportedEvent) -> Told {
    let mut all = addresses(mail, "destination");
    let recipient = if all.len() == 1 { all.pop() } else { None };
    vec![(recipient, meaning)]
}

fn bounced(bounce: &Object) -> Told {
    let kind = text(bounce, "bounceType").unwrap_or("Undetermined");
    let sub_type = text(bounce, "bounceSubType").unwrap_or("Undetermined");
    let recipients = bounce.get("bouncedRecipients").and_then(Value::as_array);
    let one = |recipient: &Object| {
        let code = text(recipient, "status").unwrap_or(sub_type);
        let said = text(recipient, "diagnosticCode").map(mask).unwrap_or_default();
        ReportedEvent {
            occurred_at: instant(bounce),
            detail: Some(format!("{kind}/{sub_type} {said}").trim().to_owned()),
            ..of_ses(Some(kind), Some(sub_type), code)
        }
    };
    let told: Told = recipients
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .filter_map(|recipient| {
            let address = bare_address(text(recipient, "emailAddress")?).to_owned();
            Some((Some(address), one(recipient)))
        })
        .collect();
    if told.is_empty() {
        return vec![(None, one(&Object::new()))];
    }
    told
}

/// Feedback that a mail is no spam after all is a complaint by name only.
fn complained(complaint: &Object) -> Told {
    let feedback = text(complaint, "complaintFeedbackType");
    let meaning = ReportedEvent {
        suppress: (feedback != Some("not-spam")).then_some(SuppressBecause::Complaint),
        detail: feedback.map(mask),
        ..meaning(DeliveryEventKind::Complained, complaint)
    };
    each(addresses(complaint, "complainedRecipients"), &meaning)
}

fn failed(of: &Object, reason: &str, category: ErrorCategory, code: &str) -> ReportedEvent {
    ReportedEvent {
        error: Some((category, code.to_owned())),
        detail: text(of, reason).map(mask),
        ..meaning(DeliveryEventKind::Failed, of)
    }
}

/// A preference at Amazon's own subscription page. Topics there are not ours; leaving everything is.
fn subscribed(subscription: &Object, mail: &Object) -> Told {
    let all = |name: &str| {
        object(subscription, name)
            .and_then(|preferences| preferences.get("unsubscribeAll"))
            .and_then(Value::as_bool)
    };
    match (all("oldTopicPreferences"), all("newTopicPreferences")) {
        (_, Some(true)) => only(
            mail,
            ReportedEvent {
                suppress: Some(SuppressBecause::Unsubscribe),
                ..meaning(DeliveryEventKind::Unsubscribed, subscription)
            },
        ),
        (Some(true), Some(false)) => only(mail, meaning(DeliveryEventKind::Resubscribed, subscription)),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;
    use serde_json::json;
    use tidings_core::event::BounceClass;

    fn event(name: &str, key: &str, inner: &Value) -> WebhookParsed {
        let text = json!({
            "eventType": name, "new": 1, key: inner,
            "mail": {
                "timestamp": "2026-11-20T10:00:00.000Z", "messageId": "m-1", "destination": ["Bob <bob@example.com>"],
                "tags": { "tidings_reference": ["d1-1"] }
            },
        });
        read(&format!("{text}\n"), "sns-1")
    }

    fn to(name: &str) -> Value {
        json!([{ "emailAddress": name }])
    }

    #[rstest]
    #[case("Send", "send", json!({}), DeliveryEventKind::Accepted, None)]
    #[case("Delivery", "delivery", json!({ "recipients": ["bob@example.com"] }), DeliveryEventKind::Delivered, None)]
    #[case("DeliveryDelay", "deliveryDelay", json!({ "delayType": "MailboxFull" }), DeliveryEventKind::Deferred, None)]
    #[case("Reject", "reject", json!({ "reason": "Bad content" }), DeliveryEventKind::Failed, None)]
    #[case("Rendering Failure", "failure", json!({ "errorMessage": "x" }), DeliveryEventKind::Failed, None)]
    #[case("Open", "open", json!({}), DeliveryEventKind::Opened, None)]
    #[case("Click", "click", json!({ "link": "https://a.test/" }), DeliveryEventKind::Clicked, None)]
    #[case("Complaint", "complaint", json!({ "complainedRecipients": to("bob@example.com") }),
        DeliveryEventKind::Complained, Some(SuppressBecause::Complaint))]
    #[case("Complaint", "complaint", json!({ "complaintFeedbackType": "not-spam" }), DeliveryEventKind::Complained, None)]
    #[case("Bounce", "bounce", json!({ "bounceType": "Permanent", "bounceSubType": "OnAccountSuppressionList" }),
        DeliveryEventKind::Bounced, Some(SuppressBecause::HardBounce))]
    #[case("Bounce", "bounce", json!({ "bounceType": "Transient", "bounceSubType": "General" }),
        DeliveryEventKind::Bounced, None)]
    #[case("Subscription", "subscription", json!({ "newTopicPreferences": { "unsubscribeAll": true } }),
        DeliveryEventKind::Unsubscribed, Some(SuppressBecause::Unsubscribe))]
    fn the_kinds(
        #[case] name: &str,
        #[case] key: &str,
        #[case] inner: Value,
        #[case] kind: DeliveryEventKind,
        #[case] suppress: Option<SuppressBecause>,
    ) {
        let parsed = event(name, key, &inner);
        let told = &parsed.events[0];
        assert_eq!((told.kind, told.suppress), (kind, suppress));
        assert_eq!(
            (
                told.dedupe_key.as_str(),
                told.provider_message_id.as_deref(),
                told.reference.as_deref()
            ),
            ("sns-1", Some("m-1"), Some("d1-1"))
        );
        assert!(told.occurred_at.is_some(), "the mail's time stands in");
    }

    #[test]
    fn only_a_full_mailbox_is_counted() {
        let counted = |kind: &str, sub_type: &str| {
            let inner = json!({ "bounceType": kind, "bounceSubType": sub_type, "bouncedRecipients": to("bob@example.com") });
            event("Bounce", "bounce", &inner).events[0].error.is_some()
        };
        for (kind, sub_type, expect) in [
            ("Transient", "General", false),
            ("Transient", "MessageTooLarge", false),
            ("Transient", "ContentRejected", false),
            ("Transient", "AttachmentRejected", false),
            ("Undetermined", "Undetermined", false),
            ("Transient", "MailboxFull", true),
            ("Permanent", "General", true),
        ] {
            assert_eq!(counted(kind, sub_type), expect, "{kind}/{sub_type}");
        }
    }

    #[test]
    fn each_recipient_has_its_report() {
        let recipients = json!([{ "emailAddress": "bob@example.com", "status": "5.1.1" }, { "emailAddress": "Amy <amy@example.com>" }]);
        let inner =
            json!({ "bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": recipients });
        let events = event("Bounce", "bounce", &inner).events;
        let told: Vec<_> = events
            .iter()
            .map(|event| {
                (
                    event.dedupe_key.as_str(),
                    event.recipient.as_ref().unwrap().expose().as_str(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [("sns-1#0", "bob@example.com"), ("sns-1#1", "amy@example.com")]
        );
        assert_eq!(events[0].error.as_ref().unwrap().1, "5.1.1");
    }

    #[test]
    fn older_notifications_are_read_alike() {
        let text = json!({
            "notificationType": "Bounce", "mail": { "messageId": "m-1", "destination": ["bob@example.com"] },
            "bounce": { "bounceType": "Permanent", "bouncedRecipients": to("bob@example.com") }
        });
        let parsed = read(&text.to_string(), "sns-1");
        assert_eq!(parsed.events[0].bounce_class, Some(BounceClass::Hard));
        assert_eq!(parsed.events[0].reference, None);
    }

    #[rstest]
    #[case("Successfully validated SNS topic for Amazon SES event publishing.", 0)]
    #[case(r#"{"notificationType":"AmazonSnsSubscriptionSucceeded","message":"x"}"#, 0)]
    #[case("hello", 1)]
    #[case("[]", 1)]
    #[case(r#"{"eventType":"Levitation"}"#, 1)]
    #[case("{}", 1)]
    fn what_is_no_event_changes_nothing(#[case] text: &str, #[case] skipped: usize) {
        let parsed = read(text, "sns-1");
        assert_eq!((parsed.events.len(), parsed.skipped.len()), (0, skipped));
    }
}
