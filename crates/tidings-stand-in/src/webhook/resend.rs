//! Resend: one event a request, signed by Svix.

use super::{Event, Inbound, Outgoing, Report, Signer, reply_of};
use crate::account::Account;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub(super) fn reports(account: &Account, reports: &[Report]) -> Vec<Outgoing> {
    reports
        .iter()
        .filter_map(|report| match reply_of(report) {
            Some(reply) => inbound(account, &reply, &report.id, report.at),
            None => request(account, &report.id, &event(report)?),
        })
        .collect()
}

fn request(account: &Account, id: &str, body: &Value) -> Option<Outgoing> {
    let signer = account
        .secrets
        .webhook_secret
        .clone()
        .map_or(Signer::Unsigned, |secret| Signer::Standard {
            id: format!("msg_{id}"),
            secret,
            svix: true,
        });
    Some(Outgoing {
        url: account.webhook_url.clone()?,
        content_type: "application/json",
        body: body.to_string().into_bytes(),
        signer,
        holds: 1,
    })
}

fn event(report: &Report) -> Option<Value> {
    let bounce = |kind: &str, sub: &str, message: &str| json!({ "bounce": { "type": kind, "subType": sub, "message": message, "diagnosticCode": [message] } });
    let (kind, further) = match report.step.event {
        Event::Accepted => ("email.sent", json!({})),
        Event::Deferred => ("email.delivery_delayed", json!({})),
        Event::Delivered => ("email.delivered", json!({})),
        Event::Opened | Event::Read => ("email.opened", json!({})),
        Event::Clicked => {
            let link = report.step.url.as_deref().unwrap_or("https://example.com/");
            let click = json!({ "link": link, "ipAddress": "203.0.113.8", "userAgent": "Mozilla/5.0", "timestamp": report.at.to_string() });
            ("email.clicked", json!({ "click": click }))
        }
        Event::BouncedHard => (
            "email.bounced",
            bounce("Permanent", "General", "550 5.1.1 no such user"),
        ),
        Event::BouncedSoft => (
            "email.bounced",
            bounce("Transient", "MailboxFull", "452 4.2.2 mailbox full"),
        ),
        Event::BouncedBlock => (
            "email.bounced",
            bounce("Transient", "ContentRejected", "550 5.7.1 refused by policy"),
        ),
        Event::Complained => ("email.complained", json!({})),
        Event::Failed => (
            "email.failed",
            json!({ "failed": { "reason": "reached_daily_quota" } }),
        ),
        Event::Unsubscribed | Event::Stop | Event::Replied => return None,
    };
    let entry = &report.entry;
    let about = entry.about.expose();
    let mut tags = Map::new();
    for tag in about.get("tags").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(name), Some(value)) = (tag["name"].as_str(), tag.get("value")) {
            tags.insert(name.to_owned(), value.clone());
        }
    }
    let mut data = json!({
        "email_id": entry.provider_id, "created_at": entry.at.to_string(), "from": about.get("from"),
        "to": [entry.recipient.expose()], "subject": about.get("subject"), "tags": tags,
    });
    if let (Some(data), Value::Object(further)) = (data.as_object_mut(), further) {
        data.extend(further);
    }
    Some(json!({ "type": kind, "created_at": report.at.to_string(), "data": data }))
}

/// Resend tells that a mail came, and not what it says.
pub(super) fn inbound(account: &Account, message: &Inbound, id: &str, now: Timestamp) -> Option<Outgoing> {
    let body = json!({
        "type": "email.received", "created_at": now.to_string(),
        "data": {
            "email_id": id, "created_at": now.to_string(), "from": message.from, "to": [message.to],
            "message_id": format!("<{id}@mail.example>"), "subject": message.subject.as_deref().unwrap_or("Re: your message"),
            "cc": [], "bcc": [], "attachments": [],
        },
    });
    request(account, id, &body)
}
