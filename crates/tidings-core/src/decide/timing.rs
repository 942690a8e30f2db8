//! Rule 10: the hour, in the contact's zone.
//!
//! Critical goes at once. High waits for the end of quiet hours. Normal and low wait for business hours as well. The
//! hours the law allows bind every urgency.

use super::facts::Window;
use super::hours::Hours;
use super::{Facts, Policy, ReasonCode, Remark};
use crate::channel::Channel;
use crate::message::{Category, Urgency};
use crate::zone;
use jiff::civil::time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Between two messages to one contact, where the second goes by WhatsApp. Meta takes one in six seconds to the same user;
/// the product keeps a wider distance.
const WHATSAPP_PACE: SignedDuration = SignedDuration::from_secs(15);

const EIGHT_TO_NINE: Window = Window::new(time(8, 0, 0, 0), time(21, 0, 0, 0));

/// Local hours of marketing by SMS and WhatsApp, by country of the recipient. United States and territories:
/// 47 CFR 64.1200(c)(1), no telephone solicitation before 8 a.m. or after 9 p.m. at the called party's location.
/// A tenant's own windows hold on top of these, so they can tighten but never loosen.
pub const LEGAL_FLOORS: [(&str, Window); 6] = [
    ("US", EIGHT_TO_NINE),
    ("PR", EIGHT_TO_NINE),
    ("VI", EIGHT_TO_NINE),
    ("GU", EIGHT_TO_NINE),
    ("AS", EIGHT_TO_NINE),
    ("MP", EIGHT_TO_NINE),
];

/// The contact's zone; the tenant's where it is unset or unknown; else UTC.
pub fn zone_of(facts: &Facts, policy: &Policy) -> TimeZone {
    zone::resolve(facts.contact.zone.as_deref(), &policy.zone)
}

/// The local hours in which the message may go by the channel.
pub fn hours_of(facts: &Facts, policy: &Policy, channel: Channel) -> Hours {
    let urgency = facts.request.urgency;
    let quiet = if urgency == Urgency::Critical {
        Vec::new()
    } else {
        quiet_windows(facts, policy, channel)
    };
    let business = matches!(urgency, Urgency::Normal | Urgency::Low)
        .then(|| (policy.business_hours, policy.business_days.clone()));
    Hours {
        quiet,
        open: legal_windows(facts, policy, channel),
        business,
    }
}

/// The tenant's quiet hours, the contact's (or the policy's for contacts that set none) and the channel's together.
fn quiet_windows(facts: &Facts, policy: &Policy, channel: Channel) -> Vec<Window> {
    let own = &facts.contact.quiet_hours;
    let contact = if own.is_empty() {
        &policy.contact_quiet_hours
    } else {
        own
    };
    let of_channel = policy.channel_quiet_hours.get(&channel).into_iter().flatten();
    policy
        .quiet_hours
        .iter()
        .chain(contact)
        .chain(of_channel)
        .copied()
        .collect()
}

/// The windows the law sets. Where the contact's country is not known the tenant's region counts; where neither is, all
/// windows do: the narrowest is safe.
fn legal_windows(facts: &Facts, policy: &Policy, channel: Channel) -> Vec<Window> {
    if facts.request.category != Category::Marketing || !channel.uses_phone() {
        return Vec::new();
    }
    let country = facts
        .contact
        .country
        .as_deref()
        .or(policy.default_region.as_deref());
    let applies = |code: &str| country.is_none_or(|country| country.eq_ignore_ascii_case(code));
    let floors = LEGAL_FLOORS
        .iter()
        .filter(|(code, _)| applies(code))
        .map(|(_, window)| *window);
    let own = policy
        .legal_windows
        .iter()
        .filter(|(code, _)| applies(code))
        .map(|(_, window)| *window);
    let mut windows: Vec<Window> = floors.chain(own).collect();
    windows.dedup();
    windows
}

/// When a message may go.
pub(super) struct Planned {
    /// Not before.
    pub at: Timestamp,
    /// Why then.
    pub remark: Remark,
}

/// The first instant from `from` at which the message may go by the channel; none where no hour of any day is allowed.
/// `from` is `now`, or what the request or an earlier rule put it off to.
pub(super) fn plan(
    facts: &Facts,
    policy: &Policy,
    channel: Channel,
    zone: &TimeZone,
    from: Timestamp,
    now: Timestamp,
) -> Option<Planned> {
    let hours = hours_of(facts, policy, channel);
    let paced = paced_until(facts, channel).filter(|until| *until > from);
    let from = paced.unwrap_or(from);
    let at = hours.next_allowed(from, zone)?;
    let remark = match paced {
        Some(until) if at == until => Remark::new(
            ReasonCode::TimingPaced,
            format!("A message went to the contact just before; this one goes at {until}."),
        ),
        _ => remark(facts, &hours, zone, from, now, at),
    };
    Some(Planned { at, remark })
}

/// Until when the last message to the contact, by whatever channel, keeps one by WhatsApp back.
fn paced_until(facts: &Facts, channel: Channel) -> Option<Timestamp> {
    let last = facts
        .history
        .last_sent_at
        .filter(|_| channel == Channel::Whatsapp)?;
    last.checked_add(WHATSAPP_PACE).ok()
}

fn remark(
    facts: &Facts,
    hours: &Hours,
    zone: &TimeZone,
    from: Timestamp,
    now: Timestamp,
    at: Timestamp,
) -> Remark {
    if at > from {
        let time = zone.to_datetime(from).time();
        if hours.quiet.iter().any(|window| window.quiet_at(time)) {
            return Remark::new(
                ReasonCode::TimingQuietHours,
                format!("Quiet hours for the contact; goes at {at}."),
            );
        }
        if !hours.open.iter().all(|window| window.open_at(time)) {
            let detail = format!("Outside the hours the law allows for this message; goes at {at}.");
            return Remark::new(ReasonCode::TimingLegalHours, detail);
        }
        return Remark::new(
            ReasonCode::TimingBusinessHours,
            format!("Outside business hours; goes at {at}."),
        );
    }
    if facts
        .request
        .send_at
        .is_some_and(|send_at| send_at > now && send_at >= from)
    {
        return Remark::new(
            ReasonCode::TimingSendAt,
            format!("The request names the time: {at}."),
        );
    }
    if facts.request.urgency == Urgency::Critical {
        return Remark::new(
            ReasonCode::TimingCritical,
            "A critical message goes at once, whatever the hour.",
        );
    }
    Remark::new(ReasonCode::TimingOpen, "The hour is right for the contact.")
}

/// Whether the message would come too late: it may go at the instant, or not even then.
pub(super) fn expired(facts: &Facts, at: Timestamp) -> Option<Remark> {
    facts
        .request
        .expires_at
        .filter(|expires_at| *expires_at < at)
        .map(|expires_at| {
            let detail = format!("The message expires at {expires_at}, before it may go at {at}.");
            Remark::new(ReasonCode::TimingExpired, detail)
        })
}

/// No hour of any day is left between the windows.
pub(super) fn never() -> Remark {
    let detail =
        "Quiet hours, business hours and legal hours together leave no hour of any day; change the policy.";
    Remark::new(ReasonCode::TimingNever, detail)
}
