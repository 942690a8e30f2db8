//! The error tables as pure functions, by provider: for `vectors`, and for reports that arrive later.

use crate::contract::{Rejection, RejectionEffect, SendOutcome};
use crate::{notify, resend, sendgrid, ses, smtp, twilio, whatsapp_cloud, whatsapp_web};
use tidings_core::{ErrorCategory, ProviderKind};

pub use crate::smtp::Stage;

/// What came of classing an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is a success.
    Success,
    /// The answer is a no.
    No(Rejection),
    /// The answer is neither: the call counts as unanswered.
    Unclear,
    /// The provider's answers are not of HTTP, or not classed by themselves.
    NoProvider,
}

/// Classes an HTTP answer of a provider.
pub fn classify_http(
    provider: ProviderKind,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> Verdict {
    let rejection = match provider {
        ProviderKind::Sendgrid => sendgrid::classify(status, headers, body),
        ProviderKind::Twilio => twilio::classify(status, headers, body),
        ProviderKind::Resend => resend::classify(status, headers, body),
        ProviderKind::WhatsappCloud => whatsapp_cloud::classify(status, headers, body),
        ProviderKind::Ses => ses::classify(status, headers, body),
        ProviderKind::WhatsappWeb => whatsapp_web::classify(status, headers, body),
        ProviderKind::Smtp | ProviderKind::Sandbox => return Verdict::NoProvider,
    };
    rejection.map_or(Verdict::Success, Verdict::No)
}

/// Classes an answer of PagerDuty.
pub fn classify_pagerduty(status: u16, headers: &[(String, String)], body: &[u8]) -> Verdict {
    notify::pagerduty::classify(status, headers, body).map_or(Verdict::Success, Verdict::No)
}

/// Classes an answer of a Slack webhook.
pub fn classify_slack(status: u16, headers: &[(String, String)], body: &[u8]) -> Verdict {
    match notify::slack::read(status, headers, body) {
        SendOutcome::Accepted { .. } => Verdict::Success,
        SendOutcome::Rejected(rejection) => Verdict::No(rejection),
        SendOutcome::Unknown { .. } => Verdict::Unclear,
    }
}

/// Classes an SMTP reply.
pub fn classify_smtp(stage: Stage, reply: &str) -> Verdict {
    smtp::classify(stage, reply).map_or(Verdict::Success, Verdict::No)
}

/// Classes the error code of a Twilio status callback.
pub fn classify_twilio_code(code: u32) -> (ErrorCategory, Option<RejectionEffect>) {
    twilio::classify_code(code)
}
