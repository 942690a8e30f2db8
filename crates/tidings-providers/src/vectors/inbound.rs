//! Inbound payloads: signed here with throwaway keys, read by the providers' own webhook code.

use super::case::{Case, Verdict};
use super::inbound_whatsapp;
use crate::config::{ConnectionConfig, Credentials, build};
use crate::contract::{
    InboundMessage, Provider, ReportedEvent, WebhookParsed, WebhookRefusal, WebhookRequest,
};
use crate::egress::{Egress, EgressPolicy};
use crate::sandbox::MemoryCapture;
use crate::signature::twilio;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tidings_core::event::DeliveryEventKind;
use tidings_core::{Channel, ProviderKind};
use url::form_urlencoded;

pub(super) const URL: &str = "https://engine.test/webhooks/vectors";
const TOKEN: &str = "vector-token";
/// The clock of the vectors.
pub(super) const NOW_S: i64 = 1_795_000_000;

pub fn twilio(_: &Path, case: Case<'_>) -> Verdict {
    let Some(form) = case.get("form").and_then(Value::as_object) else {
        return Verdict::Failed("the case has no form".to_owned());
    };
    // A case that expects something is for this connection, whatever its number; one that expects nothing may be for
    // another, which the binding must notice.
    let field = |name: &str| form.get(name).and_then(Value::as_str).unwrap_or_default();
    let expects = case
        .get("expect")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty());
    let settings = json!({
        "account_sid": if expects { field("AccountSid") } else { "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" },
        "from": "+15005550006",
        "numbers": [if expects { field("To") } else { "+15005550006" }],
    });
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form.iter().map(|(key, value)| {
            (
                key,
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            )
        }))
        .finish();
    let headers = vec![
        (
            "content-type".to_owned(),
            case.text("content_type")
                .unwrap_or("application/x-www-form-urlencoded")
                .to_owned(),
        ),
        (
            "x-twilio-signature".to_owned(),
            twilio::sign(URL, body.as_bytes(), TOKEN),
        ),
    ];
    let provider = provider(
        ProviderKind::Twilio,
        Channel::Sms,
        settings,
        &json!({ "auth_token": TOKEN }),
    );
    run(case, provider, headers, body.into_bytes())
}

pub fn sendgrid_events(dir: &Path, case: Case<'_>) -> Verdict {
    sendgrid(dir, case, "application/json")
}

pub fn sendgrid_inbound(dir: &Path, case: Case<'_>) -> Verdict {
    sendgrid(
        dir,
        case,
        case.text("content_type").unwrap_or("multipart/form-data"),
    )
}

fn sendgrid(_: &Path, case: Case<'_>, content_type: &str) -> Verdict {
    let body = case.bytes("body").unwrap_or_default();
    let Some((public_key, signature)) = sign_p256(b"1795000000", &body) else {
        return Verdict::Failed("no key pair could be made".to_owned());
    };
    let domains: Vec<&str> = case
        .get("expect")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|expected| expected.get("recipient")?.as_str()?.rsplit_once('@'))
        .map(|(_, domain)| domain)
        .chain(["in.engine.test"])
        .collect();
    let settings = json!({
        "from_email": "shop@engine.test",
        "webhook_public_key": public_key,
        "inbound_domains": domains,
    });
    let headers = vec![
        ("content-type".to_owned(), content_type.to_owned()),
        ("x-twilio-email-event-webhook-signature".to_owned(), signature),
        (
            "x-twilio-email-event-webhook-timestamp".to_owned(),
            "1795000000".to_owned(),
        ),
    ];
    let provider = provider(
        ProviderKind::Sendgrid,
        Channel::Email,
        settings,
        &json!({ "api_key": "SG.vector" }),
    );
    run(case, provider, headers, body)
}

/// A fresh key in the console's form, and a signature over timestamp and body.
fn sign_p256(timestamp: &[u8], body: &[u8]) -> Option<(String, String)> {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).ok()?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).ok()?;
    let spki = [
        crate::signature::sendgrid::P256_SPKI_PREFIX,
        pair.public_key().as_ref(),
    ]
    .concat();
    let signature = pair.sign(&random, &[timestamp, body].concat()).ok()?;
    Some((STANDARD.encode(spki), STANDARD.encode(signature)))
}

pub(super) fn provider(
    kind: ProviderKind,
    channel: Channel,
    settings: Value,
    credentials: &Value,
) -> Result<Arc<dyn Provider>, String> {
    let egress = Egress::new(EgressPolicy::default()).map_err(|error| error.to_string())?;
    let credentials = Credentials::new(SecretString::from(credentials.to_string()));
    let config = ConnectionConfig {
        kind,
        channel,
        settings,
        credentials,
    };
    build(&config, &egress, Arc::new(MemoryCapture::new())).map_err(|error| error.to_string())
}

