//! Mail that comes back: bounces, delays, complaints, automatic answers, and the replies among them.
//!
//! Delivery status notifications (RFC 3464, RFC 6533), feedback reports (RFC 5965), automatic answers (RFC 3834),
//! and the older forms without a report part (qmail, Exim). Finality comes from `Action`, hard or soft from the
//! class of `Status`: at the end of a queue's lifetime real servers report `failed` with a 4.x.x status.
//!
//! A report can be forged. [`MailReport::verp_token`] is what the envelope claims; nothing is suppressed before
//! `smtp::verp` has proved it, and then only a recipient of that message.

mod class;
mod events;
mod fields;
mod heuristics;
mod mail;
mod parts;

pub use class::{StatusClass, class_of_status, enhanced_code};
pub use events::{of_ses, reported};
pub use mail::{MailContent, read_inbound};
pub(crate) use parts::{cut, text_of_html};

use fields::{Block, blocks};
use mail_parser::{Message, MimeHeaders};
use parts::{Mail, headers_alone, parse};
use std::borrow::Cow;
use tidings_core::event::BounceClass;
use tidings_core::redact::Private;

/// The most recipients of one report.
const MOST_RECIPIENTS: usize = 100;

/// What a piece of mail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailKind {
    /// Delivery failed for good.
    Bounce,
    /// Delivery takes longer; nothing is lost yet.
    Delay,
    /// Delivered, relayed or expanded.
    Delivered,
    /// A recipient called the message spam.
    Complaint,
    /// A machine answered.
    AutoReply,
    /// A person answered.
    Reply,
    /// A request to be left alone, by mail.
    Unsubscribe,
    /// None of these (receipts, reports that are no complaints, new mail).
    Other,
}

/// The envelope the mail came in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envelope<'a> {
    /// `MAIL FROM`; empty or `<>` for reports.
    pub mail_from: &'a str,
    /// `RCPT TO`.
    pub rcpt_to: &'a str,
}

/// What a report says of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientReport {
    /// The address we wrote to, as far as the report names it.
    pub address: Option<Private<String>>,
    /// `failed`, `delayed`, `delivered`, `relayed`, `expanded`; in lower case.
    pub action: Option<String>,
    /// The enhanced status code, `5.1.1`.
    pub status: Option<String>,
    /// The remote server's words, masked.
    pub diagnostic: Option<String>,
    /// What follows for the address; none when it is no failure.
    pub class: Option<StatusClass>,
}

impl RecipientReport {
    /// The class of the bounce; what is not certain counts as soft.
    pub fn bounce_class(&self) -> Option<BounceClass> {
        self.class.map(StatusClass::bounce_class)
    }
}

/// What a piece of mail says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailReport {
    /// What it is.
    pub kind: MailKind,
    /// Whom it is about; empty for replies.
    pub recipients: Vec<RecipientReport>,
    /// The token of the bounce address it came to, unproved.
    pub verp_token: Option<String>,
    /// The `Message-ID` it is about, with angle brackets.
    pub original_message_id: Option<String>,
}

/// Reads a piece of mail that arrived at a bounce or reply address. Never panics, whatever the bytes; nothing when it is no
/// mail at all.
pub fn read(raw: &[u8], envelope: &Envelope<'_>) -> Option<MailReport> {
    Some(report_of(&parse(raw)?, envelope))
}

fn report_of(mail: &Mail<'_>, envelope: &Envelope<'_>) -> MailReport {
    let returned = returned_headers(mail);
    let original = returned.as_deref().and_then(headers_alone);
    let mut report = match report_type(&mail.head).as_deref() {
        Some("feedback-report") => feedback(mail, original.as_ref()),
        Some("disposition-notification") => plain(MailKind::Other),
        _ => match delivery_blocks(mail, envelope) {
            Some(blocks) => delivery(&blocks),
            None => heuristics::read(mail, envelope),
        },
    };
    report.verp_token = report.verp_token.or_else(|| token_in(&mail.head, envelope));
    report.original_message_id = match report.kind {
        MailKind::Reply | MailKind::AutoReply | MailKind::Unsubscribe | MailKind::Other => {
            answered_id(&mail.head)
        }
        _ => original
            .as_ref()
            .and_then(|o| bracketed(o.message_id()))
            .or_else(|| heuristics::message_id_in_text(mail))
            .or_else(|| answered_id(&mail.head)),
    };
    report
}

fn plain(kind: MailKind) -> MailReport {
    MailReport {
        kind,
        recipients: Vec::new(),
        verp_token: None,
        original_message_id: None,
    }
}

fn report_type(message: &Message<'_>) -> Option<String> {
    let kind = message.content_type()?;
    let is_report = kind.ctype().eq_ignore_ascii_case("multipart")
        && kind.subtype().is_some_and(|s| s.eq_ignore_ascii_case("report"));
    kind.attribute("report-type")
        .filter(|_| is_report)
        .map(str::to_ascii_lowercase)
}

/// The report's blocks of fields. Outside a `multipart/report` they count only in mail no person sent.
fn delivery_blocks(mail: &Mail<'_>, envelope: &Envelope<'_>) -> Option<Vec<Block>> {
    let part = mail
        .parts
        .iter()
        .find(|part| part.is_type(&["message/delivery-status", "message/global-delivery-status"]))?;
    let official = report_type(&mail.head).is_some_and(|kind| kind == "delivery-status");
    if !official && !heuristics::from_a_machine(&mail.head, envelope) {
        return None;
    }
    Some(blocks(&String::from_utf8_lossy(&part.contents())))
}

