//! Signature vectors.

use super::case::{Case, Verdict};
use crate::contract::WebhookRefusal;
use crate::signature::{
    hubspot, meta as meta_signature, sendgrid as sendgrid_signature, slack as slack_signature,
};
use crate::signature::{sns as sns_signature, standard as standard_signature, twilio as twilio_signature};
use jiff::Timestamp;
use std::fs;
use std::path::Path;
use url::form_urlencoded;

fn outcome(case: Case<'_>, result: &Result<(), WebhookRefusal>) -> Verdict {
    case.expects(result.is_ok(), || {
        result.as_ref().err().map(ToString::to_string).unwrap_or_default()
    })
}

fn at_second(second: Option<i64>) -> Timestamp {
    second
        .and_then(|s| Timestamp::from_second(s).ok())
        .unwrap_or_default()
}

/// The key id that the case's header names stands for the case's secret.
pub fn twilio(_: &Path, case: Case<'_>) -> Verdict {
    let settings = case.text("signature_settings_header");
    let secret = case.text("auth_token").unwrap_or_default();
    let key_id = settings
        .unwrap_or_default()
        .split(',')
        .find_map(|part| part.trim().strip_prefix("key=").map(str::trim))
        .unwrap_or_default();
    let body = case.bytes("raw_body").unwrap_or_else(|| form_of(case));
    let signed = twilio_signature::Signed {
        url: case.text("url").unwrap_or_default(),
        method: case.text("method").unwrap_or("POST"),
        content_type: case.text("content_type"),
        body: &body,
        signature: case.text("signature"),
        settings,
    };
    let keys = twilio_signature::Keys {
        auth_tokens: &[secret],
        shared_keys: &[(key_id, secret)],
    };
    outcome(case, &twilio_signature::verify(&signed, &keys))
}

fn form_of(case: Case<'_>) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for pair in case
        .get("params")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
    {
        if let (Some(key), Some(value)) = (pair[0].as_str(), pair[1].as_str()) {
            form.append_pair(key, value);
        }
    }
    form.finish().into_bytes()
}

pub fn sendgrid(_: &Path, case: Case<'_>) -> Verdict {
    let body = case.bytes("body").unwrap_or_default();
    let result = match sendgrid_signature::PublicKey::parse(case.text("public_key").unwrap_or_default()) {
        None => Err(WebhookRefusal::NotConfigured(
            "the public key cannot be read".to_owned(),
        )),
        Some(key) => sendgrid_signature::verify(
            &key,
            case.header("X-Twilio-Email-Event-Webhook-Signature"),
            case.header("X-Twilio-Email-Event-Webhook-Timestamp"),
            &body,
        ),
    };
    outcome(case, &result)
}

pub fn sns(dir: &Path, case: Case<'_>) -> Verdict {
    let topics = case.list("allowed_topic_arns");
    let pem = case.text("signing_cert_pem_file").unwrap_or("sns_test_cert.pem");
    let body = case.bytes("body").unwrap_or_default();
    let result = sns_signature::Message::parse(&body).and_then(|message| {
        sns_signature::verify(&message, &topics, |_| fs::read_to_string(dir.join(pem)).ok())
    });
    outcome(case, &result)
}

pub fn standard(_: &Path, case: Case<'_>) -> Verdict {
    let header = |name: &str| {
        case.header(&format!("webhook-{name}"))
            .or_else(|| case.header(&format!("svix-{name}")))
            .unwrap_or_default()
    };
    let body = case.bytes("body").unwrap_or_default();
    let signed = standard_signature::Signed {
        id: header("id"),
        timestamp: header("timestamp"),
        signatures: header("signature"),
        body: &body,
    };
    let secret = case
        .text("secret")
        .or_else(|| case.text("public_key"))
        .unwrap_or_default();
    let now = at_second(case.number("now_unix"));
    outcome(case, &standard_signature::verify(&signed, secret, now))
}

pub fn standard_sign(_: &Path, case: Case<'_>) -> Verdict {
    let body = case.bytes("body").unwrap_or_default();
    let at = at_second(case.number("timestamp"));
    let secret = case.text("secret").unwrap_or_default();
    let signed = standard_signature::sign(case.text("msg_id").unwrap_or_default(), at, &body, secret);
    Verdict::of(signed.as_deref().ok() == case.text("expected"), || {
        format!("signed {signed:?}")
    })
}

pub fn meta(_: &Path, case: Case<'_>) -> Verdict {
    let body = case.bytes("body").unwrap_or_default();
    let secret = case.text("app_secret").unwrap_or_default();
    outcome(
        case,
        &meta_signature::verify(case.header("X-Hub-Signature-256"), &body, secret),
    )
}

pub fn meta_handshake(_: &Path, case: Case<'_>) -> Verdict {
    let answer = meta_signature::handshake(
        case.text("query").unwrap_or_default(),
        case.text("verify_token").unwrap_or_default(),
    );
    let expect = case.get("expect").map(Case::new);
    let status = expect.as_ref().and_then(|e| e.number("status"));
    let body = expect.as_ref().and_then(|e| e.text("body"));
    match (status, &answer) {
        (Some(200), Some(given)) => Verdict::of(body.is_none_or(|body| body == given), || {
            format!("answered {given}")
        }),
        (Some(200), None) => Verdict::Failed("refused".to_owned()),
        (Some(_), answer) => Verdict::of(answer.is_none(), || "accepted".to_owned()),
        (None, _) => Verdict::Failed("the case has no expected status".to_owned()),
    }
}

pub fn slack(_: &Path, case: Case<'_>) -> Verdict {
    let body = case.bytes("body").unwrap_or_default();
    let result = slack_signature::verify(
        case.header("X-Slack-Signature"),
        case.header("X-Slack-Request-Timestamp"),
        &body,
        case.text("signing_secret").unwrap_or_default(),
        at_second(case.number("now_unix")),
    );
    outcome(case, &result)
}

pub fn hubspot(_: &Path, case: Case<'_>) -> Verdict {
    let version = match case.text("v") {
        Some("v1") => hubspot::Version::V1,
        Some("v2") => hubspot::Version::V2,
        Some("v3") => hubspot::Version::V3,
        other => return Verdict::Skipped(format!("the signature version {other:?} is not known")),
    };
    let body = case.bytes("body").unwrap_or_default();
    let timestamp = case.number("timestamp").map(|ms| ms.to_string());
    let signed = hubspot::Signed {
        version,
        method: case.text("method").unwrap_or("POST"),
        url: case.text("url").unwrap_or_default(),
        body: &body,
        signature: case.text("signature"),
        timestamp: case.text("timestamp").or(timestamp.as_deref()),
    };
    let now = case
        .number("now_ms")
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or_default();
    outcome(
        case,
        &hubspot::verify(&signed, case.text("client_secret").unwrap_or_default(), now),
    )
}
