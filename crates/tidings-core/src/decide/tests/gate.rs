//! The gate asks the same rules again.

use super::*;
use crate::decide::{GateVerdict, StopScope, gate};

fn gated(now: &str, channel: Channel, change: impl FnOnce(&mut Facts, &mut Policy)) -> GateVerdict {
    let (mut facts, mut policy) = (facts(), Policy::default());
    change(&mut facts, &mut policy);
    gate(&facts, &policy, channel, at(now))
}

fn stop(verdict: GateVerdict) -> (ReasonCode, StopScope) {
    match verdict {
        GateVerdict::Stop { reason, scope } => (reason.code, scope),
        other => panic!("not stopped: {other:?}"),
    }
}

fn hold(verdict: GateVerdict) -> (ReasonCode, Timestamp) {
    match verdict {
        GateVerdict::Hold { until, reason } => (reason.code, until),
        other => panic!("not held: {other:?}"),
    }
}

#[test]
fn lets_the_plain_case_through() {
    for channel in [Channel::Email, Channel::Sms, Channel::Whatsapp] {
        assert_eq!(gated(NOON, channel, |_, _| {}), GateVerdict::Dispatch);
    }
}

#[test]
fn does_not_ask_again_what_was_settled() {
    let verdict = gated(NOON, Channel::Email, |f, p| {
        f.connected_channels.clear();
        f.request.renderable_channels.clear();
        f.request.duplicate_of = Some(MessageId(uuid::Uuid::nil()));
        p.approval_all = true;
    });
    assert_eq!(verdict, GateVerdict::Dispatch);
}

#[test]
fn stops_a_channel_for_its_own_reasons() {
    let opted = gated(NOON, Channel::Sms, |f, _| f.contact.stopped.push(Channel::Sms));
    assert_eq!(stop(opted), (ReasonCode::ConsentStopped, StopScope::Channel));
    let bounced = gated(NOON, Channel::Email, |f, _| {
        suppress(f, Channel::Email, SuppressionReason::HardBounce);
    });
    assert_eq!(
        stop(bounced),
        (ReasonCode::SuppressionHardBounce, StopScope::Channel)
    );
    let elsewhere = gated(NOON, Channel::Email, |f, _| f.contact.stopped.push(Channel::Sms));
    assert_eq!(elsewhere, GateVerdict::Dispatch);
    let window = gated(NOON, Channel::Whatsapp, |f, _| {
        f.request.whatsapp_template = false;
    });
    assert_eq!(
        stop(window),
        (ReasonCode::ChannelPolicyWhatsappWindow, StopScope::Channel)
    );
}

#[test]
fn stops_the_message_for_good() {
    let erased = gated(NOON, Channel::Email, |f, _| f.contact.erased = true);
    assert_eq!(stop(erased), (ReasonCode::ConsentErased, StopScope::Message));
    let off = gated(NOON, Channel::Email, |f, p| {
        p.disabled_types = [f.request.message_type.clone()].into();
    });
    assert_eq!(stop(off), (ReasonCode::EnabledTypeOff, StopScope::Message));
    let late = gated(NOON, Channel::Email, |f, _| {
        f.request.expires_at = Some(at("2026-06-17T11:59:59Z"));
    });
    assert_eq!(stop(late), (ReasonCode::TimingExpired, StopScope::Message));
    let too_late = gated("2026-06-17T22:00:00Z", Channel::Email, |f, _| {
        f.request.expires_at = Some(at("2026-06-18T08:00:00Z"));
    });
    assert_eq!(stop(too_late), (ReasonCode::TimingExpired, StopScope::Message));
}

#[test]
fn holds_for_hours_caps_and_pauses_and_names_the_longest() {
    let night = gated("2026-06-17T22:00:00Z", Channel::Email, |_, _| {});
    assert_eq!(
        hold(night),
        (ReasonCode::TimingQuietHours, at("2026-06-18T09:00:00Z"))
    );
    let critical = gated("2026-06-17T22:00:00Z", Channel::Sms, |f, _| {
        f.request.urgency = Urgency::Critical;
    });
    assert_eq!(critical, GateVerdict::Dispatch);
    let capped = gated("2026-06-17T22:00:00Z", Channel::Email, |f, _| {
        f.history.sent = vec![(Category::Service, at(NOON)); 3];
    });
    assert_eq!(
        hold(capped),
        (ReasonCode::FrequencyCapReached, at(NOON) + hours(24))
    );
    let paused = gated(NOON, Channel::Email, |f, _| {
        f.contact.paused_until = Some(at("2026-07-01T00:00:00Z"));
    });
    assert_eq!(
        hold(paused),
        (ReasonCode::ConsentPaused, at("2026-07-01T00:00:00Z"))
    );
}
