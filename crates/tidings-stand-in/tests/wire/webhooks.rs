//! What is reported verifies with the real verifiers, comes when it should, and comes again when it was not answered.

use super::{TWILIO_ACCOUNT, call, control, now, provider, stand_in, submission};
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;
use tidings_core::ProviderKind;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_providers::signature::{meta, sns, standard};
use tidings_providers::{SendOutcome, WebhookParsed, WebhookRequest};
use tidings_stand_in::{StandIn, Vendor};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(5);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Whoever is reported to: answers with these statuses in turn, the last one for ever.
struct Receiver {
    url: String,
    requests: mpsc::UnboundedReceiver<WebhookRequest>,
}

impl Receiver {
    async fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::unbounded_channel();
        let url = format!("{origin}/webhooks/in?a=b");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let listener = listener.into_std().unwrap();
            runtime.block_on(serve(listener, origin, statuses, sender));
        });
        Self { url, requests }
    }

    async fn next(&mut self) -> WebhookRequest {
        tokio::time::timeout(LIMIT, self.requests.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

async fn serve(
    listener: std::net::TcpListener,
    origin: String,
    statuses: &[u16],
    sender: mpsc::UnboundedSender<WebhookRequest>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    for nth in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let headers: Vec<(String, String)> = lines[1..]
            .iter()
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .unwrap()
            .1
            .parse()
            .unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let path = lines[0].split(' ').nth(1).unwrap();
        let request = WebhookRequest {
            method: "POST".to_owned(),
            url: format!("{origin}{path}"),
            headers,
            body: body.into(),
        };
        let status = statuses[nth.min(statuses.len() - 1)];
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        if sender.send(request).is_err() {
            return;
        }
    }
}

async fn account(stand_in: &StandIn, vendor: Vendor, name: &str, url: &str, more: &Value) -> Value {
    let mut account = json!({ "webhook_url": url });
    account
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let target = format!("/_accounts/{}/{name}", vendor.name());
    let (status, told) = control(stand_in, "PUT", &target, &account).await;
    assert_eq!(status, 200, "{told}");
    told
}

/// Sends one message by a real provider and reads what comes back with the same.
async fn send_and_read(
    stand_in: &StandIn,
    kind: ProviderKind,
    more: &Value,
    receiver: &mut Receiver,
) -> WebhookParsed {
    let provider = provider(stand_in, kind, more, LIMIT);
    let mut submission = submission(kind);
    if kind == ProviderKind::Twilio {
        submission.status_callback = Some(receiver.url.clone());
    }
    let outcome = provider.send(&submission).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    let parsed = provider.webhook(&receiver.next().await, now()).await.unwrap();
    for event in &parsed.events {
        assert_eq!(event.reference.as_deref(), Some(submission.reference.as_str()));
    }
    parsed
}

#[rstest]
#[case(json!({ "auth_token": "token" }))]
#[case(json!({ "auth_token": "token", "shared_key_id": "key_1", "shared_key": "shared" }))]
#[tokio::test]
async fn twilio_signs_both_ways(#[case] secrets: Value) {
    let (stand_in, mut receiver) = (stand_in().await, Receiver::start(&[204]).await);
    let more = json!({ "secrets": secrets, "script": [{ "event": "failed", "code": 30006 }, { "event": "stop", "after_ms": 100 }] });
    account(
        &stand_in,
        Vendor::Twilio,
        TWILIO_ACCOUNT,
        &receiver.url.clone(),
        &more,
    )
    .await;
    let parsed = send_and_read(&stand_in, ProviderKind::Twilio, &json!({}), &mut receiver).await;
    assert_eq!(parsed.events[0].kind, DeliveryEventKind::Failed);
    assert_eq!(parsed.events[0].error.as_ref().unwrap().1, "30006");
    let twilio = provider(&stand_in, ProviderKind::Twilio, &json!({}), LIMIT);
    let stop = twilio.webhook(&receiver.next().await, now()).await.unwrap();
    assert_eq!(stop.inbound[0].text.expose(), "STOP");
    assert_eq!(stop.inbound[0].from.expose(), "+14155552671");
}

#[tokio::test]
async fn sendgrid_signs_a_batch_that_is_turned_around_and_repeated() {
    let (stand_in, mut receiver) = (stand_in().await, Receiver::start(&[200]).await);
    let more = json!({
        "batch_ms": 300, "reorder": true,
        "script": [{ "event": "delivered", "times": 2 }, { "event": "bounced_block", "after_ms": 100 }],
    });
    let told = account(
        &stand_in,
        Vendor::Sendgrid,
        "default",
        &receiver.url.clone(),
        &more,
    )
    .await;
    let settings = json!({ "webhook_public_key": told["webhook_public_key"] });
    let parsed = send_and_read(&stand_in, ProviderKind::Sendgrid, &settings, &mut receiver).await;
    let kinds: Vec<_> = parsed.events.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            DeliveryEventKind::Bounced,
            DeliveryEventKind::Delivered,
            DeliveryEventKind::Delivered
        ]
    );
    assert_eq!(parsed.events[0].bounce_class, Some(BounceClass::Block));
    assert_eq!(parsed.events[1].dedupe_key, parsed.events[2].dedupe_key);
    let message = json!({ "from": "bob@example.com", "to": "in@reply.brand.test", "text": "Hello" });
    let (status, told) = control(&stand_in, "POST", "/_inbound/sendgrid/default", &message).await;
    assert_eq!((status, &told["status"]), (200, &json!(200)));
    let settings = json!({ "webhook_public_key": settings["webhook_public_key"], "inbound_domains": ["reply.brand.test"] });
    let sendgrid = provider(&stand_in, ProviderKind::Sendgrid, &settings, LIMIT);
    let read = sendgrid.webhook(&receiver.next().await, now()).await.unwrap();
    assert_eq!(read.inbound[0].text.expose(), "Hello");
}

