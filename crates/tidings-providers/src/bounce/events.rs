//! What a piece of mail reports about a dispatch that its address has proved.

use super::{MailKind, MailReport, RecipientReport};
use crate::contract::{ReportedEvent, SuppressBecause};
use crate::mask::mask;
use tidings_core::ErrorCategory;
use tidings_core::event::{BounceClass, DeliveryEventKind};

/// The events of a report about a dispatch. A dispatch is returned once, however many servers say so; each warning of a
/// delay counts, told apart by `digest`. Answers of people and machines are no events.
pub fn reported(report: &MailReport, reference: &str, digest: &str) -> Vec<ReportedEvent> {
    let (kind, action) = match report.kind {
        MailKind::Bounce => (DeliveryEventKind::Bounced, Some("failed")),
        MailKind::Delay => (DeliveryEventKind::Deferred, Some("delayed")),
        MailKind::Delivered => (DeliveryEventKind::Delivered, Some("delivered")),
        MailKind::Complaint => (DeliveryEventKind::Complained, None),
        MailKind::Unsubscribe => (DeliveryEventKind::Unsubscribed, None),
        MailKind::AutoReply | MailKind::Reply | MailKind::Other => return Vec::new(),
    };
    let key = if kind == DeliveryEventKind::Deferred {
        format!("mail:{kind}:{digest}")
    } else {
        format!("mail:{kind}:{reference}")
    };
    let event = |recipient: Option<&RecipientReport>| event_of(kind, &key, reference, recipient);
    if report.recipients.is_empty() {
        return vec![event(None)];
    }
    report
        .recipients
        .iter()
        .filter(|one| action.is_none() || one.action.as_deref() == action)
        .map(|one| event(Some(one)))
        .collect()
}

/// What a bounce means in Amazon SES's words, which Resend passes on; `code` is the most exact there is.
///
/// `Permanent` is about the address. `Transient` is not: out-of-office answers are reported so, too, and so are messages
/// that were too large or not liked. Only a full mailbox is counted against it: a soft bounce without a code is not.
pub fn of_ses(kind: Option<&str>, sub_type: Option<&str>, code: &str) -> ReportedEvent {
    let hard = kind == Some("Permanent");
    let counted = hard || sub_type == Some("MailboxFull");
    ReportedEvent {
        bounce_class: Some(if hard {
            BounceClass::Hard
        } else {
            BounceClass::Soft
        }),
        suppress: hard.then_some(SuppressBecause::HardBounce),
        error: counted.then(|| (ErrorCategory::Permanent, mask(code))),
        ..ReportedEvent::new(String::new(), DeliveryEventKind::Bounced)
    }
}

fn event_of(
    kind: DeliveryEventKind,
    key: &str,
    reference: &str,
    recipient: Option<&RecipientReport>,
) -> ReportedEvent {
    let bounced = kind == DeliveryEventKind::Bounced;
    let class = bounced.then(|| {
        recipient
            .and_then(RecipientReport::bounce_class)
            .unwrap_or(BounceClass::Soft)
    });
    let suppress = match kind {
        DeliveryEventKind::Bounced if class == Some(BounceClass::Hard) => Some(SuppressBecause::HardBounce),
        DeliveryEventKind::Complained => Some(SuppressBecause::Complaint),
        DeliveryEventKind::Unsubscribed => Some(SuppressBecause::Unsubscribe),
        _ => None,
    };
    let category = if class == Some(BounceClass::Soft) {
        ErrorCategory::Transient
    } else {
        ErrorCategory::Permanent
    };
    let code = recipient.and_then(|one| one.status.clone());
    ReportedEvent {
        dedupe_key: key.to_owned(),
        kind,
        occurred_at: None,
        provider_message_id: None,
        reference: Some(reference.to_owned()),
        recipient: recipient.and_then(|one| one.address.clone()),
        bounce_class: class,
        error: bounced.then(|| (category, code.unwrap_or_else(|| "bounce".to_owned()))),
        suppress,
        detail: recipient.and_then(|one| one.diagnostic.clone()),
    }
}
