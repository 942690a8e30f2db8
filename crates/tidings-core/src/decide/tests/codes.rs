//! Every reason code has a case that produces it.

use super::*;

type Change = fn(&mut Facts, &mut Policy);

fn suppressed(facts: &mut Facts, reason: SuppressionReason) {
    only(facts, Channel::Email);
    suppress(facts, Channel::Email, reason);
}

fn low(facts: &mut Facts) {
    facts.request.urgency = Urgency::Low;
    facts.history.last_sent_at = Some(at("2026-06-17T08:00:00Z"));
}

fn gathering(facts: &mut Facts, size: u32) {
    low(facts);
    facts.history.open_batch = Some(OpenBatch {
        channel: Channel::Email,
        size,
        opened_at: at("2026-06-17T11:58:00Z"),
    });
}

fn quiet(window: (i8, i8), facts: &mut Facts) {
    facts.contact.quiet_hours = vec![Window::new(time(window.0, 0, 0, 0), time(window.1, 0, 0, 0))];
}

/// What must be changed in the base case, at noon, so that the code appears.
fn case(code: ReasonCode) -> Change {
    use ReasonCode as C;
    match code {
        C::DuplicateNone
        | C::EnabledOn
        | C::ConsentNotNeeded
        | C::SuppressionNone
        | C::FrequencyCapFree
        | C::ApprovalNotNeeded
        | C::ChannelChoiceDefault
        | C::TimingOpen
        | C::BatchingNotLow
        | C::PriorityByUrgency => |_, _| {},
        C::DuplicateFound | C::Skipped => |f, _| f.request.duplicate_of = Some(MessageId(uuid::Uuid::nil())),
        C::EnabledTypeOff => |f, p| p.disabled_types = [f.request.message_type.clone()].into(),
        C::EnabledChannelOff => |_, p| p.disabled_channels = [Channel::Sms].into(),
        C::ConsentGranted => |f, _| *f = marketing(),
        C::ConsentMissing => |f, _| f.request.category = Category::Marketing,
        C::ConsentWithdrawn => |f, _| f.consents.push(consent(None, Category::Service, false, NOON)),
        C::ConsentOptedOut => |f, _| f.contact.opted_out.push(Channel::Email),
        C::ConsentStopped => |f, _| f.contact.stopped.push(Channel::Sms),
        C::ConsentPaused => |f, _| f.contact.paused_until = Some(at("2026-07-01T00:00:00Z")),
        C::ConsentErased => |f, _| f.contact.erased = true,
        C::SuppressionHardBounce => |f, _| suppressed(f, SuppressionReason::HardBounce),
        C::SuppressionComplaint => |f, _| suppressed(f, SuppressionReason::Complaint),
        C::SuppressionUnsubscribe => |f, _| suppressed(f, SuppressionReason::Unsubscribe),
        C::SuppressionStop => |f, _| suppressed(f, SuppressionReason::Stop),
        C::SuppressionManual => |f, _| suppressed(f, SuppressionReason::Manual),
        C::SuppressionErased => |f, _| suppressed(f, SuppressionReason::Erased),
        C::SuppressionSoftBounce => |f, _| suppressed(f, SuppressionReason::SoftBounce),
        C::AddressUsable => |_, p| p.whatsapp_web_enabled = true,
        C::AddressMissing => |f, _| f.addresses.clear(),
        C::AddressInvalid => |f, _| f.addresses[0].valid = false,
        C::AddressKnownBad => |f, _| f.addresses[0].known_bad = Some("550".to_owned()),
        C::ChannelPolicyAllowed => |_, p| p.whatsapp_web_enabled = true,
        C::ChannelPolicyNoContent => |f, _| f.request.renderable_channels = vec![Channel::Email],
        C::ChannelPolicyNotConnected => |f, _| f.connected_channels = vec![Channel::Email],
        C::ChannelPolicyWhatsappWindow => |f, _| f.request.whatsapp_template = false,
        C::ChannelPolicyBumpUp => |f, _| f.request.bump_up = true,
        C::ChannelPolicyWhatsappWebOff => |_, p| p.whatsapp_web_enabled = false,
        C::FrequencyCapNone => |f, _| f.request.category = Category::Transactional,
        C::FrequencyCapReached => |f, _| f.history.sent = vec![(Category::Service, at(NOON)); 3],
        C::FrequencyCapZero => |_, p| p.caps = [(Category::Service, vec![Cap { limit: 0, hours: 1 }])].into(),
        C::ApprovalGiven => |f, p| (f.request.approved, p.approval_all) = (true, true),
        C::ApprovalNeeded => |_, p| p.approval_all = true,
        C::ChannelChoiceRequested => |f, _| f.request.channel = Some(Channel::Sms),
        C::ChannelChoiceCritical | C::TimingCritical => |f, _| f.request.urgency = Urgency::Critical,
        C::ChannelChoiceDetailed => |f, p| p.detailed_types = [f.request.message_type.clone()].into(),
        C::ChannelChoiceQuick => |f, p| p.quick_types = [f.request.message_type.clone()].into(),
        C::ChannelChoicePreferred => |f, _| f.contact.preferred_channels = vec![Channel::Whatsapp],
        C::ChannelChoiceFallback => |f, _| only(f, Channel::Sms),
        C::TimingQuietHours => |f, _| quiet((11, 13), f),
        C::TimingBusinessHours => |_, p| p.business_hours = Window::new(time(14, 0, 0, 0), time(15, 0, 0, 0)),
        C::TimingLegalHours => |f, p| {
            *f = marketing();
            only(f, Channel::Sms);
            f.contact.country = Some("FR".to_owned());
            p.legal_windows = [("FR".to_owned(), Window::new(time(14, 0, 0, 0), time(20, 0, 0, 0)))].into();
        },
        C::TimingSendAt => |f, _| f.request.send_at = Some(at("2026-06-18T10:00:00Z")),
        C::TimingPaced => |f, _| {
            only(f, Channel::Whatsapp);
            f.history.last_sent_at = Some(at(NOON));
        },
        C::TimingExpired => |f, _| f.request.expires_at = Some(at("2026-06-17T11:00:00Z")),
        C::TimingNever => |_, p| p.quiet_hours = vec![Window::new(time(8, 0, 0, 0), time(20, 0, 0, 0))],
        C::BatchingGathered => |f, _| (f.request.urgency, f.request.batched) = (Urgency::Low, true),
        C::BatchingAlone => |f, _| f.request.urgency = Urgency::Low,
        C::BatchingExpiresFirst => |f, _| {
            low(f);
            f.request.expires_at = Some(at("2026-06-17T12:01:00Z"));
        },
        C::BatchingOwnTime => |f, _| {
            low(f);
            f.request.send_at = Some(at("2026-06-17T13:00:00Z"));
        },
        C::BatchingOpened => |f, _| low(f),
        C::BatchingJoined => |f, _| gathering(f, 1),
        C::BatchingCompleted => |f, _| gathering(f, 2),
        C::BatchingDayTaken => |f, _| {
            (f.request.urgency, f.request.batched) = (Urgency::Low, true);
            f.history.last_batch_at = Some(at("2026-06-17T09:00:00Z"));
        },
    }
}