#[tokio::test]
async fn a_report_is_made_again_until_it_is_answered_well() {
    let (stand_in, mut receiver) = (stand_in().await, Receiver::start(&[500, 503, 200]).await);
    let more = json!({
        "secrets": { "webhook_secret": SECRET }, "retries_ms": [10, 10, 10],
        "script": [{ "event": "bounced_hard" }],
    });
    account(
        &stand_in,
        Vendor::Sandbox,
        "default",
        &receiver.url.clone(),
        &more,
    )
    .await;
    let first = send_and_read(&stand_in, ProviderKind::Sandbox, &json!({}), &mut receiver).await;
    let sandbox = provider(&stand_in, ProviderKind::Sandbox, &json!({}), LIMIT);
    for _ in 0..2 {
        let again = sandbox.webhook(&receiver.next().await, now()).await.unwrap();
        assert_eq!(again.events, first.events);
    }
    let settled = stand_in.wait_for_reports(|reported| reported.delivered == 1 && reported.waiting == 0);
    assert!(
        tokio::time::timeout(LIMIT, settled).await.is_ok(),
        "{}",
        stand_in.summary()
    );
}

#[tokio::test]
async fn what_is_never_answered_is_given_up_and_counted() {
    let (stand_in, receiver) = (stand_in().await, Receiver::start(&[500]).await);
    let more = json!({
        "secrets": { "webhook_secret": SECRET }, "retries_ms": [5], "script": [{ "event": "delivered" }],
    });
    account(&stand_in, Vendor::Sandbox, "default", &receiver.url, &more).await;
    provider(&stand_in, ProviderKind::Sandbox, &json!({}), LIMIT)
        .send(&submission(ProviderKind::Sandbox))
        .await;
    let settled = stand_in.wait_for_reports(|reported| reported.failed == 1 && reported.waiting == 0);
    assert!(
        tokio::time::timeout(LIMIT, settled).await.is_ok(),
        "{}",
        stand_in.summary()
    );
}

#[tokio::test]
async fn a_report_can_come_before_the_answer() {
    let (stand_in, mut receiver) = (stand_in().await, Receiver::start(&[200]).await);
    let more = json!({
        "secrets": { "webhook_secret": SECRET }, "script": [{ "event": "delivered", "before_response": true }],
    });
    account(&stand_in, Vendor::Sandbox, "default", &receiver.url, &more).await;
    let sandbox = provider(&stand_in, ProviderKind::Sandbox, &json!({}), LIMIT);
    sandbox.send(&submission(ProviderKind::Sandbox)).await;
    // It was answered before the call was: nothing is left to wait for.
    let reported = receiver.requests.try_recv().unwrap();
    assert_eq!(
        sandbox.webhook(&reported, now()).await.unwrap().events[0].kind,
        DeliveryEventKind::Delivered
    );
}

