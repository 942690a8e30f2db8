//! What HTTP providers put on the wire.

use super::provider;
use crate::contract::{Attachment, Content, Lookup, SendOutcome};
use crate::samples;
use crate::stand_in::http::{Behaviour, HttpStandIn, Reply};
use serde_json::{Value, json};
use tidings_core::ProviderKind;
use tidings_core::redact::Private;
use url::form_urlencoded;

#[tokio::test]
async fn sendgrid_sends_the_whole_message() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(
        Reply::json(202, "").with("X-Message-Id", "id1"),
    ));
    let settings = json!({
        "from_email": "shop@brand.test", "from_name": "Brand", "categories": ["orders"], "base_url": stand_in.url()
    });
    let sendgrid = provider(ProviderKind::Sendgrid, settings, &json!({ "api_key": "SG.key" }));
    let mut submission = samples::email("bob@example.com");
    let Content::Email(mut email) = submission.content.into_exposed() else {
        unreachable!()
    };
    email.unsubscribe_url = Some("https://brand.test/u/abc".to_owned());
    email.attachments.push(Attachment {
        filename: "logo.png".to_owned(),
        content_type: "image/png".to_owned(),
        content_base64: "AAAA".to_owned(),
        content_id: Some("logo".to_owned()),
    });
    submission.content = Private::new(Content::Email(email));
    let outcome = sendgrid.send(&submission).await;
    assert_eq!(
        outcome,
        SendOutcome::Accepted {
            provider_message_id: Some("id1".to_owned())
        }
    );
    let request = &stand_in.received()[0];
    assert_eq!(request.line, "POST /v3/mail/send HTTP/1.1");
    assert!(
        request
            .headers
            .contains(&("authorization".to_owned(), "Bearer SG.key".to_owned()))
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        body["personalizations"][0]["to"],
        json!([{ "email": "bob@example.com" }])
    );
    assert_eq!(
        body["personalizations"][0]["custom_args"]["tidings_reference"],
        json!(submission.reference)
    );
    assert_eq!(body["content"][0]["type"], "text/plain");
    assert_eq!(body["headers"]["List-Unsubscribe"], "<https://brand.test/u/abc>");
    assert_eq!(
        body["headers"]["List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
    assert_eq!(body["headers"]["Message-ID"], "<0197.1@brand.test>");
    assert_eq!(body["attachments"][0]["disposition"], "inline");
    assert_eq!(body["tracking_settings"]["click_tracking"]["enable"], false);
}

#[tokio::test]
async fn sendgrid_has_a_european_address() {
    let eu = provider(
        ProviderKind::Sendgrid,
        json!({ "from_email": "shop@brand.test", "region": "eu" }),
        &json!({ "api_key": "SG.key" }),
    );
    assert!(format!("{eu:?}").contains("api.eu.sendgrid.com"));
}

#[tokio::test]
async fn twilio_sends_a_form_with_our_reference_in_the_callback() {
    let sid = "SM0123456789abcdef0123456789abcdef";
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(
        201,
        &format!(r#"{{"sid":"{sid}"}}"#),
    )));
    let settings = json!({
        "account_sid": "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "from": "+15005550006", "validity_period_s": 600,
        "base_url": stand_in.url()
    });
    let twilio = provider(
        ProviderKind::Twilio,
        settings,
        &json!({ "auth_token": "t", "api_key_sid": "SKx", "api_key_secret": "y" }),
    );
    let mut submission = samples::text("+14155552671");
    submission.status_callback = Some("https://engine.test/webhooks/twilio/1?a=b".to_owned());
    let outcome = twilio.send(&submission).await;
    assert_eq!(
        outcome,
        SendOutcome::Accepted {
            provider_message_id: Some(sid.to_owned())
        }
    );
    let request = &stand_in.received()[0];
    assert_eq!(
        request.line,
        "POST /2010-04-01/Accounts/ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb/Messages.json HTTP/1.1"
    );
    assert!(
        request
            .headers
            .contains(&("authorization".to_owned(), "Basic U0t4Onk=".to_owned()))
    );
    let form: Vec<(String, String)> = form_urlencoded::parse(request.body.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (field("To"), field("From")),
        (Some("+14155552671"), Some("+15005550006"))
    );
    assert_eq!(
        (field("Body"), field("ValidityPeriod")),
        (Some("Ready."), Some("600"))
    );
    let callback = format!(
        "https://engine.test/webhooks/twilio/1?a=b&reference={}",
        submission.reference
    );
    assert_eq!(field("StatusCallback"), Some(callback.as_str()));
}

#[tokio::test]
async fn checks_say_what_they_found() {
    let good = HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"scopes":["mail.send"]}"#)));
    let bad = HttpStandIn::start(Behaviour::Answer(Reply::json(
        401,
        r#"{"errors":[{"message":"bad key"}]}"#,
    )));
    for (stand_in, ok) in [(&good, true), (&bad, false)] {
        let settings = json!({ "from_email": "shop@brand.test", "base_url": stand_in.url() });
        let report = provider(ProviderKind::Sendgrid, settings, &json!({ "api_key": "SG.key" }))
            .check()
            .await;
        assert_eq!(report.ok, ok, "{report:?}");
        assert!(!report.findings.is_empty());
    }
}

#[tokio::test]
async fn the_sandbox_asks_its_stand_in() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"id":"s-9"}"#)));
    let sandbox = provider(
        ProviderKind::Sandbox,
        json!({ "base_url": stand_in.url() }),
        &json!({}),
    );
    let submission = samples::email("bob@example.com");
    sandbox.send(&submission).await;
    let found = Lookup::Found {
        provider_message_id: Some("s-9".to_owned()),
    };
    assert_eq!(sandbox.lookup("a/b").await, found);
    let received = stand_in.received();
    let body: Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!(body["reference"], json!(submission.reference));
    assert_eq!(received[1].line, "GET /lookup/a%2Fb HTTP/1.1");
}