#[test]
fn every_code_has_a_case_that_produces_it() {
    for code in ReasonCode::ALL {
        let decision = decided(case(*code));
        assert!(decision.has(*code), "{code}: {decision:#?}");
    }
}

#[test]
fn codes_name_their_rule_and_details_are_sentences() {
    for code in ReasonCode::ALL {
        for reason in decided(case(*code)).reasons {
            let rule = if reason.verdict == RuleVerdict::Skipped {
                "rule"
            } else {
                reason.rule.as_str()
            };
            assert!(
                reason.code.as_str().starts_with(&format!("{rule}.")),
                "{reason:?}"
            );
            assert!(reason.detail.ends_with('.'), "{reason:?}");
        }
    }
}

#[test]
fn every_rule_speaks_once_at_least_and_in_order() {
    for code in ReasonCode::ALL {
        let mut spoken: Vec<Rule> = decided(case(*code))
            .reasons
            .iter()
            .map(|reason| reason.rule)
            .collect();
        assert!(spoken.is_sorted(), "{code}: {spoken:?}");
        spoken.dedup();
        assert_eq!(spoken, Rule::ALL, "{code}");
    }
}

#[test]
fn a_decision_survives_json() {
    for code in ReasonCode::ALL {
        let decision = decided(case(*code));
        let json = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&json).unwrap(), decision);
        assert!(json.contains(code.as_str()));
    }
}
