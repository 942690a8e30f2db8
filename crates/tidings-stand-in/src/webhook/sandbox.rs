//! The sandbox: reports and messages in the words of the providers' contract, as a Standard Webhook.

use super::{Event, Inbound, Outgoing, Report, Signer, reply_of};
use crate::account::Account;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::redact::Private;
use tidings_core::{Channel, ErrorCategory};
use tidings_providers::{InboundMessage, ReportedEvent, SuppressBecause};

pub(super) fn reports(account: &Account, reports: &[Report]) -> Vec<Outgoing> {
    let events: Vec<ReportedEvent> = reports.iter().filter_map(event).collect();
    let mut messages = Vec::new();
    for report in reports {
        if let Some(reply) = reply_of(report) {
            messages.push(message(&reply, channel_of(report), &report.id, report.at));
        }
    }
    let holds = events.len() + messages.len();
    let id = reports
        .first()
        .map(|report| report.id.as_str())
        .unwrap_or_default();
    if holds == 0 {
        return Vec::new();
    }
    request(
        account,
        id,
        &json!({ "events": events, "inbound": messages }),
        holds,
    )
    .into_iter()
    .collect()
}

fn request(account: &Account, id: &str, body: &Value, holds: usize) -> Option<Outgoing> {
    let signer = account
        .secrets
        .webhook_secret
        .clone()
        .map_or(Signer::Unsigned, |secret| Signer::Standard {
            id: format!("msg_{id}"),
            secret,
            svix: false,
        });
    Some(Outgoing {
        url: account.webhook_url.clone()?,
        content_type: "application/json",
        body: body.to_string().into_bytes(),
        signer,
        holds,
    })
}

fn event(report: &Report) -> Option<ReportedEvent> {
    use DeliveryEventKind as Kind;
    let (kind, bounce_class, suppress) = match report.step.event {
        Event::Accepted => (Kind::Accepted, None, None),
        Event::Deferred => (Kind::Deferred, None, None),
        Event::Delivered => (Kind::Delivered, None, None),
        Event::Opened | Event::Read => (Kind::Opened, None, None),
        Event::Clicked => (Kind::Clicked, None, None),
        Event::BouncedHard => (
            Kind::Bounced,
            Some(BounceClass::Hard),
            Some(SuppressBecause::HardBounce),
        ),
        Event::BouncedSoft => (Kind::Bounced, Some(BounceClass::Soft), None),
        Event::BouncedBlock => (Kind::Bounced, Some(BounceClass::Block), None),
        Event::Complained => (Kind::Complained, None, Some(SuppressBecause::Complaint)),
        Event::Unsubscribed => (Kind::Unsubscribed, None, Some(SuppressBecause::Unsubscribe)),
        Event::Failed => (Kind::Failed, None, None),
        Event::Stop | Event::Replied => return None,
    };
    let code = report.step.code.map(|code| code.to_string());
    let failed = kind == Kind::Failed || bounce_class.is_some();
    Some(ReportedEvent {
        dedupe_key: report.id.clone(),
        kind,
        occurred_at: Some(report.at),
        provider_message_id: Some(report.entry.provider_id.clone()),
        reference: report.entry.reference.clone(),
        recipient: Some(report.entry.recipient.clone()),
        bounce_class,
        error: failed.then(|| {
            (
                ErrorCategory::Permanent,
                code.unwrap_or_else(|| "stand-in".to_owned()),
            )
        }),
        suppress,
        detail: report.step.url.clone(),
    })
}

fn channel_of(report: &Report) -> Channel {
    let word = report.entry.about("channel").unwrap_or_default();
    serde_json::from_value(word.into()).unwrap_or(Channel::Email)
}

fn message(message: &Inbound, channel: Channel, id: &str, now: Timestamp) -> InboundMessage {
    let private = |text: &Option<String>| text.clone().map(Private::new);
    InboundMessage {
        dedupe_key: id.to_owned(),
        channel,
        from: Private::new(message.from.clone()),
        to: Some(Private::new(message.to.clone())).filter(|to| !to.expose().is_empty()),
        name: private(&message.name),
        subject: private(&message.subject),
        text: Private::new(message.text.clone()),
        provider_message_id: Some(id.to_owned()),
        occurred_at: Some(now),
        media: Vec::new(),
        handled_keyword: None,
        in_reply_to: message.in_reply_to.clone(),
        automatic: false,
        whatsapp: None,
    }
}

/// An address with an `@` writes by e-mail, any other by text.
pub(super) fn inbound(account: &Account, given: &Inbound, id: &str, now: Timestamp) -> Option<Outgoing> {
    let channel = if given.from.contains('@') {
        Channel::Email
    } else {
        Channel::Sms
    };
    let body = json!({ "events": [], "inbound": [message(given, channel, id, now)] });
    request(account, id, &body, 1)
}
