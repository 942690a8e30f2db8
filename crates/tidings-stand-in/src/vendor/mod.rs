//! The vendors: one file each. They read a call as strictly as the vendor documents, and answer in its words.

mod echo;
mod lists;
mod pagerduty;
mod resend;
mod sandbox;
mod sendgrid;
mod ses;
mod sigv4;
mod slack;
mod twilio;
mod whatsapp;

use crate::http::{Reply, Request};
use crate::ledger::Copy;
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use whatsapp::Media;

/// The path of a webhook that Slack's stand-in takes, as Slack makes them.
const SLACK_WEBHOOK: &str = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";

/// A vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// Tidings' own sandbox protocol.
    Sandbox,
    /// SendGrid v3.
    Sendgrid,
    /// Amazon SES v2.
    Ses,
    /// Resend.
    Resend,
    /// Twilio Messages.
    Twilio,
    /// WhatsApp Cloud API.
    WhatsappCloud,
    /// PagerDuty Events v2.
    Pagerduty,
    /// Slack incoming webhooks.
    Slack,
    /// A mail server.
    Smtp,
}

impl Vendor {
    /// Every vendor.
    pub const ALL: [Self; 9] = [
        Self::Sandbox,
        Self::Sendgrid,
        Self::Ses,
        Self::Resend,
        Self::Twilio,
        Self::WhatsappCloud,
        Self::Pagerduty,
        Self::Slack,
        Self::Smtp,
    ];

    /// Its name in paths, rules and the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Sendgrid => "sendgrid",
            Self::Ses => "ses",
            Self::Resend => "resend",
            Self::Twilio => "twilio",
            Self::WhatsappCloud => "whatsapp_cloud",
            Self::Pagerduty => "pagerduty",
            Self::Slack => "slack",
            Self::Smtp => "smtp",
        }
    }

    /// By its name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vendor| vendor.name() == name)
    }

    /// The setting that points Tidings at a stand-in which answers at `url`, and its value; none for the mail server,
    /// which has a host and a port. Slack's is the whole webhook URL, all others take the address alone.
    pub fn setting(self, url: &str) -> Option<(&'static str, String)> {
        match self {
            Self::Smtp => None,
            Self::Slack => Some(("webhook_url", format!("{url}{SLACK_WEBHOOK}"))),
            _ => Some(("base_url", url.to_owned())),
        }
    }

    /// An id in this vendor's form.
    pub(crate) fn id(self, bytes: &[u8; 32]) -> String {
        let hex = hex::encode(bytes);
        match self {
            Self::Sandbox => format!("standin-{}", &hex[..24]),
            Self::Sendgrid => URL_SAFE_NO_PAD.encode(&bytes[..16]),
            Self::Ses => format!("0100{}-{}-000000", &hex[..12], uuid_form(&hex[12..44])),
            Self::Resend => uuid_form(&hex[..32]),
            Self::Twilio => format!("SM{}", &hex[..32]),
            Self::WhatsappCloud => format!("wamid.{}", STANDARD.encode(&bytes[..30])),
            Self::Pagerduty | Self::Slack => hex[..32].to_owned(),
            Self::Smtp => hex[..10].to_ascii_uppercase(),
        }
    }
}