#[tokio::test]
async fn resend_and_meta_sign_as_their_verifiers_want() {
    let (stand_in, mut receiver) = (stand_in().await, Receiver::start(&[200]).await);
    let url = receiver.url.clone();
    let more = json!({ "secrets": { "webhook_secret": SECRET } });
    account(&stand_in, Vendor::Resend, "default", &url, &more).await;
    let email = r#"{"from":"Shop <shop@brand.test>","to":["bounced@resend.dev"],"subject":"Hi","text":"x","tags":[{"name":"a","value":"b"}]}"#;
    let headers = [
        ("Authorization", "Bearer re_key"),
        ("Content-Type", "application/json"),
    ];
    assert_eq!(call(&stand_in, "POST", "/emails", &headers, email).await.0, 200);
    let request = receiver.next().await;
    let signed = standard::Signed {
        id: request.header("svix-id").unwrap(),
        timestamp: request.header("svix-timestamp").unwrap(),
        signatures: request.header("svix-signature").unwrap(),
        body: &request.body,
    };
    assert_eq!(standard::verify(&signed, SECRET, now()), Ok(()));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        (&body["type"], &body["data"]["tags"]["a"]),
        (&json!("email.bounced"), &json!("b"))
    );

    let more = json!({ "secrets": { "app_secret": "app" }, "script": [{ "event": "read" }] });
    account(&stand_in, Vendor::WhatsappCloud, "100200300", &url, &more).await;
    let text = r#"{"messaging_product":"whatsapp","to":"+14155552671","type":"text","text":{"body":"Hi"},"biz_opaque_callback_data":"d1"}"#;
    let headers = [
        ("Authorization", "Bearer EAA"),
        ("Content-Type", "application/json"),
    ];
    assert_eq!(
        call(&stand_in, "POST", "/v26.0/100200300/messages", &headers, text)
            .await
            .0,
        200
    );
    let request = receiver.next().await;
    assert_eq!(
        meta::verify(request.header("x-hub-signature-256"), &request.body, "app"),
        Ok(())
    );
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let status = &body["entry"][0]["changes"][0]["value"]["statuses"][0];
    assert_eq!(
        (&status["status"], &status["biz_opaque_callback_data"]),
        (&json!("read"), &json!("d1"))
    );
}

#[tokio::test]
async fn sns_signs_under_a_certificate_that_the_receiver_is_given() {
    let (stand_in, mut receiver) = (stand_in().await, Receiver::start(&[200]).await);
    let topic = "arn:aws:sns:us-east-1:000000000000:mail";
    let more = json!({
        "secrets": { "signing_key": include_str!("../sns/key.pem"), "topic_arn": topic },
        "script": [{ "event": "complained" }],
    });
    account(&stand_in, Vendor::Ses, "default", &receiver.url.clone(), &more).await;
    let status = super::recorded::send_by_ses(&stand_in, "bob@example.com").await;
    assert_eq!(status, 200);
    let request = receiver.next().await;
    let message = sns::Message::parse(&request.body).unwrap();
    let certificate = |_: &_| Some(include_str!("../sns/certificate.pem").to_owned());
    assert_eq!(sns::verify(&message, &[topic], certificate), Ok(()));
    let event: Value = serde_json::from_str(message.text("Message").unwrap()).unwrap();
    assert_eq!(
        (
            &event["eventType"],
            &event["mail"]["tags"]["tidings_reference"][0]
        ),
        (&json!("Complaint"), &json!("d1_2e1"))
    );
}

#[tokio::test]
async fn writing_as_a_customer_ends_long_before_a_vendor_gives_up() {
    let (stand_in, receiver) = (stand_in().await, Receiver::start(&[500]).await);
    let retries = json!({ "secrets": { "webhook_secret": SECRET }, "retries_ms": [0, 60_000, 36_000_000] });
    account(&stand_in, Vendor::Sandbox, "default", &receiver.url, &retries).await;
    let message = json!({ "from": "bob@example.com", "to": "in@reply.brand.test", "text": "Hello" });
    let written = control(&stand_in, "POST", "/_inbound/sandbox/default", &message);
    let (status, told) = tokio::time::timeout(LIMIT, written).await.unwrap();
    assert_eq!(status, 200, "{told}");
    assert_eq!(
        (&told["tries"], &told["status"], &told["tries_left"]),
        (&json!(2), &json!(500), &json!(2))
    );
}
