//! The real providers send, and are taken.

use super::{control, provider, stand_in, submission};
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;
use tidings_core::ProviderKind;
use tidings_providers::{Lookup, SendOutcome, samples};
use tidings_stand_in::{Account, Query, Secrets, Vendor};

const LIMIT: Duration = Duration::from_secs(5);

#[rstest]
#[case(ProviderKind::Sandbox, Vendor::Sandbox)]
#[case(ProviderKind::Sendgrid, Vendor::Sendgrid)]
#[case(ProviderKind::Twilio, Vendor::Twilio)]
#[case(ProviderKind::Smtp, Vendor::Smtp)]
#[tokio::test]
async fn a_message_is_taken_and_booked_under_its_reference(
    #[case] kind: ProviderKind,
    #[case] vendor: Vendor,
) {
    let stand_in = stand_in().await;
    let provider = provider(&stand_in, kind, &json!({}), LIMIT);
    let checked = provider.check().await;
    assert!(checked.ok, "{kind}: {:?}", checked.findings);
    let submission = submission(kind);
    let outcome = provider.send(&submission).await;
    stand_in.wait_for(1).await;
    let entries = stand_in.ledger().entries(&Query::default());
    let entry = &entries[0];
    assert_eq!((entries.len(), entry.vendor), (1, vendor));
    assert_eq!(entry.recipient.expose(), submission.to.expose().as_str());
    let reference = entry.reference.as_deref().unwrap();
    if kind == ProviderKind::Smtp {
        assert_eq!(reference, "0197.1@brand.test");
    } else {
        assert_eq!(reference, submission.reference);
    }
    let SendOutcome::Accepted { provider_message_id } = outcome else {
        panic!("{kind}: {outcome:?}")
    };
    if vendor != Vendor::Smtp {
        assert_eq!(provider_message_id.as_deref(), Some(entry.provider_id.as_str()));
    }
    assert_eq!(stand_in.ledger().count(vendor, reference), 1);
}

#[tokio::test]
async fn what_is_sent_twice_counts_twice_unless_a_key_protects_it() {
    let stand_in = stand_in().await;
    for kind in [ProviderKind::Sandbox, ProviderKind::Sendgrid] {
        let provider = provider(&stand_in, kind, &json!({}), LIMIT);
        let first = provider.send(&submission(kind)).await;
        let second = provider.send(&submission(kind)).await;
        assert_eq!(first == second, kind == ProviderKind::Sandbox, "{kind}");
    }
    let summary = stand_in.ledger().summary();
    assert_eq!(
        (summary.accepted, summary.replayed, summary.duplicates),
        (3, 1, 1)
    );
    let sandbox = provider(&stand_in, ProviderKind::Sandbox, &json!({}), LIMIT);
    let reference = submission(ProviderKind::Sandbox).reference;
    assert!(matches!(sandbox.lookup(&reference).await, Lookup::Found { .. }));
    assert_eq!(sandbox.lookup("another").await, Lookup::NotFound);
}

#[tokio::test]
async fn keys_that_are_set_up_are_asked_for() {
    let stand_in = stand_in().await;
    let account = |key: &str| Account {
        secrets: Secrets {
            api_key: Some(key.to_owned().into()),
            auth_token: Some(key.to_owned().into()),
            ..Secrets::default()
        },
        ..Account::default()
    };
    for (vendor, name) in [
        (Vendor::Sendgrid, "shop"),
        (Vendor::Twilio, super::TWILIO_ACCOUNT),
        (Vendor::Smtp, "default"),
    ] {
        stand_in.account(vendor, name, account("another")).unwrap();
    }
    for kind in [ProviderKind::Sendgrid, ProviderKind::Twilio, ProviderKind::Smtp] {
        let outcome = provider(&stand_in, kind, &json!({}), LIMIT)
            .send(&submission(kind))
            .await;
        assert!(
            matches!(&outcome, SendOutcome::Rejected(no) if no.category == tidings_core::ErrorCategory::AuthFailure),
            "{kind}: {outcome:?}"
        );
    }
    stand_in
        .account(Vendor::Sendgrid, "shop", account("SG.key"))
        .unwrap();
    let sendgrid = provider(&stand_in, ProviderKind::Sendgrid, &json!({}), LIMIT);
    assert!(matches!(
        sendgrid.send(&submission(ProviderKind::Sendgrid)).await,
        SendOutcome::Accepted { .. }
    ));
    assert_eq!(stand_in.ledger().entries(&Query::default())[0].account, "shop");
}

