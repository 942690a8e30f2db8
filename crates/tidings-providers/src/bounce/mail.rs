//! A message from a contact, read from its MIME form.

use super::{Envelope, MailKind, MailReport, heuristics, parse, read};
use mail_parser::decoders::html::html_to_text;
use mail_parser::{Message, MimeHeaders};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tidings_core::redact::Private;

/// The longest text kept of a message.
const LONGEST_TEXT: usize = 256 * 1024;

/// The parts of an inbound mail that matter.
#[derive(Clone, Debug)]
pub struct MailContent {
    /// What the mail is, and what it reports.
    pub report: MailReport,
    /// `Message-ID`, with angle brackets.
    pub message_id: Option<String>,
    /// The address in `From`.
    pub from: Option<Private<String>>,
    /// The name in `From`.
    pub name: Option<Private<String>>,
    /// Subject.
    pub subject: Option<Private<String>>,
    /// The text, made from the HTML when there is no other.
    pub text: Private<String>,
    /// It is a report of some kind (`multipart/report`), not a letter.
    pub is_report: bool,
    /// A machine wrote it.
    pub automatic: bool,
    /// When it was written, by its own account.
    pub date: Option<jiff::Timestamp>,
    /// The MIME types of its files.
    pub attachments: Vec<String>,
}

/// Reads a mail that arrived for us. Nothing when it is no mail at all.
pub fn read_inbound(raw: &[u8], envelope: &Envelope<'_>) -> Option<MailContent> {
    let report = read(raw, envelope)?;
    let message = parse(raw)?;
    let from = message.from().and_then(|from| from.first());
    Some(MailContent {
        message_id: message.message_id().map(|id| format!("<{id}>")),
        from: from.and_then(|a| a.address()).map(|a| Private::new(a.to_owned())),
        name: from.and_then(|a| a.name()).map(|n| Private::new(n.to_owned())),
        subject: message.subject().map(|s| Private::new(s.to_owned())),
        text: Private::new(text_of(&message)),
        is_report: super::report_type(&message).is_some(),
        automatic: report.kind == MailKind::AutoReply || heuristics::is_automatic(&message),
        date: message
            .date()
            .and_then(|d| jiff::Timestamp::from_second(d.to_timestamp()).ok()),
        attachments: message
            .attachments()
            .take(200)
            .map(|part| {
                part.content_type().map_or_else(
                    || "application/octet-stream".to_owned(),
                    |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")),
                )
            })
            .collect(),
        report,
    })
}

fn text_of(message: &Message<'_>) -> String {
    let text = catch_unwind(AssertUnwindSafe(|| {
        message.body_text(0).map(std::borrow::Cow::into_owned)
    }))
    .ok()
    .flatten()
    .unwrap_or_default();
    cut(&text)
}

/// The text of an HTML body, bounded.
pub(crate) fn text_of_html(html: &str) -> String {
    let html = cut(html);
    cut(&catch_unwind(|| html_to_text(&html)).unwrap_or_default())
}

/// Cuts at the longest text, at a character's edge.
pub(crate) fn cut(text: &str) -> String {
    let end = (0..=text.len().min(LONGEST_TEXT))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text[..end].to_owned()
}
