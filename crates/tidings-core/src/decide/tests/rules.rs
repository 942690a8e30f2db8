//! What each rule decides, case by case.

use super::*;
use rstest::rstest;

#[test]
fn the_plain_case_goes_now_by_mail_then_sms() {
    let decision = decided(|_, _| {});
    assert_eq!(decision.channels(), [Channel::Email, Channel::Sms]);
    assert_eq!(decision.sent_at(), at(NOON));
    assert_eq!(decision.changes_at, None);
    assert_eq!(decision.deciding().map(|reason| reason.code), None);
}

#[test]
fn a_duplicate_is_answered_by_the_earlier_message_and_nothing_else_is_asked() {
    let of = MessageId(uuid::Uuid::from_u128(7));
    let decision = decided(|f, _| (f.request.duplicate_of, f.contact.erased) = (Some(of), true));
    assert_eq!(decision.verdict, Verdict::Duplicate { of });
    assert!(
        decision.reasons[1..]
            .iter()
            .all(|reason| reason.verdict == RuleVerdict::Skipped)
    );
}

/// May a message of the category go to an address with the suppression?
#[rstest]
#[case(SuppressionReason::Unsubscribe, [true, false, false])]
#[case(SuppressionReason::HardBounce, [false; 3])]
#[case(SuppressionReason::Complaint, [false; 3])]
#[case(SuppressionReason::Stop, [false; 3])]
#[case(SuppressionReason::Manual, [false; 3])]
#[case(SuppressionReason::Erased, [false; 3])]
#[case(SuppressionReason::SoftBounce, [false; 3])]
fn suppressions_by_category(#[case] reason: SuppressionReason, #[case] goes: [bool; 3]) {
    for (category, goes) in Category::ALL.iter().zip(goes) {
        let decision = decided(|f, _| {
            *f = marketing();
            f.request.category = *category;
            only(f, Channel::Email);
            suppress(f, Channel::Email, reason);
        });
        assert_eq!(
            matches!(decision.verdict, Verdict::Send(_)),
            goes,
            "{category} {reason}"
        );
    }
}

#[rstest]
#[case::before_its_end("2026-06-17T12:00:01Z", false)]
#[case::at_its_end(NOON, true)]
#[case::after_it("2026-06-01T00:00:00Z", true)]
fn a_suppression_ends_by_itself(#[case] until: &str, #[case] goes: bool) {
    let decision = decided(|f, _| {
        only(f, Channel::Email);
        suppress(f, Channel::Email, SuppressionReason::SoftBounce);
        let suppression = f
            .addresses
            .iter_mut()
            .flat_map(|address| &mut address.suppressions)
            .next();
        suppression.unwrap().until = Some(at(until));
    });
    assert_eq!(matches!(decision.verdict, Verdict::Send(_)), goes);
    if !goes {
        let reason = decision.deciding().unwrap();
        assert_eq!(reason.code, ReasonCode::SuppressionSoftBounce);
        assert!(
            reason.detail.contains("until 2026-06-17T12:00:01Z"),
            "{}",
            reason.detail
        );
    }
}

#[test]
fn transactional_ignores_opt_outs_and_pauses_but_never_a_stop() {
    let transactional = |change: fn(&mut Facts)| {
        decided(|f, _| {
            f.request.category = Category::Transactional;
            only(f, Channel::Sms);
            f.contact.opted_out = Channel::ALL.to_vec();
            f.contact.paused_until = Some(Timestamp::MAX);
            f.consents.push(consent(None, Category::Marketing, false, NOON));
            change(f);
        })
    };
    assert_eq!(transactional(|_| {}).channels(), [Channel::Sms]);
    assert_eq!(
        transactional(|f| f.contact.stopped.push(Channel::Sms)).suppressed_by(),
        ReasonCode::ConsentStopped
    );
}

