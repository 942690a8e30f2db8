//! SES and SNS as moto imitates them: what it takes of ours, and what it signs.
//!
//! It confirms subscriptions by itself and signs no `Subject`, so neither is tested on it.

use super::{egress_by, policy, provider_over};
use crate::contract::{
    Provider, SendOutcome, SuppressBecause, WebhookParsed, WebhookRefusal, WebhookRequest,
};
use crate::egress::{Egress, EgressPolicy, EgressRequest, EgressResponse};
use crate::samples;
use crate::stand_in::http::{Behaviour, HttpStandIn, Reply};
use crate::tag;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::{ErrorCategory, ProviderKind};
use tidings_testkit::Moto;
use url::form_urlencoded;

const REGION: &str = "us-east-1";
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:ses-events";

/// Python thinks longer than our own stand-ins; a fixed answer stands for SNS where certificates lie.
fn patient(certificates: Option<&HttpStandIn>) -> Egress {
    egress_by(EgressPolicy {
        total_timeout: Duration::from_secs(20),
        sns_stand_in: certificates.map(HttpStandIn::url),
        ..policy()
    })
}

fn ses(egress: &Egress, moto: &Moto, topic: &str) -> Arc<dyn Provider> {
    let settings = json!({
        "from_email": "shop@brand.test", "from_name": "Bränd", "region": REGION, "configuration_set": "cs",
        "topic_arns": [topic], "base_url": moto.url()
    });
    let keys =
        json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG" });
    provider_over(egress, ProviderKind::Ses, settings, &keys)
}

/// Calls one of moto's services. It does not check signatures, but finds the service by the scope.
async fn call(service: &str, url: &str, form: &[(&str, &str)]) -> EgressResponse {
    let egress = patient(None);
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261120/{REGION}/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    );
    let url = egress.url(url).unwrap();
    let request = if form.is_empty() {
        EgressRequest::get(url)
    } else {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        EgressRequest::post(url, "application/x-www-form-urlencoded", body)
    };
    let request = request.secret_header("authorization", &scope).unwrap();
    let answer = egress.call(request.response_limit(1 << 20)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer
}

#[tokio::test]
async fn moto_takes_every_mail_that_ses_is_given() {
    let Some(moto) = Moto::start().unwrap() else {
        return;
    };
    let ses = ses(&patient(None), &moto, TOPIC);

    // Before the sender is verified there is a no of its own.
    let outcome = ses.send(&samples::email("bob@example.com")).await;
    let SendOutcome::Rejected(no) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (no.category, no.code.as_str()),
        (ErrorCategory::AuthFailure, "MessageRejected"),
        "{no:?}"
    );

    let verify = [
        ("Action", "VerifyEmailIdentity"),
        ("EmailAddress", "shop@brand.test"),
    ];
    call("ses", &moto.url(), &verify).await;
    let mut ids = Vec::new();
    for (form, mail) in samples::emails("bob@example.com") {
        let outcome = ses.send(&mail).await;
        let SendOutcome::Accepted {
            provider_message_id: Some(id),
        } = outcome
        else {
            panic!("{form}: {outcome:?}")
        };
        ids.push(id);
    }
    let kept = call("ses", &format!("{}/moto-api/data.json", moto.url()), &[]).await;
    let kept: Value = serde_json::from_slice(&kept.body).unwrap();
    for id in &ids {
        let of = |kind: &str| {
            let all = kept["ses"][kind].as_array().unwrap();
            all.iter().find(|message| message["id"] == id.as_str()).cloned()
        };
        let message = of("Message").or_else(|| of("RawMessage")).unwrap_or_default();
        assert_eq!(
            message["source"], "=?UTF-8?B?QnLDpG5k?= <shop@brand.test>",
            "{message}"
        );
        assert!(
            message["destinations"].to_string().contains("bob@example.com"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn what_moto_publishes_is_proved_and_read() {
    let Some(moto) = Moto::start().unwrap() else {
        return;
    };
    let door = HttpStandIn::start(Behaviour::Answer(Reply::json(200, "")));
    call(
        "sns",
        &moto.url(),
        &[("Action", "CreateTopic"), ("Name", "ses-events")],
    )
    .await;
    let endpoint = format!("{}/webhooks", door.url());
    let subscribe = [
        ("Action", "Subscribe"),
        ("TopicArn", TOPIC),
        ("Protocol", "http"),
        ("Endpoint", &endpoint),
    ];
    call("sns", &moto.url(), &subscribe).await;
    let mail = samples::email("bob@example.com");
    let event = json!({
        "eventType": "Bounce",
        "mail": {
            "timestamp": "2026-11-20T10:00:00.000Z", "messageId": "m-1", "destination": ["bob@example.com"],
            "tags": { (tag::REFERENCE): [tag::encode(&mail.reference)] }
        },
        "bounce": {
            "bounceType": "Permanent", "bounceSubType": "General", "feedbackId": "f-1",
            "timestamp": "2026-11-20T10:00:02.000Z",
            "bouncedRecipients": [{ "emailAddress": "bob@example.com", "action": "failed", "status": "5.1.1" }]
        }
    });
    let event = event.to_string();
    let publish = [("Action", "Publish"), ("TopicArn", TOPIC), ("Message", &event)];
    call("sns", &moto.url(), &publish).await;
    let received = door.received();
    let [notification] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(notification.line, "POST /webhooks HTTP/1.1");

    // The certificate is at Amazon's by its URL; moto serves it to whom asks for it as SNS.
    let message: Value = serde_json::from_str(&notification.body).unwrap();
    let certificate = message["SigningCertURL"].as_str().unwrap();
    let path = certificate
        .strip_prefix("https://sns.us-east-1.amazonaws.com")
        .unwrap();
    let pem = call("sns", &format!("{}{path}", moto.url()), &[]).await;
    let certificates = HttpStandIn::start(Behaviour::Answer(Reply::json(
        200,
        &String::from_utf8_lossy(&pem.body),
    )));
    let egress = patient(Some(&certificates));
    let now = message["Timestamp"].as_str().unwrap().parse().unwrap();
    let read = async |topic: &str, body: &str| -> Result<WebhookParsed, WebhookRefusal> {
        let request = WebhookRequest {
            method: "POST".to_owned(),
            url: "https://engine.test/webhooks".to_owned(),
            headers: notification.headers.clone(),
            body: body.to_owned().into(),
        };
        ses(&egress, &moto, topic).webhook(&request, now).await
    };
    let parsed = read(TOPIC, &notification.body).await.unwrap();
    let [bounced] = &parsed.events[..] else {
        panic!("{parsed:?}")
    };
    assert_eq!(
        (bounced.kind, bounced.bounce_class, bounced.suppress),
        (
            DeliveryEventKind::Bounced,
            Some(BounceClass::Hard),
            Some(SuppressBecause::HardBounce)
        )
    );
    assert_eq!(bounced.reference.as_deref(), Some(mail.reference.as_str()));
    let line = format!("GET {path} HTTP/1.1");
    assert_eq!(certificates.received()[0].line, line);

    // One letter more, or another connection's topic, and nothing of it is believed.
    let forged = notification.body.replace("m-1", "m-2");
    assert_ne!(forged, notification.body);
    assert_eq!(
        read(TOPIC, &forged).await.unwrap_err(),
        WebhookRefusal::SignatureInvalid
    );
    let other = "arn:aws:sns:us-east-1:123456789012:other";
    assert_eq!(
        read(other, &notification.body).await.unwrap_err(),
        WebhookRefusal::WrongAccount
    );
}