/// 32 hexadecimal digits as a UUID of version 4.
fn uuid_form(hex: &str) -> String {
    format!(
        "{}-{}-4{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

/// A call that was read and is fit to be taken.
pub(crate) struct Draft {
    pub vendor: Vendor,
    pub account: String,
    /// At least one.
    pub copies: Vec<Copy>,
    /// Under which the same call is taken once.
    pub key: Option<Key>,
    /// SHA-256 of what was sent.
    pub body_sha256: String,
    /// What lookups and reports need.
    pub about: Map<String, Value>,
    /// The id, where the sender gives it.
    pub own_id: Option<String>,
    /// The answer to a call that was taken.
    pub accepted: fn(&Accepted<'_>) -> Reply,
}

/// An idempotency key.
pub(crate) struct Key {
    pub text: String,
    /// Another body under the same key is refused.
    pub bound_to_body: bool,
}

/// A call that was taken, to be answered.
pub(crate) struct Accepted<'a> {
    pub draft: &'a Draft,
    pub id: &'a str,
    pub now: Timestamp,
    pub replay: bool,
}

/// What became of a call.
pub(crate) enum Handled {
    /// It is answered: refused, or about something else than sending.
    Reply(Reply),
    /// It is to be taken.
    Take(Box<Draft>),
    /// It is a question about what was taken, and this is the answer unless something strikes it.
    Ask(Box<Question>),
}

/// A question about what was taken.
pub(crate) struct Question {
    pub vendor: Vendor,
    /// Whom the message went to; empty for a list.
    pub recipient: String,
    /// What tells this question from others.
    pub about: String,
    pub reply: Reply,
}

impl From<Reply> for Handled {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// What a vendor says no to, in words of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    RateLimited {
        retry_after_s: Option<u32>,
        bare: bool,
    },
    Broken,
    AuthFailure,
    InvalidInput,
    NoRecipient,
    OptedOut,
    /// A call under the same key is on its way.
    Concurrent,
    /// The key was used for another body.
    KeyReused,
}

/// The vendor's answer to a problem.
pub(crate) fn problem(vendor: Vendor, problem: Problem, now: Timestamp) -> Reply {
    match vendor {
        Vendor::Sandbox | Vendor::Smtp => sandbox::problem(problem),
        Vendor::Sendgrid => sendgrid::problem(problem, now),
        Vendor::Ses => ses::problem(problem),
        Vendor::Resend => resend::problem(problem),
        Vendor::Twilio => twilio::problem(problem),
        Vendor::WhatsappCloud => whatsapp::problem(problem),
        Vendor::Pagerduty => pagerduty::problem(problem),
        Vendor::Slack => slack::problem(problem),
    }
}

/// Hands a request to the vendor whose path it has; nothing when no vendor has it.
pub(crate) fn handle(request: &Request, world: &World) -> Option<Handled> {
    let path = request.segments();
    let method = request.method.as_str();
    Some(match (method, path.as_slice()) {
        (_, ["accept"] | ["lookup", _]) => sandbox::handle(request, world),
        (_, ["v3", ..]) => sendgrid::handle(request, world),
        (_, ["v2", "email", ..]) => ses::handle(request, world),
        (_, ["emails", ..] | ["domains"]) => resend::handle(request, world),
        (_, ["2010-04-01", ..]) => twilio::handle(request, world),
        (_, ["v2", "enqueue"]) => pagerduty::handle(request, world),
        (_, ["services", ..]) => slack::handle(request, world),
        (_, ["_media", ..]) => whatsapp::handle(request, world),
        (_, [version, ..]) if whatsapp::is_version(version) => whatsapp::handle(request, world),
        _ => return None,
    })
}

/// Whether a text has the form of an e-mail address: what every vendor checks at least.
pub(crate) fn is_email(text: &str) -> bool {
    let fine = |part: &str| {
        !part.is_empty()
            && !part
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || "<>,;".contains(c))
    };
    text.len() <= 320
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            fine(local)
                && fine(domain)
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
        })
}

/// The address in `Name <address>`, or the text itself.
fn bare_address(text: &str) -> &str {
    match text.rsplit_once('<') {
        Some((_, rest)) => rest.trim_end().trim_end_matches('>'),
        None => text.trim(),
    }
}

/// `+` and 8 to 15 digits, of which the first is not 0.
fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A text field of a JSON object, if it is there and not empty.
fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("bob@example.com", true)]
    #[case("b+x@a.b.test", true)]
    #[case("bob", false)]
    #[case("bob@", false)]
    #[case("@example.com", false)]
    #[case("bob@example", false)]
    #[case("bob@example.", false)]
    #[case("b ob@example.com", false)]
    #[case("bob@example.com\r\nBcc: x@y.z", false)]
    fn forms_of_addresses(#[case] text: &str, #[case] expect: bool) {
        assert_eq!(is_email(text), expect);
    }

    #[rstest]
    #[case("+14155552671", true)]
    #[case("14155552671", false)]
    #[case("+0415555267", false)]
    #[case("+1415555", false)]
    #[case("+1415555267100000", false)]
    #[case("+1415555267x", false)]
    fn forms_of_numbers(#[case] text: &str, #[case] expect: bool) {
        assert_eq!(is_e164(text), expect);
    }

    #[test]
    fn names_are_those_of_the_ledger() {
        for vendor in Vendor::ALL {
            assert_eq!(Vendor::of_name(vendor.name()), Some(vendor));
            assert_eq!(
                serde_json::to_value(vendor).ok(),
                Some(Value::String(vendor.name().to_owned()))
            );
        }
    }
}