#[test]
fn the_newest_consent_counts_and_of_two_at_once_the_refusal() {
    let sends = |consents: &[(Option<Channel>, bool, &str)]| {
        let decision = decided(|f, _| {
            *f = marketing();
            only(f, Channel::Email);
            f.consents = consents
                .iter()
                .map(|(c, g, w)| consent(*c, Category::Marketing, *g, w))
                .collect();
        });
        matches!(decision.verdict, Verdict::Send(_))
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    assert!(sends(&[(None, true, early)]));
    assert!(sends(&[(Some(Channel::Email), true, early)]));
    assert!(!sends(&[(Some(Channel::Sms), true, early)]));
    assert!(!sends(&[
        (Some(Channel::Email), true, early),
        (None, false, late)
    ]));
    assert!(sends(&[(None, false, early), (Some(Channel::Email), true, late)]));
    assert!(!sends(&[(None, true, late), (None, false, late)]));
    assert!(!sends(&[(None, false, late), (None, true, late)]));
}

#[test]
fn the_rule_that_took_the_last_usable_channel_is_named() {
    // SMS is the only address: the STOP is the cause, not the missing e-mail address.
    let stopped = decided(|f, _| {
        only(f, Channel::Sms);
        f.contact.stopped.push(Channel::Sms);
    });
    assert_eq!(stopped.suppressed_by(), ReasonCode::ConsentStopped);
    let missing = decided(|f, _| f.addresses.clear());
    assert_eq!(missing.suppressed_by(), ReasonCode::AddressMissing);
    assert_eq!(missing.changes_at, None);
    let unconnected = decided(|f, _| f.connected_channels.clear());
    assert_eq!(unconnected.suppressed_by(), ReasonCode::ChannelPolicyNotConnected);
    // One channel taken out narrows, and the other is used.
    let narrowed = decided(|f, _| f.addresses.retain(|address| address.channel != Channel::Email));
    assert_eq!(narrowed.channels(), [Channel::Sms]);
    assert!(narrowed.has(ReasonCode::AddressMissing) && narrowed.has(ReasonCode::ChannelChoiceFallback));
}

#[rstest]
#[case(Some("2026-06-16T12:00:00.001Z"), false, true)]
#[case(Some("2026-06-16T12:00:00Z"), false, false)]
#[case(None, false, false)]
#[case(None, true, true)]
fn whatsapp_outside_its_window_takes_templates_only(
    #[case] inbound: Option<&str>,
    #[case] template: bool,
    #[case] goes: bool,
) {
    let decision = decided(|f, _| {
        only(f, Channel::Whatsapp);
        f.request.whatsapp_template = template;
        f.contact.last_whatsapp_inbound_at = inbound.map(at);
    });
    assert_eq!(matches!(decision.verdict, Verdict::Send(_)), goes);
}

#[test]
fn bump_ups_go_by_whatsapp_only() {
    assert_eq!(
        decided(|f, _| f.request.bump_up = true).channels(),
        [Channel::Whatsapp]
    );
    let without = decided(|f, _| {
        f.request.bump_up = true;
        only(f, Channel::Email);
    });
    assert_eq!(without.suppressed_by(), ReasonCode::ChannelPolicyBumpUp);
}

#[rstest]
#[case(Some(Channel::Sms), Urgency::Normal, &[], &[Channel::Sms, Channel::Email])]
#[case(Some(Channel::Whatsapp), Urgency::Normal, &[], &[Channel::Whatsapp, Channel::Sms, Channel::Email])]
#[case(None, Urgency::Critical, &[], &[Channel::Sms, Channel::Email])]
#[case(None, Urgency::Critical, &[Channel::Email], &[Channel::Sms, Channel::Email])]
#[case(None, Urgency::Critical, &[Channel::Email, Channel::Whatsapp], &[Channel::Whatsapp, Channel::Sms, Channel::Email])]
#[case(None, Urgency::Critical, &[Channel::Sms, Channel::Whatsapp], &[Channel::Sms, Channel::Email])]
#[case(None, Urgency::Normal, &[Channel::Whatsapp], &[Channel::Whatsapp, Channel::Sms, Channel::Email])]
#[case(None, Urgency::Normal, &[], &[Channel::Email, Channel::Sms])]
fn channels_are_chosen(
    #[case] requested: Option<Channel>,
    #[case] urgency: Urgency,
    #[case] preferred: &[Channel],
    #[case] wanted: &[Channel],
) {
    let decision = decided(|f, _| {
        (f.request.channel, f.request.urgency) = (requested, urgency);
        f.contact.preferred_channels = preferred.to_vec();
    });
    assert_eq!(decision.channels(), wanted);
}

#[test]
fn a_contact_whose_chain_is_gone_is_still_reached() {
    assert_eq!(
        decided(|f, _| only(f, Channel::Whatsapp)).channels(),
        [Channel::Whatsapp]
    );
}

#[rstest]
// One marketing message a day: free again 24 hours after the last.
#[case(&["2026-06-17T09:00:00Z"], Some("2026-06-18T09:00:00Z"))]
#[case(&["2026-06-16T12:00:00Z"], None)]
#[case(&["2026-06-16T12:00:01Z"], Some("2026-06-17T12:00:01Z"))]
// Three in seven days: free when the oldest leaves.
#[case(&["2026-06-11T10:00:00Z", "2026-06-13T10:00:00Z", "2026-06-15T10:00:00Z"], Some("2026-06-18T10:00:00Z"))]
// A planned one counts as well.
#[case(&["2026-06-18T09:00:00Z"], Some("2026-06-19T09:00:00Z"))]
// Four around it, but never more than three in one stretch of seven days.
#[case(&["2026-06-11T10:00:00Z", "2026-06-13T10:00:00Z", "2026-06-23T10:00:00Z"], None)]
fn caps_defer_until_the_window_frees(#[case] sent: &[&str], #[case] until: Option<&str>) {
    let decision = decided(|f, _| {
        *f = marketing();
        f.history.sent = sent.iter().map(|when| (Category::Marketing, at(when))).collect();
        f.history.sent.push((Category::Service, at(NOON)));
    });
    match until {
        Some(until) => {
            assert_eq!(
                decision.verdict,
                Verdict::Hold { until: at(until) },
                "{:#?}",
                decision.reasons
            );
            assert_eq!(decision.deciding().unwrap().code, ReasonCode::FrequencyCapReached);
            assert_eq!(decision.changes_at, Some(at(until)));
        }
        None => assert!(
            matches!(decision.verdict, Verdict::Send(_)),
            "{:#?}",
            decision.reasons
        ),
    }
}

#[test]
fn a_hold_that_outlasts_the_message_ends_it() {
    let decision = decided(|f, _| {
        f.history.sent = vec![(Category::Service, at(NOON)); 3];
        f.request.expires_at = Some(at("2026-06-18T11:59:00Z"));
    });
    assert_eq!(decision.suppressed_by(), ReasonCode::TimingExpired);
}

#[test]
fn approval_waits_no_longer_than_the_message() {
    let asked = |expires: Option<&str>| {
        decided(|f, p| (p.approval_all, f.request.expires_at) = (true, expires.map(at))).verdict
    };
    assert_eq!(
        asked(None),
        Verdict::Approve {
            expires_at: at("2026-06-20T12:00:00Z")
        }
    );
    let expires_at = at("2026-06-17T15:00:00Z");
    assert_eq!(
        asked(Some("2026-06-17T15:00:00Z")),
        Verdict::Approve { expires_at }
    );
    assert_eq!(asked(Some("2026-06-17T11:00:00Z")), Verdict::Suppress);
}

/// Local times in New York (UTC-4 in June): when does it go?
#[rstest]
#[case(Urgency::Critical, "2026-06-17T06:00:00Z", "2026-06-17T06:00:00Z")]
#[case(Urgency::High, "2026-06-17T06:00:00Z", "2026-06-17T12:00:00Z")]
#[case(Urgency::Normal, "2026-06-17T06:00:00Z", "2026-06-17T13:00:00Z")]
#[case(Urgency::Low, "2026-06-17T06:00:00Z", "2026-06-17T13:00:00Z")]
#[case(Urgency::High, "2026-06-17T23:30:00Z", "2026-06-17T23:30:00Z")]
#[case(Urgency::Normal, "2026-06-17T22:00:00Z", "2026-06-18T13:00:00Z")]
#[case(Urgency::Normal, "2026-06-17T21:59:59Z", "2026-06-17T21:59:59Z")]
fn urgency_sets_the_hour(#[case] urgency: Urgency, #[case] now: &str, #[case] goes: &str) {
    let decision = decided_at(now, |f, _| {
        f.request.urgency = urgency;
        f.contact.zone = Some("America/New_York".to_owned());
    });
    assert_eq!(decision.sent_at(), at(goes), "{:#?}", decision.reasons);
    assert_eq!(decision.changes_at, Some(at(goes)).filter(|goes| *goes > at(now)));
}

#[test]
fn an_unknown_zone_falls_back_to_the_tenants_then_to_utc() {
    let goes = |contact: &str, tenant: &str| {
        decided_at("2026-06-17T06:00:00Z", |f, p| {
            (f.contact.zone, p.zone) = (Some(contact.to_owned()), tenant.to_owned());
        })
        .sent_at()
    };
    assert_eq!(goes("Nowhere/City", "Asia/Tokyo"), at("2026-06-17T06:00:00Z"));
    assert_eq!(goes("Nowhere/City", "Nowhere/Else"), at("2026-06-17T09:00:00Z"));
}

#[test]
fn business_days_are_kept() {
    let decision = decided_at("2026-06-19T18:00:00Z", |_, p| {
        p.business_days = BusinessDay::ALL
            .iter()
            .copied()
            .filter(|day| *day < BusinessDay::Saturday)
            .collect();
    });
    assert_eq!(decision.sent_at(), at("2026-06-22T09:00:00Z"));
    assert_eq!(decision.deciding().unwrap().code, ReasonCode::TimingBusinessHours);
}

/// Marketing by SMS at 06:00 New York time, without any quiet hours set.
#[rstest]
#[case(Some("US"), Channel::Sms, Category::Marketing, true)]
#[case(Some("us"), Channel::Whatsapp, Category::Marketing, true)]
#[case(Some("PR"), Channel::Sms, Category::Marketing, true)]
#[case(None, Channel::Sms, Category::Marketing, true)]
#[case(Some("FR"), Channel::Sms, Category::Marketing, false)]
#[case(Some("US"), Channel::Email, Category::Marketing, false)]
#[case(Some("US"), Channel::Sms, Category::Service, false)]
fn the_law_binds_every_urgency(
    #[case] country: Option<&str>,
    #[case] channel: Channel,
    #[case] category: Category,
    #[case] bound: bool,
) {
    for urgency in [Urgency::Critical, Urgency::High] {
        let decision = decided_at("2026-06-17T10:00:00Z", |f, p| {
            *f = marketing();
            only(f, channel);
            (f.request.category, f.request.urgency) = (category, urgency);
            f.contact.zone = Some("America/New_York".to_owned());
            f.contact.country = country.map(str::to_owned);
            p.quiet_hours.clear();
            p.contact_quiet_hours.clear();
            p.channel_quiet_hours.clear();
            // An attempt to loosen.
            p.legal_windows = [("US".to_owned(), Window::new(time(0, 0, 0, 0), time(23, 0, 0, 0)))].into();
        });
        let goes = if bound {
            "2026-06-17T12:00:00Z"
        } else {
            "2026-06-17T10:00:00Z"
        };
        assert_eq!(decision.sent_at(), at(goes), "{:#?}", decision.reasons);
    }
}

#[test]
fn send_at_is_not_before_and_the_hour_still_counts() {
    let goes = |send_at: &str| decided(|f, _| f.request.send_at = Some(at(send_at))).sent_at();
    assert_eq!(goes("2026-06-19T10:00:00Z"), at("2026-06-19T10:00:00Z"));
    assert_eq!(goes("2026-06-19T03:00:00Z"), at("2026-06-19T09:00:00Z"));
    assert_eq!(goes("2026-06-01T03:00:00Z"), at(NOON));
}

#[test]
fn low_gathers_by_time_or_number() {
    let low = |size: u32, opened: &str| {
        decided(|f, _| {
            f.request.urgency = Urgency::Low;
            f.history.last_sent_at = Some(at("2026-06-16T13:00:00Z"));
            f.history.open_batch = (size > 0).then(|| OpenBatch {
                channel: Channel::Email,
                size,
                opened_at: at(opened),
            });
        })
        .verdict
    };
    let batch = |closes_at: &str| Verdict::Batch {
        channel: Channel::Email,
        closes_at: at(closes_at),
    };
    assert_eq!(low(0, NOON), batch("2026-06-17T12:05:00Z"));
    assert_eq!(low(1, "2026-06-17T11:57:00Z"), batch("2026-06-17T12:02:00Z"));
    assert_eq!(low(2, "2026-06-17T11:57:00Z"), batch(NOON));
    // A batch that should have closed closes now.
    assert_eq!(low(1, "2026-06-17T11:00:00Z"), batch(NOON));
}

#[test]
fn a_batch_goes_once_a_local_day_in_business_hours() {
    let goes = |now: &str, last: Option<&str>| {
        decided_at(now, |f, _| {
            (f.request.urgency, f.request.batched) = (Urgency::Low, true);
            f.contact.zone = Some("America/New_York".to_owned());
            f.history.last_batch_at = last.map(at);
        })
        .sent_at()
    };
    assert_eq!(goes("2026-06-17T15:00:00Z", None), at("2026-06-17T15:00:00Z"));
    assert_eq!(goes("2026-06-18T01:00:00Z", None), at("2026-06-18T13:00:00Z"));
    // 03:00 UTC is still the evening before in New York.
    assert_eq!(
        goes("2026-06-17T15:00:00Z", Some("2026-06-17T03:00:00Z")),
        at("2026-06-17T15:00:00Z")
    );
    assert_eq!(
        goes("2026-06-17T15:00:00Z", Some("2026-06-17T13:00:00Z")),
        at("2026-06-18T13:00:00Z")
    );
    // The next day is planned for already.
    assert_eq!(
        goes("2026-06-18T01:00:00Z", Some("2026-06-18T13:00:00Z")),
        at("2026-06-19T13:00:00Z")
    );
}

#[test]
fn only_low_gathers() {
    for urgency in [Urgency::Critical, Urgency::High, Urgency::Normal] {
        let decision = decided(|f, _| {
            f.request.urgency = urgency;
            f.history.last_sent_at = Some(at("2026-06-17T11:00:00Z"));
        });
        assert!(matches!(decision.verdict, Verdict::Send(_)), "{urgency}");
    }
}

#[rstest]
#[case(Urgency::Critical, 100)]
#[case(Urgency::High, 80)]
#[case(Urgency::Normal, 60)]
#[case(Urgency::Low, 40)]
fn priorities(#[case] urgency: Urgency, #[case] priority: i16) {
    let decision = decided(|f, _| f.request.urgency = urgency);
    assert!(matches!(decision.verdict, Verdict::Send(plan) if plan.priority == priority));
}
