//! The stand-ins over real sockets: what they take, how they break, what they report.
#![expect(clippy::unwrap_used, reason = "tests")]

mod documents;
mod faults;
mod ledger;
mod providers;
mod questions;
mod recorded;
mod webhooks;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::clock::FixedClock;
use tidings_core::{Channel, ProviderKind};
use tidings_providers::sandbox::MemoryCapture;
use tidings_providers::{
    ConnectionConfig, Credentials, Egress, EgressPolicy, Provider, Submission, build, samples,
};
use tidings_stand_in::{Options, StandIn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NOW: &str = "2026-11-25T22:30:00Z";
const TWILIO_ACCOUNT: &str = "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn options() -> Options {
    Options::new(Arc::new(FixedClock::new(now())))
}

async fn stand_in() -> StandIn {
    StandIn::start(options()).await.unwrap()
}

/// The real provider, pointed at the stand-in; it gives up after `limit`.
fn provider(stand_in: &StandIn, kind: ProviderKind, more: &Value, limit: Duration) -> Arc<dyn Provider> {
    let smtp = stand_in.smtp_addr();
    let (mut settings, credentials) = match kind {
        ProviderKind::Sendgrid => (
            json!({ "from_email": "shop@brand.test", "base_url": stand_in.url() }),
            json!({ "api_key": "SG.key" }),
        ),
        ProviderKind::Twilio => (
            json!({ "account_sid": TWILIO_ACCOUNT, "from": "+15005550006", "base_url": stand_in.url() }),
            json!({ "auth_token": "token", "shared_keys": { "key_1": "shared" } }),
        ),
        ProviderKind::Resend => (
            json!({ "from_email": "shop@brand.test", "base_url": stand_in.url() }),
            json!({ "api_key": "re_key" }),
        ),
        ProviderKind::Ses => (
            json!({ "from_email": "shop@brand.test", "region": "eu-west-1", "base_url": stand_in.url() }),
            json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "secret" }),
        ),
        ProviderKind::Smtp => (
            json!({ "host": "127.0.0.1", "port": smtp.port(), "tls": "none", "from_email": "shop@brand.test",
                "username": "shop", "timeout_s": limit.as_secs().max(1) }),
            json!({ "password": "secret" }),
        ),
        _ => (
            json!({ "base_url": stand_in.url() }),
            json!({ "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }),
        ),
    };
    if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
        settings.extend(more.clone());
    }
    let channel = if kind == ProviderKind::Twilio {
        Channel::Sms
    } else {
        Channel::Email
    };
    let egress = Egress::new(EgressPolicy {
        total_timeout: limit,
        ..EgressPolicy::for_stand_ins()
    })
    .unwrap()
    .with_clock(Arc::new(FixedClock::new(now())));
    let config = ConnectionConfig {
        kind,
        channel,
        settings,
        credentials: Credentials::new(SecretString::from(credentials.to_string())),
    };
    build(&config, &egress, Arc::new(MemoryCapture::new())).unwrap()
}

/// A message that the provider carries.
fn submission(kind: ProviderKind) -> Submission {
    if kind == ProviderKind::Twilio {
        let mut text = samples::text("+14155552671");
        text.status_callback = Some("http://127.0.0.1:1/webhooks/twilio/1".to_owned());
        text
    } else {
        samples::email("bob@example.com")
    }
}

/// One request over a connection of its own: status, head and body of the answer.
async fn call(
    stand_in: &StandIn,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(stand_in.address()).await.unwrap();
    let mut request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
        stand_in.address(),
        body.len()
    );
    for (name, value) in headers {
        request.extend([*name, ": ", *value, "\r\n"]);
    }
    request.extend(["\r\n", body]);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// A JSON request to the stand-in's own interface.
async fn control(stand_in: &StandIn, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let (status, _, body) = call(
        stand_in,
        method,
        target,
        &[("Content-Type", "application/json")],
        &text,
    )
    .await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}
