//! SNS messages: the topic first, then the signature, then the age; only then is anything read or confirmed.
//!
//! A topic that is not in the connection's settings gets nothing fetched for it, not even a certificate: anybody can
//! own a topic, and a good signature only says that some topic sent the message.

use super::events;
use crate::contract::{WebhookParsed, WebhookRefusal};
use crate::egress::{Egress, EgressRequest, EgressUrl};
use crate::signature::sns::{self, Kind, Message};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use url::Url;

pub use super::events::read as read_notification;

/// The largest body: SNS carries 256 KiB, which quoting may double and more.
const MOST_BYTES: usize = 1024 * 1024;
/// The most certificates kept; Amazon has one a region and changes it rarely.
const MOST_CERTIFICATES: usize = 16;
/// The most bytes of a certificate.
const CERTIFICATE_LIMIT: usize = 16 * 1024;
/// SNS gives up repeating after an hour; what is older is replayed by somebody else.
const OLDEST: SignedDuration = SignedDuration::from_hours(1);
/// How far the clock of SNS may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Certificates by their URL. What is behind a URL never changes.
#[derive(Debug, Default)]
pub struct Certificates(Mutex<HashMap<String, String>>);

impl Certificates {
    fn get(&self, url: &Url) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(url.as_str()).cloned()
    }

    fn keep(&self, url: &Url, pem: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_CERTIFICATES {
            kept.clear();
        }
        kept.insert(url.as_str().to_owned(), pem.to_owned());
    }
}

/// Verifies and reads; confirms the subscription of a topic that is in the settings.
pub async fn read(
    body: &[u8],
    topics: &[String],
    certificates: &Certificates,
    egress: &Egress,
    now: Timestamp,
) -> Result<WebhookParsed, WebhookRefusal> {
    if topics.is_empty() {
        return Err(WebhookRefusal::NotConfigured("set topic_arns".to_owned()));
    }
    if body.len() > MOST_BYTES {
        let problem = format!("larger than the {MOST_BYTES} bytes that SNS sends at most");
        return Err(WebhookRefusal::Malformed(problem));
    }
    let message = Message::parse(body)?;
    verify(&message, topics, certificates, egress).await?;
    check_age(&message, now)?;
    match message.kind() {
        Kind::Notification => {
            let malformed = |what: &str| WebhookRefusal::Malformed(format!("{what} is missing"));
            let id = message.text("MessageId").ok_or_else(|| malformed("MessageId"))?;
            let text = message.text("Message").ok_or_else(|| malformed("Message"))?;
            Ok(events::read(text, id))
        }
        Kind::SubscriptionConfirmation => confirm(&message, egress).await,
        // Its SubscribeURL would subscribe again; whoever ended it may have meant it.
        Kind::UnsubscribeConfirmation => Ok(WebhookParsed {
            skipped: vec![
                "the subscription of the topic was ended; subscribe again if that was not meant".to_owned(),
            ],
            ..WebhookParsed::default()
        }),
    }
}

async fn verify(
    message: &Message,
    topics: &[String],
    certificates: &Certificates,
    egress: &Egress,
) -> Result<(), WebhookRefusal> {
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    // Everything but the signature itself is checked before a certificate is wanted.
    let mut wanted = None;
    let verdict = sns::verify(message, &topics, |url| {
        let kept = certificates.get(url);
        if kept.is_none() {
            wanted = Some(url.clone());
        }
        kept
    });
    let Some(url) = wanted else { return verdict };
    let pem = fetch(&url, egress, CERTIFICATE_LIMIT, "the certificate").await?;
    if !sns::is_certificate(&pem) {
        return Err(unavailable("what SNS serves as its certificate is none"));
    }
    certificates.keep(&url, &pem);
    sns::verify(message, &topics, |_| Some(pem))
}

fn check_age(message: &Message, now: Timestamp) -> Result<(), WebhookRefusal> {
    let at: Timestamp = message
        .text("Timestamp")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| WebhookRefusal::Malformed("Timestamp is not a time".to_owned()))?;
    let age = now.duration_since(at);
    if age > OLDEST || age < -AHEAD {
        return Err(WebhookRefusal::Stale);
    }
    Ok(())
}

/// Visits the confirmation's URL, once, on SNS itself. When that fails SNS sends the message again.
async fn confirm(message: &Message, egress: &Egress) -> Result<WebhookParsed, WebhookRefusal> {
    let malformed = || WebhookRefusal::Malformed("SubscribeURL does not lead to SNS".to_owned());
    let url = message.subscribe_url().ok_or_else(malformed)?;
    let about_another = url
        .query_pairs()
        .any(|(name, value)| name == "TopicArn" && message.text("TopicArn") != Some(value.as_ref()));
    if about_another {
        return Err(malformed());
    }
    fetch(&url, egress, CERTIFICATE_LIMIT, "the confirmation").await?;
    tracing::info!(
        topic = message.text("TopicArn"),
        "the subscription of an SNS topic is confirmed"
    );
    Ok(WebhookParsed::default())
}

fn unavailable(why: &str) -> WebhookRefusal {
    WebhookRefusal::Unavailable(why.to_owned())
}

/// Gets what is behind a URL of SNS. No redirect is followed.
async fn fetch(url: &Url, egress: &Egress, limit: usize, what: &str) -> Result<String, WebhookRefusal> {
    let target = target(url, egress).ok_or_else(|| unavailable("the URL of SNS may not be called"))?;
    let answer = egress
        .call(EgressRequest::get(target).response_limit(limit))
        .await
        .map_err(|failure| unavailable(&format!("{what} cannot be had from SNS: {failure}")))?;
    if !(200..300).contains(&answer.status) {
        return Err(unavailable(&format!("SNS answered {} for {what}", answer.status)));
    }
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// The URL itself, or its place at the stand-in that the egress policy of a test names.
fn target(url: &Url, egress: &Egress) -> Option<EgressUrl> {
    match &egress.policy().sns_stand_in {
        None => egress.url(url.as_str()).ok(),
        Some(base) => {
            let mut there = Url::parse(base).ok()?;
            there.set_path(url.path());
            there.set_query(url.query());
            egress.url(there.as_str()).ok()
        }
    }
}
