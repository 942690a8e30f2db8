//! WhatsApp: statuses and messages in entries of changes.

use super::{Event, Inbound, Outgoing, Report, Signer, reply_of};
use crate::account::Account;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) fn reports(name: &str, account: &Account, reports: &[Report]) -> Vec<Outgoing> {
    let statuses: Vec<Value> = reports.iter().filter_map(status).collect();
    let mut requests = Vec::new();
    if !statuses.is_empty() {
        let holds = statuses.len();
        let value =
            json!({ "messaging_product": "whatsapp", "metadata": metadata(name), "statuses": statuses });
        requests.extend(request(account, "messages", &value, holds));
    }
    let stopped = reports
        .iter()
        .filter(|report| report.step.event == Event::Unsubscribed);
    for report in stopped {
        let preference = json!({
            "wa_id": bare(report.entry.recipient.expose()), "category": "marketing_messages", "value": "stop",
            "timestamp": report.at.as_second(), "detail": "User requested to stop marketing messages",
        });
        let value = json!({ "messaging_product": "whatsapp", "metadata": metadata(name), "user_preferences": [preference] });
        requests.extend(request(account, "user_preferences", &value, 1));
    }
    let replies = reports.iter().filter_map(|report| {
        inbound(
            name,
            account,
            &reply_of(report)?,
            &format!("wamid.{}", report.id),
            report.at,
        )
    });
    requests.extend(replies);
    requests
}

fn bare(number: &str) -> &str {
    number.trim_start_matches('+')
}

fn metadata(name: &str) -> Value {
    json!({ "display_phone_number": "15550000000", "phone_number_id": name })
}

fn status(report: &Report) -> Option<Value> {
    let failed = |code: u32| ("failed", Some(report.step.code.unwrap_or(code)));
    let (word, code) = match report.step.event {
        Event::Accepted => ("sent", None),
        Event::Delivered => ("delivered", None),
        Event::Opened | Event::Read => ("read", None),
        Event::BouncedHard => failed(131_026),
        Event::BouncedSoft => failed(131_000),
        Event::BouncedBlock => failed(131_049),
        Event::Failed => failed(131_047),
        Event::Deferred
        | Event::Clicked
        | Event::Complained
        | Event::Unsubscribed
        | Event::Stop
        | Event::Replied => {
            return None;
        }
    };
    let entry = &report.entry;
    let mut status = json!({
        "id": entry.provider_id, "status": word, "timestamp": report.at.as_second().to_string(),
        "recipient_id": bare(entry.recipient.expose()),
    });
    if let Some(echo) = entry.about("biz_opaque_callback_data") {
        status["biz_opaque_callback_data"] = json!(echo);
    }
    if let Some(code) = code {
        status["errors"] = json!([{
            "code": code, "title": "Message undeliverable", "message": "Message undeliverable",
            "error_data": { "details": "The stand-in was told to report this" },
            "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
        }]);
    }
    Some(status)
}

fn request(account: &Account, field: &str, value: &Value, holds: usize) -> Option<Outgoing> {
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "100000000000001", "changes": [{ "field": field, "value": value }] }],
    });
    Some(Outgoing {
        url: account.webhook_url.clone()?,
        content_type: "application/json",
        // Meta escapes slashes; whoever writes the body anew before verifying verifies nothing.
        body: body.to_string().replace('/', "\\/").into_bytes(),
        signer: account
            .secrets
            .app_secret
            .clone()
            .map_or(Signer::Unsigned, Signer::Meta),
        holds,
    })
}

pub(super) fn inbound(
    name: &str,
    account: &Account,
    message: &Inbound,
    id: &str,
    now: Timestamp,
) -> Option<Outgoing> {
    let from = bare(&message.from);
    let mut text = json!({
        "from": from, "id": id, "timestamp": now.as_second().to_string(), "type": "text", "text": { "body": message.text },
    });
    if let Some(earlier) = &message.in_reply_to {
        text["context"] = json!({ "from": "15550000000", "id": earlier });
    }
    let profile = message.name.as_deref().unwrap_or("Customer");
    let value = json!({
        "messaging_product": "whatsapp", "metadata": metadata(name),
        "contacts": [{ "profile": { "name": profile }, "wa_id": from }], "messages": [text],
    });
    request(account, "messages", &value, 1)
}