pub(super) fn run(
    case: Case<'_>,
    provider: Result<Arc<dyn Provider>, String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
) -> Verdict {
    let provider = match provider {
        Ok(provider) => provider,
        Err(why) => return Verdict::Failed(format!("the connection cannot be built: {why}")),
    };
    let request = WebhookRequest {
        method: "POST".to_owned(),
        url: URL.to_owned(),
        headers,
        body: body.into(),
    };
    let now = Timestamp::from_second(NOW_S).unwrap_or_default();
    // No vector makes a provider ask anybody, so there is nothing to wait for.
    let read = provider.webhook(&request, now).now_or_never().unwrap_or_else(|| {
        Err(WebhookRefusal::Unavailable(
            "it asks somebody else first".to_owned(),
        ))
    });
    judge(case, read)
}

pub(super) fn judge(case: Case<'_>, read: Result<WebhookParsed, WebhookRefusal>) -> Verdict {
    let expected: Vec<Case<'_>> = case
        .get("expect")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(Case::new)
        .collect();
    match read {
        // A body that cannot be read is answered with a 4xx, which says nothing happened.
        Err(refusal) => Verdict::of(expected.is_empty(), || format!("refused: {refusal}")),
        Ok(parsed) => match compare(case, &expected, &parsed) {
            Ok(()) => Verdict::Passed,
            Err(why) => Verdict::Failed(why),
        },
    }
}

fn compare(case: Case<'_>, expected: &[Case<'_>], parsed: &WebhookParsed) -> Result<(), String> {
    let found = parsed.events.len() + parsed.inbound.len();
    if expected.is_empty() {
        // "The same again": it reads alike, and its dedupe key is what makes it count once.
        let repeated = case.text("description").is_some_and(is_repetition)
            || case.text("note").is_some_and(|n| n.contains("no second"));
        let keyed = parsed.inbound.iter().all(|m| !m.dedupe_key.is_empty())
            && parsed.events.iter().all(|e| !e.dedupe_key.is_empty());
        return if found == 0 || (repeated && keyed) {
            Ok(())
        } else {
            Err(format!("{found} events, should be none"))
        };
    }
    for wanted in expected.iter().copied() {
        let kind = wanted.text("type").unwrap_or_default();
        let problems: Vec<Vec<String>> = if kind.starts_with("template") {
            let templates = parsed.templates.iter();
            templates
                .map(|report| inbound_whatsapp::compare(wanted, report))
                .collect()
        } else if kind == "message.received" {
            parsed
                .inbound
                .iter()
                .map(|message| compare_message(wanted, message))
                .collect()
        } else {
            parsed
                .events
                .iter()
                .map(|event| compare_event(wanted, kind, event))
                .collect()
        };
        if !problems.iter().any(Vec::is_empty) {
            return Err(format!("no {kind} as expected: {problems:?}"));
        }
    }
    let keys: std::collections::BTreeSet<&str> = parsed
        .events
        .iter()
        .map(|e| e.dedupe_key.as_str())
        .chain(parsed.inbound.iter().map(|m| m.dedupe_key.as_str()))
        .collect();
    if keys.len() > expected.len() {
        return Err(format!(
            "{} different events, should be {}",
            keys.len(),
            expected.len()
        ));
    }
    Ok(())
}

fn is_repetition(description: &str) -> bool {
    ["again", "duplicate", "twice", "repeat", "retry"]
        .iter()
        .any(|word| description.contains(word))
}

/// An address without its channel's prefix, as contacts are kept.
fn bare(case: Case<'_>, name: &str) -> Option<String> {
    case.text(name)
        .map(|text| text.strip_prefix("whatsapp:").unwrap_or(text).to_owned())
}

/// What differs; empty when nothing does.
fn differences(pairs: &[(&str, Option<String>, Option<String>)]) -> Vec<String> {
    pairs
        .iter()
        .filter(|(_, wanted, given)| wanted.is_some() && wanted != given)
        .map(|(name, wanted, given)| format!("{name} is {given:?}, should be {wanted:?}"))
        .collect()
}

/// Seconds, given as a number or as a date.
fn instant(case: Case<'_>, name: &str) -> Option<String> {
    let value = case.get(name)?;
    value
        .as_i64()
        .or_else(|| Some(value.as_str()?.parse::<Timestamp>().ok()?.as_second()))
        .map(|s| s.to_string())
}

