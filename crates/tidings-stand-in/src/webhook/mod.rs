//! What vendors report afterwards, in their own form and under their own signature.

mod course;
mod outbox;
mod resend;
mod sandbox;
mod sendgrid;
mod ses;
mod sign;
pub(crate) mod twilio;
mod whatsapp;

pub(crate) use course::course;
pub(crate) use outbox::Outbox;
pub use outbox::Reported;
pub(crate) use sign::make_signing_key;

use crate::account::Account;
use crate::ledger::Entry;
use crate::vendor::Vendor;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sign::Signer;

/// How long after the message the report of a magic recipient comes.
const MAGIC_AFTER_MS: u64 = 200;

/// What is reported of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Taken over: `processed`, `sent`.
    Accepted,
    /// Still being tried.
    Deferred,
    /// Arrived.
    Delivered,
    /// Opened.
    Opened,
    /// Read (WhatsApp, RCS); where there is no such word, opened.
    Read,
    /// A link was clicked: `url`.
    Clicked,
    /// The address does not exist.
    BouncedHard,
    /// The mailbox is full.
    BouncedSoft,
    /// Refused for reasons of policy.
    BouncedBlock,
    /// Called spam.
    Complained,
    /// Unsubscribed at the vendor.
    Unsubscribed,
    /// Given up by the vendor, with `code` where it has one.
    Failed,
    /// The recipient answers STOP.
    Stop,
    /// The recipient answers `text`.
    Replied,
}

/// One step of a script: what is reported of every message, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What.
    pub event: Event,
    /// How long after the message was taken.
    #[serde(default)]
    pub after_ms: u64,
    /// Before the call is answered; `after_ms` then delays the answer.
    #[serde(default)]
    pub before_response: bool,
    /// How often the very same report is made.
    #[serde(default = "once")]
    pub times: u32,
    /// The vendor's error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// What was clicked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

fn once() -> u32 {
    1
}

impl Step {
    /// An event right after the message was taken.
    pub fn of(event: Event) -> Self {
        Self {
            event,
            after_ms: 0,
            before_response: false,
            times: 1,
            code: None,
            url: None,
            text: None,
        }
    }
}

/// A report about a message.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub entry: Entry,
    pub step: Step,
    /// The same for the very same report, however often it is made.
    pub id: String,
    pub at: Timestamp,
}

/// A message from a customer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// Who writes.
    pub from: String,
    /// To which number or address of the account.
    pub to: String,
    /// What.
    #[serde(default)]
    pub text: String,
    /// Subject of an e-mail.
    #[serde(default)]
    pub subject: Option<String>,
    /// The customer's name.
    #[serde(default)]
    pub name: Option<String>,
    /// The vendor's id of the message it answers, or the `Message-ID`.
    #[serde(default)]
    pub in_reply_to: Option<String>,
    /// The vendor's id of this message; the same again is a repetition.
    #[serde(default)]
    pub id: Option<String>,
}

/// A request to make.
#[derive(Clone)]
pub(crate) struct Outgoing {
    /// As the vendor calls it.
    pub url: String,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    pub signer: Signer,
    /// How many reports it holds.
    pub holds: usize,
}

/// The requests that make these reports; those that the vendor has no word for are left out.
fn requests(vendor: Vendor, name: &str, account: &Account, reports: &[Report]) -> Vec<Outgoing> {
    match vendor {
        Vendor::Sandbox => sandbox::reports(account, reports),
        Vendor::Sendgrid => sendgrid::reports(account, reports),
        Vendor::Ses => ses::reports(account, reports),
        Vendor::Resend => resend::reports(account, reports),
        Vendor::Twilio => twilio::reports(name, account, reports),
        Vendor::WhatsappCloud => whatsapp::reports(name, account, reports),
        Vendor::Pagerduty | Vendor::Slack | Vendor::Smtp => Vec::new(),
    }
}

/// The request that brings a customer's message; none where the vendor brings none.
pub(crate) fn inbound(
    vendor: Vendor,
    name: &str,
    account: &Account,
    message: &Inbound,
    id: &str,
    now: Timestamp,
) -> Option<Outgoing> {
    match vendor {
        Vendor::Sandbox => sandbox::inbound(account, message, id, now),
        Vendor::Sendgrid => sendgrid::inbound(account, message, id),
        Vendor::Resend => resend::inbound(account, message, id, now),
        Vendor::Twilio => twilio::inbound(name, account, message, id),
        Vendor::WhatsappCloud => whatsapp::inbound(name, account, message, id, now),
        Vendor::Ses | Vendor::Pagerduty | Vendor::Slack | Vendor::Smtp => None,
    }
}

/// What a reply of the recipient says, if the report is one.
fn reply_of(report: &Report) -> Option<Inbound> {
    let text = match report.step.event {
        Event::Stop => "STOP".to_owned(),
        Event::Replied => report.step.text.clone().unwrap_or_else(|| "Thank you".to_owned()),
        _ => return None,
    };
    let from = report.entry.about("From").or_else(|| report.entry.about("from"));
    Some(Inbound {
        from: report.entry.recipient.expose().clone(),
        to: from.unwrap_or_default().to_owned(),
        text,
        subject: None,
        name: None,
        in_reply_to: Some(report.entry.provider_id.clone()),
        id: None,
    })
}

/// Waits between tries, as the vendor has them, and whether only a failed connection is tried again.
fn retries(vendor: Vendor) -> (&'static [u64], bool) {
    const MINUTE: u64 = 60_000;
    match vendor {
        // One more try, if nobody was there.
        Vendor::Twilio => (&[0], true),
        Vendor::Ses => (&[20_000, 20_000, 20_000], false),
        Vendor::Resend | Vendor::Sandbox => (
            &[
                5_000,
                5 * MINUTE,
                30 * MINUTE,
                120 * MINUTE,
                300 * MINUTE,
                600 * MINUTE,
            ],
            false,
        ),
        // Neither documents its steps; both try for a day and longer.
        Vendor::Sendgrid | Vendor::WhatsappCloud => (
            &[
                10_000,
                MINUTE,
                5 * MINUTE,
                30 * MINUTE,
                120 * MINUTE,
                480 * MINUTE,
            ],
            false,
        ),
        Vendor::Pagerduty | Vendor::Slack | Vendor::Smtp => (&[], false),
    }
}
