//! Inbound Parse: mail that reached one of the tenant's domains, as a form.

use crate::bounce::{Envelope, MailContent, MailKind, RecipientReport, read_inbound};
use crate::contract::{InboundMedia, InboundMessage, ReportedEvent, WebhookParsed, WebhookRefusal};
use crate::multipart::{self, Field};
use aws_lc_rs::digest::{SHA256, digest};
use mail_parser::decoders::charsets::map::charset_decoder;
use serde::Deserialize;
use std::collections::HashMap;
use tidings_core::event::DeliveryEventKind;
use tidings_core::redact::Private;
use tidings_core::{Channel, ErrorCategory};

#[derive(Default, Deserialize)]
#[serde(default)]
struct SmtpEnvelope {
    to: Vec<String>,
    from: String,
}

struct Form<'b> {
    fields: Vec<Field<'b>>,
    charsets: HashMap<String, String>,
}

impl Form<'_> {
    fn raw(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .map(|field| field.value)
    }

    /// A field's text; each may be in a charset of its own.
    fn text(&self, name: &str) -> Option<String> {
        let bytes = self.raw(name)?;
        let charset = self.charsets.get(name).map_or("utf-8", String::as_str);
        let utf8 = charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8");
        match charset_decoder(charset.to_ascii_lowercase().as_bytes()).filter(|_| !utf8) {
            Some(decode) => Some(decode(bytes)),
            None => Some(String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

/// Reads a form. The envelope says whom it was for; the `To` header does not.
pub fn read(content_type: &str, body: &[u8], domains: &[String]) -> Result<WebhookParsed, WebhookRefusal> {
    let malformed = |what: &str| WebhookRefusal::Malformed(what.to_owned());
    let fields = multipart::fields(content_type, body).ok_or_else(|| malformed("not a multipart form"))?;
    let mut form = Form {
        fields,
        charsets: HashMap::new(),
    };
    form.charsets = form
        .raw("charsets")
        .and_then(|json| serde_json::from_slice(json).ok())
        .unwrap_or_default();
    let envelope: SmtpEnvelope = form
        .raw("envelope")
        .and_then(|json| serde_json::from_slice(json).ok())
        .ok_or_else(|| malformed("the envelope is missing"))?;
    let to = envelope
        .to
        .iter()
        .find(|to| is_ours(to, domains))
        .ok_or(WebhookRefusal::WrongAccount)?;
    let smtp = Envelope {
        mail_from: &envelope.from,
        rcpt_to: to,
    };
    let mail = match form.raw("email") {
        Some(raw) => read_inbound(raw, &smtp),
        None => parsed_mode(&form, &smtp),
    };
    let mail = mail.ok_or_else(|| malformed("the mail cannot be read"))?;
    Ok(report(mail, &envelope.from, to, body))
}

fn is_ours(address: &str, domains: &[String]) -> bool {
    address
        .rsplit_once('@')
        .is_some_and(|(_, domain)| domains.iter().any(|ours| ours.eq_ignore_ascii_case(domain)))
}

/// SendGrid has taken the mail apart: put its headers back in front of the text and read that.
fn parsed_mode(form: &Form<'_>, envelope: &Envelope<'_>) -> Option<MailContent> {
    let headers = form.text("headers").unwrap_or_default();
    let text = match form.text("text") {
        Some(text) if !text.trim().is_empty() => text,
        _ => form
            .text("html")
            .map(|html| crate::bounce::text_of_html(&html))
            .unwrap_or_default(),
    };
    // The original's own MIME headers describe a body that is not there any more.
    let mut raw = String::new();
    let mut dropping = false;
    for line in headers.lines() {
        if line.trim().is_empty() {
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            let name = line
                .split(':')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            dropping = name.starts_with("content-") || name == "mime-version";
        }
        if !dropping {
            raw.push_str(line);
            raw.push_str("\r\n");
        }
    }
    for (name, field) in [("From", "from"), ("Subject", "subject")] {
        let present = raw.lines().any(|l| {
            l.to_ascii_lowercase()
                .starts_with(&format!("{}:", name.to_ascii_lowercase()))
        });
        if let Some(value) = form.text(field).filter(|_| !present) {
            raw.extend([name, ": ", value.replace(['\r', '\n'], " ").as_str(), "\r\n"]);
        }
    }
    raw.push_str("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
    let mut mail = read_inbound(raw.as_bytes(), envelope)?;
    mail.text = Private::new(crate::bounce::cut(&text));
    mail.attachments = attachment_types(form);
    Some(mail)
}

fn attachment_types(form: &Form<'_>) -> Vec<String> {
    let info: HashMap<String, HashMap<String, serde_json::Value>> = form
        .raw("attachment-info")
        .and_then(|json| serde_json::from_slice(json).ok())
        .unwrap_or_default();
    let mut types: Vec<String> = info
        .values()
        .take(200)
        .map(|file| {
            file.get("type")
                .and_then(serde_json::Value::as_str)
                .unwrap_or("application/octet-stream")
                .to_owned()
        })
        .collect();
    types.sort();
    types
}

fn report(mail: MailContent, from: &str, to: &str, body: &[u8]) -> WebhookParsed {
    let dedupe_key = mail
        .message_id
        .clone()
        .unwrap_or_else(|| hex::encode(digest(&SHA256, body)));
    if matches!(
        mail.report.kind,
        MailKind::Bounce | MailKind::Delay | MailKind::Delivered | MailKind::Complaint
    ) {
        return WebhookParsed {
            events: events_of(&mail, &dedupe_key),
            ..WebhookParsed::default()
        };
    }
    let handled_keyword = mail.wants_out().then(|| InboundMessage::UNSUBSCRIBE.to_owned());
    let media = mail.attachments.into_iter();
    let message = InboundMessage {
        dedupe_key,
        channel: Channel::Email,
        from: mail.from.unwrap_or_else(|| Private::new(from.to_owned())),
        to: Some(Private::new(to.to_owned())),
        name: mail.name,
        subject: mail.subject,
        text: mail.text,
        provider_message_id: None,
        occurred_at: mail.date,
        media: media
            .map(|content_type| InboundMedia {
                content_type,
                location: String::new(),
            })
            .collect(),
        handled_keyword,
        in_reply_to: mail.report.original_message_id,
        automatic: mail.automatic,
        whatsapp: None,
    };
    WebhookParsed {
        inbound: vec![message],
        ..WebhookParsed::default()
    }
}

/// What a bounce, delay or complaint that reached the inbound address says of each recipient.
///
/// Anybody can mail a forged report there: no bounce address proves which message it is about. So it is told, with
/// the `Message-ID` it names, and suppresses nobody.
fn events_of(mail: &MailContent, dedupe_key: &str) -> Vec<ReportedEvent> {
    let event = |(at, recipient): (usize, &RecipientReport)| {
        let class = recipient.bounce_class();
        let kind = match mail.report.kind {
            MailKind::Bounce if recipient.action.as_deref() == Some("failed") => DeliveryEventKind::Bounced,
            MailKind::Complaint => DeliveryEventKind::Complained,
            MailKind::Delay if recipient.action.as_deref() == Some("delayed") => DeliveryEventKind::Deferred,
            _ => return None,
        };
        Some(ReportedEvent {
            dedupe_key: format!("{dedupe_key}#{at}"),
            kind,
            occurred_at: mail.date,
            provider_message_id: mail.report.original_message_id.clone(),
            reference: None,
            recipient: recipient.address.clone(),
            bounce_class: class,
            error: recipient
                .status
                .clone()
                .map(|status| (ErrorCategory::Permanent, status)),
            suppress: None,
            detail: recipient.diagnostic.clone(),
        })
    };
    mail.report
        .recipients
        .iter()
        .enumerate()
        .filter_map(event)
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn form(fields: &[(&str, &[u8])]) -> Result<WebhookParsed, WebhookRefusal> {
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!("--xYz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xYz--\r\n");
        read(
            "multipart/form-data; boundary=xYz",
            &body,
            &["in.brand.test".to_owned()],
        )
    }

    const ENVELOPE: &[u8] = br#"{"to":["sales@in.brand.test"],"from":"zoe@example.com"}"#;

    #[test]
    fn a_mail_taken_apart_is_read_in_its_charsets() {
        let headers =
            b"Received: by mx with SMTP\nMessage-ID: <r1@example.com>\nIn-Reply-To: <m-42@brand.test>\n\
            From: =?utf-8?q?Zo=C3=AB?= <zoe@example.com>\nTo: elsewhere@other.test\nSubject: Re: Hi\n\
            Content-Type: multipart/alternative;\n boundary=\"b\"\nMIME-Version: 1.0\n";
        let parsed = form(&[
            ("headers", headers),
            ("to", b"elsewhere@other.test"),
            ("from", "Zoë <zoe@example.com>".as_bytes()),
            ("subject", b"Re: Hi"),
            ("text", b"Gr\xfc\xdfe\r\nfrom Zo\xeb"),
            ("envelope", ENVELOPE),
            (
                "charsets",
                br#"{"to":"UTF-8","from":"UTF-8","text":"iso-8859-1"}"#,
            ),
            ("attachments", b"1"),
            (
                "attachment-info",
                br#"{"attachment1":{"filename":"a.pdf","type":"application/pdf"}}"#,
            ),
            ("attachment1", b"%PDF"),
        ])
        .unwrap();
        let message = &parsed.inbound[0];
        assert_eq!(message.dedupe_key, "<r1@example.com>");
        assert_eq!(message.from.expose(), "zoe@example.com");
        assert_eq!(message.name.as_ref().unwrap().expose(), "Zoë");
        assert_eq!(message.to.as_ref().unwrap().expose(), "sales@in.brand.test");
        assert_eq!(message.subject.as_ref().unwrap().expose(), "Re: Hi");
        assert_eq!(message.text.expose(), "Grüße\r\nfrom Zoë");
        assert_eq!(message.in_reply_to.as_deref(), Some("<m-42@brand.test>"));
        assert_eq!((message.media.len(), message.automatic), (1, false));
    }

    #[test]
    fn html_stands_in_for_text_and_fields_for_headers() {
        let parsed = form(&[
            ("from", b"zoe@example.com"),
            ("subject", b"Hi"),
            ("html", b"<p>Yes &amp; <b>no</b></p>"),
            ("envelope", ENVELOPE),
        ])
        .unwrap();
        let message = &parsed.inbound[0];
        assert_eq!(message.text.expose().trim(), "Yes & no");
        assert_eq!(message.from.expose(), "zoe@example.com");
        assert_eq!(message.dedupe_key.len(), 64);
    }

    #[test]
    fn a_wish_to_be_left_alone_is_seen() {
        for (subject, expect) in [
            ("Unsubscribe", Some("UNSUBSCRIBE")),
            ("Re: Unsubscribe offer", None),
        ] {
            let parsed = form(&[
                ("from", b"zoe@example.com"),
                ("subject", subject.as_bytes()),
                ("text", b"x"),
                ("envelope", ENVELOPE),
            ])
            .unwrap();
            assert_eq!(parsed.inbound[0].handled_keyword.as_deref(), expect, "{subject}");
        }
    }

    #[test]
    fn a_forged_bounce_suppresses_nobody() {
        let raw = b"From: MAILER-DAEMON@x.test\r\nMessage-ID: <d1@x.test>\r\nContent-Type: multipart/report; \
            report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
            Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822;bob@example.com\r\nAction: failed\r\n\
            Status: 5.1.1\r\n\r\n--b--\r\n";
        let envelope = br#"{"to":["sales@in.brand.test"],"from":""}"#;
        let parsed = form(&[("email", raw), ("envelope", envelope)]).unwrap();
        assert_eq!((parsed.events.len(), parsed.inbound.len()), (1, 0));
        assert_eq!(parsed.events[0].suppress, None);
    }

    #[test]
    fn mail_for_another_domain_is_refused() {
        let envelope = br#"{"to":["sales@other.test"],"from":"zoe@example.com"}"#;
        let refused = form(&[("text", b"x"), ("envelope", envelope)]).unwrap_err();
        assert_eq!(refused, WebhookRefusal::WrongAccount);
        assert!(matches!(
            form(&[("text", b"x")]),
            Err(WebhookRefusal::Malformed(_))
        ));
    }
}
