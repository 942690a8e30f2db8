//! Twilio's error codes, in answers and in status callbacks.
//!
//! Source: Twilio's error dictionary; classes are ours. Message texts are not relied on, as Twilio asks.

use crate::contract::{Rejection, RejectionEffect};
use crate::mask::mask;
use crate::outcome;
use serde::Deserialize;
use tidings_core::ErrorCategory;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    code: Option<u32>,
    message: Option<String>,
}

/// Classes an answer; nothing for a success.
pub fn classify(status: u16, headers: &[(String, String)], body: &[u8]) -> Option<Rejection> {
    if (200..300).contains(&status) {
        return None;
    }
    let said: Body = serde_json::from_slice(body).unwrap_or_default();
    let (category, effect) = match said.code.and_then(known) {
        Some(known) => known,
        None => (outcome::category_of(status), None),
    };
    Some(Rejection {
        category,
        code: said
            .code
            .map_or_else(|| status.to_string(), |code| code.to_string()),
        detail: said
            .message
            .map_or_else(|| format!("Twilio answered {status}"), |text| mask(&text)),
        retry_after: outcome::retry_after(headers),
        effect,
    })
}

/// Classes the code of a status callback. An unknown code is final: Twilio has given the message up.
pub fn classify_code(code: u32) -> (ErrorCategory, Option<RejectionEffect>) {
    known(code).unwrap_or((ErrorCategory::Permanent, None))
}

fn known(code: u32) -> Option<(ErrorCategory, Option<RejectionEffect>)> {
    use ErrorCategory::{AuthFailure, InvalidInput, Permanent, RateLimit, Transient};
    use RejectionEffect::{AddressBad, OptedOut};
    Some(match code {
        // Account and credentials; regions and trial; registration of numbers and campaigns.
        10001 | 20003 | 20005 | 20006 | 20008 | 30002 | 21408 | 21608 | 30032..=30035 => (AuthFailure, None),
        // Limits: of the API, of a sender's queue, of a campaign, of a day; and Twilio's quiet-hours block (30610),
        // which passes by itself.
        20429 | 14107 | 21611 | 63018 | 63038 | 30022 | 30023 | 30027 | 30610 => (RateLimit, None),
        20500 | 20503 | 30001 | 30003 | 30008 | 30017 => (Transient, None),
        // The request.
        21211
        | 21212
        | 21217
        | 21601..=21604
        | 21606
        | 21609
        | 21617
        | 21619
        | 21620
        | 21623
        | 21654..=21658
        | 21701
        | 21703..=21705
        | 63005
        | 63028 => (InvalidInput, None),
        // The recipient.
        21610 => (Permanent, Some(OptedOut)),
        21614 | 30005 | 30006 => (Permanent, Some(AddressBad)),
        21214 | 21612 | 30004 | 30007 | 30450 | 30640 | 63003 | 63015 | 63024 => (Permanent, None),
        // The content (30010, 30011, 30019); its validity ended (30036); the carrier did not answer Twilio in time, so
        // that a retry may come twice (30410); WhatsApp's windows and templates.
        30010 | 30011 | 30019 | 30036 | 30410 | 63013 | 63016 | 63032 | 63040..=63042 | 63051 => {
            (Permanent, None)
        }
        _ => return None,
    })
}
