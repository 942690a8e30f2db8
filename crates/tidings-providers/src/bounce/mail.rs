//! A message from a contact, read from its MIME form.

use super::{Envelope, MailKind, MailReport, heuristics, parse, report_of};
use tidings_core::redact::Private;

/// The longest value kept of a header, in characters.
const LONGEST_VALUE: usize = 998;

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

impl MailContent {
    /// A person asks to be left alone. A provider's report of one who did is another thing: it is believed as far as its address
    /// proves, like other reports.
    pub fn wants_out(&self) -> bool {
        self.report.kind == MailKind::Unsubscribe && !self.is_report
    }
}

/// Reads a mail that arrived for us; every value is bounded and holds no NUL. Nothing when it is no mail at all.
pub fn read_inbound(raw: &[u8], envelope: &Envelope<'_>) -> Option<MailContent> {
    let mail = parse(raw)?;
    let report = report_of(&mail, envelope);
    let message = &mail.head;
    let from = message.from().and_then(|from| from.first());
    let value = |text: &str| Private::new(bounded(text));
    Some(MailContent {
        message_id: message.message_id().map(|id| format!("<{}>", bounded(id))),
        from: from.and_then(|a| a.address()).map(value),
        name: from.and_then(|a| a.name()).map(value),
        subject: message.subject().map(value),
        text: Private::new(mail.text()),
        is_report: super::report_type(message).is_some(),
        automatic: report.kind == MailKind::AutoReply || heuristics::is_automatic(message),
        date: message
            .date()
            .and_then(|d| jiff::Timestamp::from_second(d.to_timestamp()).ok()),
        attachments: mail.files().iter().map(|kind| bounded(kind)).collect(),
        report,
    })
}

fn bounded(text: &str) -> String {
    text.chars()
        .filter(|character| *character != '\0')
        .take(LONGEST_VALUE)
        .collect()
}
