//! SendGrid: the event webhook, an array; the inbound parse, a multipart form.

use super::{Event, Inbound, Outgoing, Report, Signer, reply_of};
use crate::account::Account;
use crate::multipart;
use serde_json::{Map, Value, json};

pub(super) fn reports(account: &Account, reports: &[Report]) -> Vec<Outgoing> {
    let elements: Vec<Value> = reports.iter().filter_map(element).collect();
    let mut requests = Vec::new();
    if let Some(url) = account.webhook_url.clone().filter(|_| !elements.is_empty()) {
        let holds = elements.len();
        requests.push(Outgoing {
            url,
            content_type: "application/json",
            // SendGrid ends its bodies so; whoever trims them verifies nothing.
            body: format!("{}\r\n", Value::Array(elements)).into_bytes(),
            signer: signer(account),
            holds,
        });
    }
    let replies = reports
        .iter()
        .filter_map(|report| inbound(account, &reply_of(report)?, &report.id));
    requests.extend(replies);
    requests
}

fn signer(account: &Account) -> Signer {
    account
        .secrets
        .signing_key
        .clone()
        .map_or(Signer::Unsigned, Signer::Sendgrid)
}

fn element(report: &Report) -> Option<Value> {
    let (event, further) = further(report)?;
    let entry = &report.entry;
    let mut element = Map::new();
    // Every custom argument comes as a field of its own.
    if let Some(Value::Object(arguments)) = entry.about.expose().get("custom_args") {
        element.extend(arguments.clone());
    }
    if let Some(category) = entry.about.expose().get("category") {
        element.insert("category".to_owned(), category.clone());
    }
    let common = json!({
        "email": entry.recipient.expose(), "timestamp": report.at.as_second(), "event": event, "sg_event_id": report.id,
        "sg_message_id": format!("{}.filter0001.1-0", entry.provider_id), "smtp-id": format!("<{}@stand-in>", entry.provider_id),
    });
    for part in [common, further] {
        if let Value::Object(fields) = part {
            element.extend(fields);
        }
    }
    Some(Value::Object(element))
}

fn further(report: &Report) -> Option<(&'static str, Value)> {
    let bounce = |kind: &str, status: &str, reason: &str, class: &str| json!({ "type": kind, "status": status, "reason": reason, "bounce_classification": class, "ip": "203.0.113.7", "tls": 1 });
    let agent = json!({ "useragent": "Mozilla/5.0", "ip": "203.0.113.8" });
    Some(match report.step.event {
        Event::Accepted => ("processed", json!({})),
        Event::Deferred => (
            "deferred",
            json!({ "response": "451 4.2.1 try again later", "attempt": "1" }),
        ),
        Event::Delivered => (
            "delivered",
            json!({ "response": "250 2.0.0 OK", "ip": "203.0.113.7", "tls": 1 }),
        ),
        Event::Opened | Event::Read => {
            let mut fields = agent;
            fields["sg_machine_open"] = json!(false);
            fields["sg_content_type"] = json!("html");
            ("open", fields)
        }
        Event::Clicked => {
            let mut fields = agent;
            fields["url"] = json!(report.step.url.as_deref().unwrap_or("https://example.com/"));
            fields["url_offset"] = json!({ "index": 0, "type": "html" });
            ("click", fields)
        }
        Event::BouncedHard => (
            "bounce",
            bounce("bounce", "5.1.1", "550 5.1.1 no such user", "Invalid Address"),
        ),
        Event::BouncedSoft => (
            "bounce",
            bounce(
                "expired",
                "4.2.2",
                "452 4.2.2 mailbox full",
                "Mailbox Unavailable",
            ),
        ),
        Event::BouncedBlock => (
            "bounce",
            bounce("blocked", "5.7.1", "550 5.7.1 refused by policy", "Reputation"),
        ),
        Event::Complained => ("spamreport", json!({})),
        Event::Unsubscribed => ("unsubscribe", json!({})),
        Event::Failed => (
            "dropped",
            json!({ "reason": "Spam Content (if Spam Checker app enabled)", "status": "5.0.0" }),
        ),
        Event::Stop | Event::Replied => return None,
    })
}

pub(super) fn inbound(account: &Account, message: &Inbound, id: &str) -> Option<Outgoing> {
    let name = message.name.as_deref().unwrap_or_default();
    let subject = message
        .subject
        .clone()
        .unwrap_or_else(|| "Re: your message".to_owned());
    let mut headers = format!(
        "From: {name} <{}>\nTo: {}\nSubject: {subject}\nMessage-ID: <{id}@mail.example>\n",
        message.from, message.to
    );
    if let Some(earlier) = &message.in_reply_to {
        headers.extend(["In-Reply-To: <", earlier.trim_matches(['<', '>']), ">\n"]);
    }
    let fields = [
        ("headers", headers),
        ("from", format!("{name} <{}>", message.from)),
        ("to", message.to.clone()),
        ("subject", subject),
        ("text", message.text.clone()),
        (
            "envelope",
            json!({ "to": [message.to], "from": message.from }).to_string(),
        ),
        (
            "charsets",
            json!({ "to": "UTF-8", "from": "UTF-8", "subject": "UTF-8", "text": "utf-8" }).to_string(),
        ),
        ("sender_ip", "203.0.113.9".to_owned()),
        ("SPF", "pass".to_owned()),
        ("dkim", "{@mail.example : pass}".to_owned()),
        ("attachments", "0".to_owned()),
    ];
    Some(Outgoing {
        url: account.webhook_url.clone()?,
        content_type: "multipart/form-data; boundary=xYzZY-stand-in",
        body: multipart::write(&fields, "xYzZY-stand-in"),
        signer: signer(account),
        holds: 1,
    })
}
