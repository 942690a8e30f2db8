//! What Resend says of a mail when it is asked: its last event, without what that was about.
//!
//! Webhooks are told apart by ids that are not told here, so an event has a key of its own: mail and event. The webhook, if it
//! comes after all, says the same again; of a bounce it says more, and that counts then.

use super::errors;
use super::events;
use crate::contract::Report;
use crate::egress::EgressResponse;
use crate::feedback;
use serde_json::{Map, Value};
use tidings_core::event::DeliveryEventKind;

/// Bytes of an answer: it holds the whole mail. What is longer cannot be read.
pub const LIMIT: usize = 4 << 20;

/// Reads the answer about a mail.
pub fn read(id: &str, answer: &EgressResponse) -> Report {
    match errors::classify(answer.status, &answer.headers, &answer.body) {
        Some(no) if no.code == "404 not_found" => return Report::NotKnown,
        Some(_) if answer.status == 404 => {
            return Report::Unanswered(feedback::unreadable("Resend", answer.status));
        }
        // A key that may only send is a good key.
        Some(no) if no.code == "401 restricted_api_key" => {
            return Report::Unanswered(feedback::unsupported(
                "the key may send and nothing else; asking what became of mail needs full access",
            ));
        }
        Some(no) => return Report::Unanswered(no),
        None => {}
    }
    let mail: Map<String, Value> = match feedback::body("Resend", answer) {
        Ok(mail) => mail,
        Err(no) => return Report::Unanswered(no),
    };
    let told = events::text(&mail, "last_event")
        .filter(|_| events::text(&mail, "id") == Some(id))
        .map(|event| (event, events::asked(id, event, &mail)));
    match told {
        Some(("queued" | "scheduled", _)) => Report::Nothing,
        Some((_, Some(event)))
            if matches!(
                event.kind,
                DeliveryEventKind::Accepted | DeliveryEventKind::Deferred
            ) =>
        {
            Report::Nothing
        }
        Some((_, Some(event))) => Report::Known(vec![event]),
        Some((_, None)) | None => Report::Unanswered(feedback::unreadable("Resend", answer.status)),
    }
}