fn compare_message(wanted: Case<'_>, message: &InboundMessage) -> Vec<String> {
    let owned = |name: &str| wanted.text(name).map(str::to_owned);
    let mut wrong = differences(&[
        (
            "provider_message_id",
            owned("provider_message_id"),
            message.provider_message_id.clone(),
        ),
        (
            "dedupe_key",
            owned("dedupe_key"),
            Some(message.dedupe_key.clone()),
        ),
        (
            "recipient",
            bare(wanted, "recipient"),
            message.to.as_ref().map(|to| to.expose().clone()),
        ),
        (
            "sender",
            bare(wanted, "sender"),
            Some(message.from.expose().clone()),
        ),
        (
            "subject",
            owned("subject"),
            message.subject.as_ref().map(|s| s.expose().clone()),
        ),
        ("text", owned("text"), Some(message.text.expose().clone())),
        (
            "occurred_at",
            instant(wanted, "occurred_at"),
            message.occurred_at.map(|at| at.as_second().to_string()),
        ),
        ("in_reply_to", owned("in_reply_to"), message.in_reply_to.clone()),
        (
            "media",
            wanted.number("media_count").map(|n| n.to_string()),
            Some(message.media.len().to_string()),
        ),
    ]);
    wrong.extend(inbound_whatsapp::compare_window(wanted, message));
    let asks = tidings_core::keyword::classify(message.text.expose()).to_string();
    let handled = message
        .handled_keyword
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    for (name, keyword, word) in [("opt_out", "stop", "opt_out"), ("opt_in", "start", "opt_in")] {
        if wanted.get(name).is_some() && handled != keyword && asks != word {
            wrong.push(format!("{name} is not recognised"));
        }
    }
    wrong
}

fn compare_event(wanted: Case<'_>, kind: &str, event: &ReportedEvent) -> Vec<String> {
    let owned = |name: &str| wanted.text(name).map(str::to_owned);
    let mut wrong = differences(&[
        (
            "provider_message_id",
            owned("provider_message_id"),
            event.provider_message_id.clone(),
        ),
        ("dedupe_key", owned("dedupe_key"), Some(event.dedupe_key.clone())),
        (
            "recipient",
            bare(wanted, "recipient"),
            event.recipient.as_ref().map(|to| to.expose().clone()),
        ),
        (
            "occurred_at",
            instant(wanted, "occurred_at"),
            event.occurred_at.map(|at| at.as_second().to_string()),
        ),
        (
            "error_code",
            // Meta's codes are numbers.
            owned("error_code").or_else(|| wanted.number("error_code").map(|code| code.to_string())),
            event.error.as_ref().map(|(_, code)| code.clone()),
        ),
        ("url", owned("url"), event.detail.clone()),
    ]);
    if !words(event.kind).contains(&kind) {
        wrong.push(format!("it is {}, should be {kind}", event.kind));
    }
    let classes = wanted.list("error_class");
    let class = event
        .error
        .as_ref()
        .map(|(category, _)| category.to_string())
        .unwrap_or_default();
    if !classes.is_empty() && !classes.contains(&class.as_str()) {
        wrong.push(format!("classed {class}, should be one of {classes:?}"));
    }
    if wanted.get("machine").is_some_and(|m| m == &Value::Bool(true))
        && event.kind != DeliveryEventKind::MachineOpened
    {
        wrong.push("it should be a machine's".to_owned());
    }
    wrong.extend(compare_consequence(wanted, kind, &class, event));
    wrong
}

/// What a report means for the address.
fn compare_consequence(wanted: Case<'_>, kind: &str, class: &str, event: &ReportedEvent) -> Vec<String> {
    let mut wrong = Vec::new();
    let accepted = wanted.list("accept_class");
    let bounce = event.bounce_class.map(|c| c.to_string());
    let suppress = event
        .suppress
        .and_then(|s| serde_json::to_value(s).ok())
        .and_then(|v| v.as_str().map(str::to_owned));
    let given = [bounce.as_deref(), suppress.as_deref(), Some(class), Some(kind)];
    if !accepted.is_empty() && !given.iter().flatten().any(|word| accepted.contains(word)) {
        wrong.push(format!("classed {given:?}, should be one of {accepted:?}"));
    }
    match wanted
        .get("effects")
        .and_then(|effects| effects.get("suppress_recipient"))
    {
        Some(Value::String(_) | Value::Bool(true)) if event.suppress.is_none() => {
            wrong.push("it should suppress".to_owned());
        }
        Some(Value::Bool(false)) if event.suppress.is_some() => {
            wrong.push("it should not suppress".to_owned());
        }
        _ => {}
    }
    wrong
}

/// The words a vector may use for a kind.
fn words(kind: DeliveryEventKind) -> &'static [&'static str] {
    match kind {
        DeliveryEventKind::Accepted => &["accepted", "processed", "queued", "sent", "sending", "scheduled"],
        DeliveryEventKind::Deferred => &["deferred", "delayed"],
        DeliveryEventKind::Delivered => &["delivered"],
        DeliveryEventKind::Opened => &["opened", "open", "read"],
        DeliveryEventKind::MachineOpened => &["machine_opened", "opened", "open"],
        DeliveryEventKind::Clicked => &["clicked", "click"],
        DeliveryEventKind::Bounced => &["bounced", "bounce", "blocked"],
        DeliveryEventKind::Failed => &["failed", "dropped", "undelivered", "canceled", "cancelled"],
        DeliveryEventKind::Complained => &["complained", "complaint"],
        DeliveryEventKind::Unsubscribed => &["unsubscribed", "unsubscribe", "opt_out"],
        DeliveryEventKind::Resubscribed => &["resubscribed", "opt_in"],
        DeliveryEventKind::Replied => &["replied"],
    }
}