fn delivery(blocks: &[Block]) -> MailReport {
    let mut recipients: Vec<RecipientReport> = Vec::new();
    for block in blocks
        .iter()
        .filter(|b| b.get("final-recipient").or(b.get("original-recipient")).is_some())
    {
        let recipient = recipient_of(block);
        if !recipients.contains(&recipient) && recipients.len() < MOST_RECIPIENTS {
            recipients.push(recipient);
        }
    }
    let has = |actions: &[&str]| {
        recipients.iter().any(|r| {
            r.action
                .as_deref()
                .is_some_and(|action| actions.contains(&action))
        })
    };
    let kind = if has(&["failed"]) {
        MailKind::Bounce
    } else if has(&["delayed"]) {
        MailKind::Delay
    } else if has(&["delivered", "relayed", "expanded"]) {
        MailKind::Delivered
    } else {
        MailKind::Other
    };
    MailReport {
        recipients,
        ..plain(kind)
    }
}

fn recipient_of(block: &Block) -> RecipientReport {
    let address = ["original-recipient", "final-recipient"]
        .iter()
        .find_map(|name| fields::address(block.get(name)?));
    let diagnostic = block.get("diagnostic-code").map(fields::diagnostic);
    let status = block.get("status").and_then(enhanced_code);
    let action = block
        .get("action")
        .map(|value| fields::without_comments(value).to_ascii_lowercase())
        .filter(|action| !action.is_empty())
        .or_else(|| {
            let word = match status.as_deref()?.chars().next()? {
                '2' => "delivered",
                '4' => "delayed",
                _ => "failed",
            };
            Some(word.to_owned())
        });
    let class = (action.as_deref() == Some("failed")).then(|| {
        class_of_status(
            status.as_deref().unwrap_or_default(),
            diagnostic.as_deref().unwrap_or_default(),
        )
    });
    RecipientReport {
        address: address.map(Private::new),
        action,
        status,
        diagnostic: diagnostic.map(|text| crate::mask::mask(&text)),
        class,
    }
}

/// A feedback report (RFC 5965). `not-spam` takes a complaint back, and `auth-failure` is about forgeries.
fn feedback(mail: &Mail<'_>, original: Option<&Message<'_>>) -> MailReport {
    let fields = mail
        .parts
        .iter()
        .find(|part| part.is_type(&["message/feedback-report"]))
        .map(|part| blocks(&String::from_utf8_lossy(&part.contents())));
    let field = |name: &str| fields.iter().flatten().find_map(|block| block.get(name));
    let kind = match field("feedback-type")
        .map(|v| fields::without_comments(v).to_ascii_lowercase())
        .as_deref()
    {
        Some("not-spam" | "auth-failure" | "dkim" | "dmarc") | None => MailKind::Other,
        Some("opt-out" | "opt-out-list") => MailKind::Unsubscribe,
        Some(_) => MailKind::Complaint,
    };
    let address = field("original-rcpt-to")
        .and_then(fields::address)
        .or_else(|| original?.to()?.first()?.address().map(str::to_owned));
    let recipient = RecipientReport {
        address: address.map(Private::new),
        action: None,
        status: None,
        diagnostic: None,
        class: None,
    };
    let token = field("original-mail-from")
        .and_then(fields::address)
        .and_then(|from| token_of(&from));
    let recipients = if kind == MailKind::Other {
        Vec::new()
    } else {
        vec![recipient]
    };
    MailReport {
        recipients,
        verp_token: token,
        ..plain(kind)
    }
}

/// The returned message, whole or its headers alone.
fn returned_headers<'a>(mail: &Mail<'a>) -> Option<Cow<'a, [u8]>> {
    let part = mail.parts.iter().find(|part| {
        part.is_within
            && part.is_type(&[
                "text/rfc822-headers",
                "message/rfc822",
                "message/global",
                "message/global-headers",
            ])
    })?;
    Some(part.contents())
}

fn bracketed(id: Option<&str>) -> Option<String> {
    id.map(str::trim)
        .filter(|id| !id.is_empty() && id.len() <= 998 && !id.contains(char::is_control))
        .map(|id| format!("<{}>", id.trim_matches(['<', '>'])))
}

/// The message a reply answers: `In-Reply-To`, else the last of `References`.
fn answered_id(message: &Message<'_>) -> Option<String> {
    let last = |value: &mail_parser::HeaderValue<'_>| match value {
        mail_parser::HeaderValue::Text(text) => Some(text.to_string()),
        mail_parser::HeaderValue::TextList(list) => list.last().map(ToString::to_string),
        _ => None,
    };
    bracketed(
        last(message.in_reply_to())
            .or_else(|| last(message.references()))
            .as_deref(),
    )
}

fn token_in(message: &Message<'_>, envelope: &Envelope<'_>) -> Option<String> {
    let header = |name: &'static str| message.header_raw(name).map(str::trim).map(str::to_owned);
    token_of(envelope.rcpt_to)
        .or_else(|| header("Delivered-To").and_then(|to| token_of(&to)))
        .or_else(|| header("X-Original-To").and_then(|to| token_of(&to)))
        .or_else(|| message.to()?.first()?.address().and_then(token_of))
}

/// The token in a bounce address: after the last `=` of `bounce+<anything>=<token>@`, or all of `b+<token>@`.
fn token_of(address: &str) -> Option<String> {
    let local = address.trim().trim_matches(['<', '>']).rsplit_once('@')?.0;
    let (mailbox, tail) = local.split_once('+')?;
    if !matches!(mailbox.to_ascii_lowercase().as_str(), "b" | "bounce" | "bounces") {
        return None;
    }
    let token = tail.rsplit_once('=').map_or(tail, |(_, token)| token);
    (!token.is_empty()).then(|| token.to_owned())
}
