//! Tables over the rules of the decision.
#![expect(clippy::unwrap_used, reason = "tests")]

mod codes;
mod gate;
mod hours;
mod rules;
mod total;

use super::facts::{
    AddressFacts, ConsentFacts, ContactFacts, HistoryFacts, OpenBatch, RequestFacts, SuppressionFacts,
    SuppressionReason, Window,
};
use super::policy::{BusinessDay, Cap};
use super::{Decision, Facts, Policy, ReasonCode, Rule, RuleVerdict, Verdict, decide};
use crate::channel::Channel;
use crate::ids::MessageId;
use crate::message::{Category, MessageType, Urgency};
use jiff::civil::time;
use jiff::{SignedDuration, Timestamp};

/// Wednesday noon, UTC: business hours, not quiet.
const NOON: &str = "2026-06-17T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

/// A contact with every address, every connection, nothing against anything; a normal service message.
fn facts() -> Facts {
    let address = |channel| AddressFacts {
        channel,
        valid: true,
        known_bad: None,
        suppressions: vec![],
    };
    Facts {
        request: RequestFacts {
            message_type: MessageType::parse("news").unwrap(),
            category: Category::Service,
            urgency: Urgency::Normal,
            channel: None,
            renderable_channels: Channel::ALL.to_vec(),
            send_at: None,
            expires_at: None,
            duplicate_of: None,
            approved: false,
            batched: false,
            bump_up: false,
            whatsapp_template: true,
        },
        contact: ContactFacts {
            zone: None,
            country: None,
            preferred_channels: vec![],
            opted_out: vec![],
            stopped: vec![],
            quiet_hours: vec![],
            paused_until: None,
            last_whatsapp_inbound_at: None,
            erased: false,
        },
        addresses: Channel::ALL.iter().copied().map(address).collect(),
        consents: vec![],
        history: HistoryFacts::default(),
        connected_channels: Channel::ALL.to_vec(),
    }
}

fn marketing() -> Facts {
    let mut facts = facts();
    facts.request.category = Category::Marketing;
    facts
        .consents
        .push(consent(None, Category::Marketing, true, "2026-01-01T00:00:00Z"));
    facts
}

fn consent(channel: Option<Channel>, purpose: Category, granted: bool, when: &str) -> ConsentFacts {
    ConsentFacts {
        channel,
        purpose,
        granted,
        at: at(when),
    }
}

fn suppress(facts: &mut Facts, channel: Channel, reason: SuppressionReason) {
    let address = facts
        .addresses
        .iter_mut()
        .find(|address| address.channel == channel)
        .unwrap();
    address.suppressions.push(SuppressionFacts {
        reason,
        since: at("2026-01-01T00:00:00Z"),
        until: None,
    });
}

fn only(facts: &mut Facts, channel: Channel) {
    facts.addresses.retain(|address| address.channel == channel);
}

/// Changes the base case and decides at noon.
fn decided(change: impl FnOnce(&mut Facts, &mut Policy)) -> Decision {
    decided_at(NOON, change)
}

fn decided_at(now: &str, change: impl FnOnce(&mut Facts, &mut Policy)) -> Decision {
    let (mut facts, mut policy) = (facts(), Policy::default());
    change(&mut facts, &mut policy);
    decide(&facts, &policy, at(now))
}

impl Decision {
    fn has(&self, code: ReasonCode) -> bool {
        self.reasons.iter().any(|reason| reason.code == code)
    }

    fn channels(&self) -> Vec<Channel> {
        match &self.verdict {
            Verdict::Send(plan) => plan.channels.clone(),
            other => panic!("not sent: {other:?} {:#?}", self.reasons),
        }
    }

    fn sent_at(&self) -> Timestamp {
        match &self.verdict {
            Verdict::Send(plan) => plan.at,
            other => panic!("not sent: {other:?} {:#?}", self.reasons),
        }
    }

    fn suppressed_by(&self) -> ReasonCode {
        assert_eq!(self.verdict, Verdict::Suppress, "{:#?}", self.reasons);
        self.deciding().unwrap().code
    }
}
