//! Whatever the facts, the decision is total, explained, and keeps its promises.

use super::*;
use crate::decide::timing;
use proptest::prelude::*;

fn channels() -> impl Strategy<Value = Vec<Channel>> {
    proptest::sample::subsequence(Channel::ALL.to_vec(), 0..=4)
}

fn seconds(around: i64) -> impl Strategy<Value = Timestamp> {
    (-around..around).prop_map(|seconds| at(NOON) + SignedDuration::from_secs(seconds))
}

fn any_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

prop_compose! {
    fn some_request()(
        category in any_of(Category::ALL), urgency in any_of(Urgency::ALL),
        channel in proptest::option::of(any_of(Channel::ALL)), renderable_channels in channels(),
        send_at in proptest::option::of(seconds(400_000)), expires_at in proptest::option::of(seconds(400_000)),
        approved in any::<bool>(), batched in any::<bool>(), bump_up in proptest::bool::weighted(0.1),
        whatsapp_template in any::<bool>(),
    ) -> RequestFacts {
        RequestFacts {
            category, urgency, channel, renderable_channels, send_at, expires_at, approved, batched, bump_up,
            whatsapp_template, ..facts().request
        }
    }
}

prop_compose! {
    fn some_facts()(
        request in some_request(), zone in any_of(&["UTC", "America/New_York", "Asia/Kathmandu", "nowhere"]),
        preferred_channels in channels(), opted_out in channels(), stopped in channels(), addressed in channels(),
        connected_channels in channels(), country in proptest::option::of(any_of(&["US", "FR"])),
        paused_until in proptest::option::of(seconds(200_000)),
        sent in proptest::collection::vec((any_of(Category::ALL), seconds(600_000)), 0..6),
        last_sent_at in proptest::option::of(seconds(100_000)),
        granted in proptest::option::of(any::<bool>()),
        suppression in proptest::option::of((any_of(Channel::ALL), any_of(SuppressionReason::ALL))),
        last_batch_at in proptest::option::of(seconds(200_000)),
        open_batch in proptest::option::of((any_of(Channel::ALL), 0u32..4, seconds(400))),
    ) -> Facts {
        let mut all = facts();
        all.addresses.retain(|address| addressed.contains(&address.channel));
        for address in &mut all.addresses {
            if let Some((_, reason)) = suppression.filter(|(channel, _)| *channel == address.channel) {
                address.suppressions.push(SuppressionFacts { reason, since: at(NOON), until: None });
            }
        }
        let purpose = request.category;
        all.consents.extend(granted.map(|granted| ConsentFacts { channel: None, purpose, granted, at: at(NOON) }));
        let contact = ContactFacts {
            zone: Some(zone.to_owned()), country: country.map(str::to_owned), preferred_channels, opted_out, stopped,
            paused_until, ..all.contact
        };
        let open_batch = open_batch.map(|(channel, size, opened_at)| OpenBatch { channel, size, opened_at });
        let history = HistoryFacts { sent, last_sent_at, open_batch, last_batch_at };
        Facts { request, contact, history, connected_channels, ..all }
    }
}

/// What must hold of a message that goes out by the channel at the instant.
fn promise(facts: &Facts, policy: &Policy, channel: Channel, when: Timestamp) -> Result<(), TestCaseError> {
    let marketing = facts.request.category == Category::Marketing;
    let address = facts.addresses.iter().find(|address| address.channel == channel);
    prop_assert!(!facts.contact.stopped.contains(&channel), "after a STOP");
    prop_assert!(
        !marketing || !facts.contact.opted_out.contains(&channel),
        "after an opt-out"
    );
    prop_assert!(
        !marketing || facts.consents.iter().any(|consent| consent.granted),
        "without consent"
    );
    prop_assert!(
        address.is_some_and(|address| {
            address
                .suppressions
                .iter()
                .all(|s| s.reason == SuppressionReason::Unsubscribe && !marketing)
        }),
        "to a suppressed or missing address"
    );
    prop_assert!(
        facts
            .request
            .expires_at
            .is_none_or(|expires_at| when <= expires_at),
        "after expiry"
    );
    prop_assert!(
        facts.request.send_at.is_none_or(|send_at| send_at <= when),
        "too early"
    );
    let zone = timing::zone_of(facts, policy);
    prop_assert!(
        timing::hours_of(facts, policy, channel).allow(zone.to_datetime(when)),
        "at a forbidden hour"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_decision_keeps_its_promises(facts in some_facts(), now in seconds(100_000)) {
        let policy = Policy { whatsapp_web_enabled: true, ..Policy::default() };
        let decision = decide(&facts, &policy, now);
        prop_assert_eq!(&decision, &decide(&facts, &policy, now));
        let spoken: std::collections::BTreeSet<Rule> = decision.reasons.iter().map(|reason| reason.rule).collect();
        prop_assert_eq!(spoken.len(), Rule::ALL.len());
        prop_assert!(decision.changes_at.is_none_or(|changes_at| changes_at > now));
        match &decision.verdict {
            Verdict::Send(plan) => {
                prop_assert!(plan.at >= now && !plan.channels.is_empty());
                for channel in &plan.channels {
                    prop_assert!(facts.connected_channels.contains(channel));
                    prop_assert!(facts.request.renderable_channels.contains(channel));
                }
                promise(&facts, &policy, plan.channels[0], plan.at)?;
            }
            Verdict::Hold { until } => prop_assert!(*until > now),
            Verdict::Batch { channel, closes_at } => {
                prop_assert_eq!(facts.request.urgency, Urgency::Low);
                prop_assert!(*closes_at >= now && *closes_at <= now + SignedDuration::from_secs(300));
                prop_assert!(facts.connected_channels.contains(channel));
                prop_assert!(facts.request.send_at.is_none_or(|send_at| send_at <= *closes_at));
            }
            Verdict::Suppress => prop_assert_eq!(decision.deciding().unwrap().verdict, RuleVerdict::Refuse),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// The gate refuses nothing the decision planned, as long as the facts stay the same.
    #[test]
    fn the_gate_agrees_with_the_decision(facts in some_facts(), now in seconds(100_000)) {
        let policy = Policy::default();
        if let Verdict::Send(plan) = decide(&facts, &policy, now).verdict {
            let channel = plan.channels[0];
            let verdict = crate::decide::gate(&facts, &policy, channel, plan.at);
            let window_closed = channel == Channel::Whatsapp && !facts.request.whatsapp_template;
            // Planned messages move against the rolling window between the decision and the dispatch.
            let capped = !facts.history.sent.is_empty();
            if !window_closed && !capped {
                prop_assert_eq!(verdict, crate::decide::GateVerdict::Dispatch);
            }
        }
    }

    /// Deciding again when a hold ends makes way: within a bounded number of rounds every message has an end.
    #[test]
    fn nothing_is_stranded(facts in some_facts(), now in seconds(100_000)) {
        let policy = Policy::default();
        let mut at = now;
        let mut held = true;
        for _ in 0..16 {
            match decide(&facts, &policy, at).verdict {
                Verdict::Hold { until } => at = until,
                _ => held = false,
            }
        }
        prop_assert!(!held, "still held");
    }
}