#[tokio::test]
async fn sandbox_mode_is_checked_and_not_sent() {
    let stand_in = stand_in().await;
    let sendgrid = provider(
        &stand_in,
        ProviderKind::Sendgrid,
        &json!({ "sandbox_mode": true }),
        LIMIT,
    );
    assert!(matches!(
        sendgrid.send(&samples::email("bob@example.com")).await,
        SendOutcome::Accepted { .. }
    ));
    assert_eq!(stand_in.ledger().summary().accepted, 0);
}

#[tokio::test]
async fn twilio_lists_by_recipient_and_day() {
    let stand_in = stand_in().await;
    let twilio = provider(&stand_in, ProviderKind::Twilio, &json!({}), LIMIT);
    for number in ["+14155552671", "+14155552672", "+14155552671"] {
        twilio.send(&samples::text(number)).await;
    }
    let basic = (
        "Authorization",
        "Basic QUNiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYjp0b2tlbg==",
    );
    let list = async |query: &str| {
        let target = format!(
            "/2010-04-01/Accounts/{}/Messages.json?{query}",
            super::TWILIO_ACCOUNT
        );
        let (status, _, body) = super::call(&stand_in, "GET", &target, &[basic], "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let found = list("To=%2B14155552671&DateSent=2026-11-25").await;
    assert_eq!(found["messages"].as_array().unwrap().len(), 2);
    assert_eq!(found["messages"][0]["body"], "Ready.");
    assert!(
        list("DateSent=2026-11-24").await["messages"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let page = list("PageSize=2&DateSent%3E=2026-11-25").await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    let next = page["next_page_uri"].as_str().unwrap();
    assert_eq!(
        list(next.split_once('?').unwrap().1).await["messages"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn the_interface_masks_pages_and_refuses() {
    let stand_in = stand_in().await;
    let sendgrid = provider(&stand_in, ProviderKind::Sendgrid, &json!({}), LIMIT);
    for _ in 0..3 {
        sendgrid.send(&samples::email("bob@example.com")).await;
    }
    let (_, page) = control(&stand_in, "GET", "/_ledger?vendor=sendgrid&limit=2", &Value::Null).await;
    assert_eq!(
        (page["entries"].as_array().unwrap().len(), &page["next"]),
        (2, &json!(2))
    );
    assert_eq!(page["entries"][0]["recipient"], "b***@example.com");
    let (_, rest) = control(&stand_in, "GET", "/_ledger?after=2&unmasked=true", &Value::Null).await;
    assert_eq!(rest["entries"][0]["recipient"], "bob@example.com");
    let (_, summary) = control(&stand_in, "GET", "/_ledger/summary", &Value::Null).await;
    assert_eq!(
        (
            &summary["accepted"],
            &summary["duplicates"],
            &summary["in_flight"]
        ),
        (&json!(3), &json!(1), &json!(0))
    );
    for (method, target, body, status) in [
        ("GET", "/_ledger?vendor=pigeon", Value::Null, 404),
        ("GET", "/_ledger?after=x", Value::Null, 422),
        (
            "PUT",
            "/_faults",
            json!({ "rules": [{ "fault": "explodes" }] }),
            422,
        ),
        ("PUT", "/_faults", json!({ "refuse_ms": 999_999_999 }), 422),
        (
            "PUT",
            "/_accounts/sendgrid/a",
            json!({ "webhook_url": "no url" }),
            422,
        ),
        (
            "PUT",
            "/_accounts/sendgrid/a",
            json!({ "script": [{ "event": "delivered", "times": 99 }] }),
            422,
        ),
        (
            "POST",
            "/_inbound/sendgrid/a",
            json!({ "from": "a@b.test", "to": "c@d.test" }),
            422,
        ),
        ("DELETE", "/_elsewhere", Value::Null, 404),
    ] {
        assert_eq!(
            control(&stand_in, method, target, &body).await.0,
            status,
            "{method} {target}"
        );
    }
    let (_, told) = control(&stand_in, "GET", "/", &Value::Null).await;
    assert_eq!(told["settings"], stand_in.settings());
    let (status, _, _) = super::call(
        &stand_in,
        "GET",
        "/_ledger",
        &[("Origin", "https://evil.example")],
        "",
    )
    .await;
    assert_eq!(status, 403);
    assert_eq!(
        control(&stand_in, "DELETE", "/_ledger", &Value::Null).await.0,
        204
    );
    assert_eq!(stand_in.ledger().summary().accepted, 0);
}
