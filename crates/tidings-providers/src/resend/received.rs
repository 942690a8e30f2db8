//! Received mail: the webhook tells of it, and the mail itself is fetched from Resend.

use super::errors;
use super::events::{text, texts};
use crate::bounce::{Envelope, MailContent, cut, read_inbound, text_of_html};
use crate::contract::{InboundMedia, InboundMessage, WebhookParsed, WebhookRefusal};
use crate::egress::{EgressFailure, EgressRequest, EgressResponse, EgressUrl};
use crate::email_headers::bare_address;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tidings_core::Channel;
use tidings_core::redact::Private;

/// The most bytes of a received mail, attachments not included.
const MAIL_LIMIT: usize = 2 * 1024 * 1024;
/// The most attachments told of.
const MOST_MEDIA: usize = 50;

/// A received mail as `GET /emails/receiving/{id}` gives it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Received {
    text: Option<String>,
    html: Option<String>,
    headers: Option<BTreeMap<String, Value>>,
    attachments: Option<Vec<File>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    id: Option<String>,
    content_type: Option<String>,
}

impl std::fmt::Debug for Received {
    /// Without what somebody wrote.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files = self.attachments.as_ref().map_or(0, Vec::len);
        write!(f, "Received({files} files)")
    }
}

/// Fetches a mail by the id that a verified webhook named. Only the id is taken from it, never an address.
pub async fn fetch(
    id: &str,
    base: &EgressUrl,
    call: impl AsyncFnOnce(EgressRequest) -> Result<EgressResponse, EgressFailure>,
) -> Result<Received, WebhookRefusal> {
    let url = base.join(&["emails", "receiving", id], &[]);
    let unavailable = |why: String| WebhookRefusal::Unavailable(format!("the mail cannot be fetched: {why}"));
    let answer = call(EgressRequest::get(url).response_limit(MAIL_LIMIT))
        .await
        .map_err(|failure| unavailable(failure.to_string()))?;
    if let Some(no) = errors::classify(answer.status, &answer.headers, &answer.body) {
        return Err(unavailable(format!("{}: {}", no.code, no.detail)));
    }
    serde_json::from_slice(&answer.body).map_err(|_| {
        if answer.cut {
            unavailable(format!("it is larger than {MAIL_LIMIT} bytes or broke off"))
        } else {
            unavailable("the answer cannot be read".to_owned())
        }
    })
}

/// Reads what a webhook of a received mail says. Mail for another domain is somebody else's, and is left alone.
pub async fn read(
    webhook_id: &str,
    data: &Map<String, Value>,
    domains: &[String],
    fetch: impl AsyncFnOnce(&str) -> Result<Received, WebhookRefusal>,
) -> Result<WebhookParsed, WebhookRefusal> {
    let malformed = |what: &str| WebhookRefusal::Malformed(what.to_owned());
    let id = text(data, "email_id").ok_or_else(|| malformed("email_id is missing"))?;
    let from = text(data, "from").ok_or_else(|| malformed("from is missing"))?;
    // A copy, open or blind, is for us as well.
    let mut to = ["to", "cc", "bcc"]
        .into_iter()
        .flat_map(|field| texts(data, field))
        .map(bare_address);
    let Some(to) = to.find(|to| is_ours(to, domains)) else {
        return Ok(WebhookParsed {
            skipped: vec!["a received mail is for none of inbound_domains".to_owned()],
            ..WebhookParsed::default()
        });
    };
    let received = fetch(id).await?;
    let envelope = Envelope {
        mail_from: bare_address(from),
        rcpt_to: to,
    };
    let mail = read_inbound(assembled(data, from, &received).as_bytes(), &envelope)
        .ok_or_else(|| malformed("the mail cannot be read"))?;
    Ok(WebhookParsed {
        inbound: vec![message(webhook_id, id, from, to, data, mail, &received)],
        ..WebhookParsed::default()
    })
}

fn is_ours(address: &str, domains: &[String]) -> bool {
    address
        .rsplit_once('@')
        .is_some_and(|(_, domain)| domains.iter().any(|ours| ours.eq_ignore_ascii_case(domain)))
}

