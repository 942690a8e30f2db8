//! What Twilio says of a message when it is asked: the status of now, as its last callback would have told it.

use super::errors;
use super::settings::is_sid;
use super::webhook;
use crate::contract::{Report, ReportedEvent};
use crate::egress::EgressResponse;
use crate::feedback;
use jiff::fmt::rfc2822;
use serde::Deserialize;
use tidings_core::event::DeliveryEventKind;

/// Twilio's code of what does not exist. Another 404 is not Twilio's.
const NO_SUCH_MESSAGE: &str = "20404";

/// Codes of a credential or an account that is not good at all, whatever the status.
const REFUSED: [&str; 3] = ["20003", "20005", "20006"];

#[derive(Deserialize)]
struct Message {
    sid: String,
    status: String,
    error_code: Option<u32>,
    to: Option<String>,
    date_updated: Option<String>,
}

/// The file of a message; none for what is no id of Twilio's.
pub fn file_of(sid: &str) -> Option<String> {
    is_sid(sid, &["SM", "MM"]).then(|| format!("{sid}.json"))
}

/// Reads the answer about a message.
pub fn read(sid: &str, answer: &EgressResponse) -> Report {
    match errors::classify(answer.status, &answer.headers, &answer.body) {
        Some(no) if answer.status == 404 && no.code == NO_SUCH_MESSAGE => return Report::NotKnown,
        Some(_) if answer.status == 404 => {
            return Report::Unanswered(feedback::unreadable("Twilio", answer.status));
        }
        // A key that may send and not read, or test credentials: good for what they are.
        Some(no) if answer.status == 403 && !REFUSED.contains(&no.code.as_str()) => {
            return Report::Unanswered(feedback::unsupported(
                "the credential may not read messages; asking what became of them needs one that may",
            ));
        }
        Some(no) => return Report::Unanswered(no),
        None => {}
    }
    let message: Message = match feedback::body("Twilio", answer) {
        Ok(message) => message,
        Err(no) => return Report::Unanswered(no),
    };
    if message.sid != sid {
        return Report::Unanswered(feedback::unreadable("Twilio", answer.status));
    }
    match webhook::reported(
        message.sid,
        &message.status,
        message.error_code,
        message.to.as_deref(),
    ) {
        None => Report::Unanswered(feedback::unreadable("Twilio", answer.status)),
        Some(event) if event.kind == DeliveryEventKind::Accepted => Report::Nothing,
        // The callback tells no time; this is when the status became what it is.
        Some(event) => Report::Known(vec![ReportedEvent {
            occurred_at: message
                .date_updated
                .and_then(|at| rfc2822::parse(&at).ok())
                .map(|at| at.timestamp()),
            ..event
        }]),
    }
}
