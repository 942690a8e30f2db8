//! Statuses of our messages, users' marketing preferences, reviews of templates.

use super::errors::classify_code;
use super::webhook::{instant, list, number, text, user_id};
use crate::contract::{
    RejectionEffect, ReportedEvent, SuppressBecause, TemplateReport, TemplateStanding, UserLink,
    WebhookParsed,
};
use crate::mask::mask;
use serde_json::Value;
use tidings_core::ErrorCategory;
use tidings_core::event::DeliveryEventKind;
use tidings_core::redact::Private;

/// Reads a status; the error says why it was skipped.
pub fn status(element: &Value, parsed: &mut WebhookParsed) -> Result<(), String> {
    let id = text(element, "id")
        .filter(|id| id.len() <= 500)
        .ok_or("a status without a message id")?;
    let word = text(element, "status").unwrap_or_default().to_ascii_lowercase();
    let kind = match word.as_str() {
        "accepted" | "sent" => DeliveryEventKind::Accepted,
        "delivered" => DeliveryEventKind::Delivered,
        "read" | "played" => DeliveryEventKind::Opened,
        "failed" => DeliveryEventKind::Failed,
        _ => return Err("an unknown message status".to_owned()),
    };
    let recipient = text(element, "recipient_id").and_then(number);
    if let Some(user) = text(element, "recipient_user_id").and_then(user_id) {
        parsed.links.push(UserLink {
            user_id: Private::new(user),
            phone: recipient.clone().map(Private::new),
            provider_message_id: Some(id.to_owned()),
            replaces: None,
        });
    }
    let failure = failure(element, kind);
    let suppress = failure.as_ref().and_then(|failure| match failure.effect? {
        RejectionEffect::AddressBad => Some(SuppressBecause::HardBounce),
        RejectionEffect::OptedOut => Some(SuppressBecause::Stop),
        RejectionEffect::OptedOutOfMarketing => Some(SuppressBecause::MarketingStop),
    });
    let said = failure.as_ref().and_then(|failure| failure.said.clone());
    parsed.events.push(ReportedEvent {
        dedupe_key: format!("{id}:{word}"),
        kind,
        occurred_at: instant(element, "timestamp"),
        provider_message_id: Some(id.to_owned()),
        reference: text(element, "biz_opaque_callback_data")
            .filter(|reference| reference.len() <= 200)
            .map(str::to_owned),
        recipient: recipient.map(Private::new),
        bounce_class: None,
        error: failure.map(|failure| (failure.category, failure.code)),
        suppress,
        detail: Some(said.unwrap_or(word)),
    });
    Ok(())
}

/// Why a message failed.
struct Failed {
    category: ErrorCategory,
    code: String,
    effect: Option<RejectionEffect>,
    said: Option<String>,
}

/// Of several errors the first. A code that is not in the table is final: Meta has given the message up.
fn failure(element: &Value, kind: DeliveryEventKind) -> Option<Failed> {
    if kind != DeliveryEventKind::Failed {
        return None;
    }
    let error = list(element, "errors").next()?;
    let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
    let (category, effect) = classify_code(code).unwrap_or((ErrorCategory::Permanent, None));
    let details = error.get("error_data").and_then(|data| text(data, "details"));
    Some(Failed {
        category,
        code: code.to_string(),
        effect,
        said: details.or_else(|| text(error, "title")).map(mask),
    })
}

/// Reads what a user chose about marketing; the error says why it was skipped.
pub fn preference(element: &Value, parsed: &mut WebhookParsed) -> Result<(), String> {
    if text(element, "category").is_some_and(|category| category != "marketing_messages") {
        return Err("a preference about something else than marketing".to_owned());
    }
    let (kind, suppress) = match text(element, "value") {
        Some("stop") => (
            DeliveryEventKind::Unsubscribed,
            Some(SuppressBecause::MarketingStop),
        ),
        Some("resume") => (DeliveryEventKind::Resubscribed, None),
        _ => return Err("a preference with an unknown value".to_owned()),
    };
    let recipient = text(element, "wa_id")
        .and_then(number)
        .or_else(|| text(element, "user_id").and_then(user_id))
        .ok_or("a preference of nobody")?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, element.to_string().as_bytes());
    parsed.events.push(ReportedEvent {
        dedupe_key: format!("preference:{}", hex::encode(digest)),
        kind,
        occurred_at: instant(element, "timestamp"),
        provider_message_id: None,
        reference: None,
        recipient: Some(Private::new(recipient)),
        bounce_class: None,
        error: None,
        suppress,
        detail: None,
    });
    Ok(())
}

/// Reads what became of a template; the error says why it was skipped.
pub fn template(entry: &Value, value: &Value, parsed: &mut WebhookParsed) -> Result<(), String> {
    let short = |name: &str, most: usize| {
        text(value, name)
            .filter(|text| text.len() <= most && !text.chars().any(char::is_control))
            .map(str::to_owned)
    };
    let (Some(name), Some(language), Some(word)) = (
        short("message_template_name", 512),
        short("message_template_language", 35),
        short("event", 64),
    ) else {
        return Err("a template's review without name, language or event".to_owned());
    };
    let standing = match word.to_ascii_uppercase().as_str() {
        // Flagged: Meta warns; it may still be sent.
        "APPROVED" | "REINSTATED" | "UNPAUSED" | "FLAGGED" => TemplateStanding::Approved,
        "PENDING" => TemplateStanding::Pending,
        "REJECTED" => TemplateStanding::Rejected,
        "PAUSED" => TemplateStanding::Paused,
        "DISABLED" => TemplateStanding::Disabled,
        _ => TemplateStanding::Other,
    };
    let account = entry.get("id").and_then(Value::as_str).unwrap_or_default();
    parsed.templates.push(TemplateReport {
        account: account.to_owned(),
        name,
        language,
        standing,
        word,
        reason: text(value, "reason")
            .filter(|reason| *reason != "NONE")
            .map(|reason| reason.chars().filter(|c| !c.is_control()).take(200).collect()),
        occurred_at: instant(entry, "time"),
    });
    Ok(())
}