fn message(
    webhook_id: &str,
    id: &str,
    from: &str,
    to: &str,
    data: &Map<String, Value>,
    mail: MailContent,
    received: &Received,
) -> InboundMessage {
    let body = match received.text.as_deref() {
        Some(text) if !text.trim().is_empty() => cut(text),
        _ => received.html.as_deref().map(text_of_html).unwrap_or_default(),
    };
    let media = received.attachments.iter().flatten().take(MOST_MEDIA);
    InboundMessage {
        dedupe_key: webhook_id.to_owned(),
        channel: Channel::Email,
        from: Private::new(bare_address(from).to_owned()),
        to: Some(Private::new(to.to_owned())),
        handled_keyword: mail.wants_out().then(|| InboundMessage::UNSUBSCRIBE.to_owned()),
        name: mail.name,
        subject: text(data, "subject").map(|subject| Private::new(subject.to_owned())),
        text: Private::new(body),
        provider_message_id: Some(id.to_owned()),
        occurred_at: text(data, "created_at").and_then(|at| at.parse().ok()),
        media: media
            .map(|file| InboundMedia {
                content_type: file
                    .content_type
                    .clone()
                    .unwrap_or_else(|| "application/octet-stream".to_owned()),
                location: file.id.clone().unwrap_or_default(),
            })
            .collect(),
        whatsapp: None,
        in_reply_to: mail.report.original_message_id,
        automatic: mail.automatic,
    }
}

/// The headers that say whether a person wrote, put together again; the text stands beside them.
fn assembled(data: &Map<String, Value>, from: &str, received: &Received) -> String {
    let mut raw = String::new();
    let mut add = |name: &str, value: &str| {
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if plain {
            raw.extend([name, ": ", value.replace(['\r', '\n'], " ").as_str(), "\r\n"]);
        }
    };
    for (name, value) in received.headers.iter().flatten().take(200) {
        let lower = name.to_ascii_lowercase();
        if !lower.starts_with("content-") && !matches!(lower.as_str(), "mime-version" | "from" | "subject") {
            add(name, value.as_str().unwrap_or_default());
        }
    }
    add("From", from);
    add("Subject", text(data, "subject").unwrap_or_default());
    raw.push_str("Content-Type: text/plain; charset=utf-8\r\n\r\n");
    raw.push_str(received.text.as_deref().unwrap_or_default());
    raw
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    async fn receive(to: &str, mail: Value) -> WebhookParsed {
        let data = json!({
            "email_id": "r-1", "from": "Zoë <zoe@example.com>", "to": [to], "subject": "Re: Hi",
            "created_at": "2026-11-20T10:00:00.000Z"
        });
        let fetch = async |id: &str| {
            assert_eq!(id, "r-1");
            Ok(serde_json::from_value(mail).unwrap())
        };
        read(
            "msg_1",
            data.as_object().unwrap(),
            &["in.brand.test".to_owned()],
            fetch,
        )
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn a_mail_is_read_with_its_thread() {
        let mail = json!({
            "text": "Yes please", "html": "<p>Yes</p>", "headers": { "in-reply-to": "<m-42@brand.test>", "x": 1 },
            "attachments": [{ "id": "a-1", "content_type": "image/png" }]
        });
        let parsed = receive("sales@in.brand.test", mail).await;
        let message = &parsed.inbound[0];
        assert_eq!(message.text.expose(), "Yes please");
        assert_eq!(message.from.expose(), "zoe@example.com");
        assert_eq!(message.name.as_ref().unwrap().expose(), "Zoë");
        assert_eq!(message.in_reply_to.as_deref(), Some("<m-42@brand.test>"));
        assert_eq!(
            (message.media[0].location.as_str(), message.automatic),
            ("a-1", false)
        );
    }

    #[tokio::test]
    async fn machines_are_told_and_html_stands_in() {
        let mail = json!({
            "html": "<p>Away &amp; back</p>", "text": null, "attachments": null,
            "headers": { "Auto-Submitted": "auto-replied" }
        });
        let parsed = receive("sales@in.brand.test", mail).await;
        assert_eq!(parsed.inbound[0].text.expose().trim(), "Away & back");
        assert!(parsed.inbound[0].automatic);
    }

    #[tokio::test]
    async fn a_copy_is_for_us_as_well() {
        for field in ["cc", "bcc"] {
            let mut data = json!({
                "email_id": "r-1", "from": "zoe@example.com", "to": ["boss@other.test"], "subject": "unsubscribe",
            });
            data[field] = json!(["Sales <sales@in.brand.test>"]);
            let fetch = async |_: &str| Ok(Received::default());
            let domains = ["in.brand.test".to_owned()];
            let parsed = read("msg_1", data.as_object().unwrap(), &domains, fetch)
                .await
                .unwrap();
            let message = &parsed.inbound[0];
            assert_eq!(
                message.to.as_ref().unwrap().expose(),
                "sales@in.brand.test",
                "{field}"
            );
            assert_eq!(message.handled_keyword.as_deref(), Some("UNSUBSCRIBE"));
        }
    }

    #[tokio::test]
    async fn mail_for_others_is_left_alone() {
        let parsed = receive("sales@other.test", json!({})).await;
        assert_eq!((parsed.inbound.len(), parsed.skipped.len()), (0, 1));
    }
}
