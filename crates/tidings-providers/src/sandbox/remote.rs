//! The sandbox's stand-in protocol: JSON over HTTP.
//!
//! `POST {base}/accept` with `{"reference", "message_id", "channel", "category", "to", "subject"?, "body"}`
//! answers `200 {"id": "...", "duplicate": false}`. `GET {base}/lookup/{reference}` answers `200 {"id": "..."}`
//! or `404`. Any other status is classed by itself: 401 and 403 are `auth_failure`, 429 is `rate_limit` (with
//! `Retry-After` in seconds), 400 and 422 `invalid_input`, other 4xx `permanent`, 5xx `transient`.
//! A refusal may say more: `{"code": "...", "detail": "...", "effect": "address_bad" | "opted_out"}`.

use super::capture::Captured;
use crate::contract::{CheckReport, Content, Lookup, Rejection, RejectionEffect, SendOutcome};
use crate::egress::{Egress, EgressRequest, EgressResponse, EgressUrl};
use crate::mask::mask;
use crate::outcome;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tidings_core::ErrorCategory;

/// A stand-in's address.
#[derive(Clone, Debug)]
pub struct Remote {
    base: EgressUrl,
    egress: Egress,
}

#[derive(Deserialize)]
struct Taken {
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    detail: String,
    effect: Option<String>,
}

impl Remote {
    /// Speaks to the stand-in at `base`.
    pub fn new(base: EgressUrl, egress: Egress) -> Self {
        Self { base, egress }
    }

    /// Hands a message over.
    pub async fn accept(&self, captured: Captured, limit: Duration) -> SendOutcome {
        let content = captured.content.expose();
        let subject = match content {
            Content::Email(email) => Some(email.subject.as_str()),
            _ => None,
        };
        let request = json!({
            "reference": captured.reference,
            "message_id": captured.message_id,
            "channel": captured.channel,
            "category": captured.category,
            "to": captured.to.expose().as_str(),
            "subject": subject,
            "body": content.preview(),
        });
        let url = self.base.join(&["accept"], &[]);
        let request = EgressRequest::post(url, "application/json", request.to_string()).within(limit);
        match self.egress.call(request).await {
            Err(failure) => outcome::of_failure(&failure),
            Ok(answer) if answer.status == 200 => match serde_json::from_slice::<Taken>(&answer.body) {
                Ok(taken) => SendOutcome::Accepted {
                    provider_message_id: Some(taken.id),
                },
                Err(_) => SendOutcome::Unknown {
                    detail: "the stand-in answered 200 without an id".to_owned(),
                },
            },
            Ok(answer) => SendOutcome::Rejected(rejection(&answer)),
        }
    }

    /// Asks for a reference.
    pub async fn lookup(&self, reference: &str) -> Lookup {
        let url = self.base.join(&["lookup", reference], &[]);
        match self.egress.call(EgressRequest::get(url)).await {
            Ok(answer) if answer.status == 404 => Lookup::NotFound,
            Ok(answer) if answer.status == 200 => match serde_json::from_slice::<Taken>(&answer.body) {
                Ok(taken) => Lookup::Found {
                    provider_message_id: Some(taken.id),
                },
                Err(_) => Lookup::Unavailable {
                    detail: "the stand-in answered 200 without an id".to_owned(),
                },
            },
            Ok(answer) => Lookup::Unavailable {
                detail: format!("the stand-in answered {}", answer.status),
            },
            Err(failure) => Lookup::Unavailable {
                detail: failure.to_string(),
            },
        }
    }

    /// Asks for a reference that cannot be there.
    pub async fn check(&self) -> CheckReport {
        match self.lookup("connection-check").await {
            Lookup::Unavailable { detail } => CheckReport {
                ok: false,
                findings: vec![detail],
            },
            Lookup::Found { .. } | Lookup::NotFound => CheckReport {
                ok: true,
                findings: vec!["the stand-in answers".to_owned()],
            },
        }
    }
}

fn rejection(answer: &EgressResponse) -> Rejection {
    let said: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let category = match answer.status {
        401 | 403 => ErrorCategory::AuthFailure,
        429 => ErrorCategory::RateLimit,
        400 | 422 => ErrorCategory::InvalidInput,
        400..500 => ErrorCategory::Permanent,
        500.. => ErrorCategory::Transient,
        _ => ErrorCategory::AuthFailure,
    };
    Rejection {
        category,
        code: if said.code.is_empty() {
            answer.status.to_string()
        } else {
            mask(&said.code)
        },
        detail: mask(&said.detail),
        retry_after: outcome::retry_after(&answer.headers),
        effect: match said.effect.as_deref() {
            Some("address_bad") => Some(RejectionEffect::AddressBad),
            Some("opted_out") => Some(RejectionEffect::OptedOut),
            _ => None,
        },
    }
}
