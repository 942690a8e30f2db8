//! Amazon SES: events inside signed SNS notifications.
//!
//! The receiver fetches the certificate from an address of SNS, which a stand-in cannot be. The signature is right under
//! the account's key; it is verified where the receiver is given that key's certificate.

use super::{Event, Outgoing, Report, Signer, sign};
use crate::account::Account;
use crate::vendor::Vendor;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

const CERTIFICATE: &str = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-stand-in.pem";
const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:stand-in";

pub(super) fn reports(account: &Account, reports: &[Report]) -> Vec<Outgoing> {
    reports
        .iter()
        .filter_map(|report| notification(account, report))
        .collect()
}

fn notification(account: &Account, report: &Report) -> Option<Outgoing> {
    let url = account.webhook_url.clone()?;
    let topic = account.secrets.topic_arn.as_deref().unwrap_or(TOPIC);
    let message_id = format!("{}-sns", report.id);
    // SES ends its events so.
    let message = format!("{}\n", event(report)?);
    let timestamp = report.at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let signed = format!(
        "Message\n{message}\nMessageId\n{message_id}\nSubject\nAmazon SES Email Event Notification\nTimestamp\n{timestamp}\nTopicArn\n{topic}\nType\nNotification\n"
    );
    let signature = account
        .secrets
        .signing_key
        .as_ref()
        .and_then(|key| sign::rsa(key.expose_secret(), &signed));
    let body = json!({
        "Type": "Notification", "MessageId": message_id, "TopicArn": topic, "Subject": "Amazon SES Email Event Notification",
        "Message": message, "Timestamp": timestamp, "SignatureVersion": "2", "Signature": signature.unwrap_or_default(),
        "SigningCertURL": account.secrets.certificate_url.as_deref().unwrap_or(CERTIFICATE),
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
    });
    Some(Outgoing {
        url,
        content_type: "text/plain; charset=UTF-8",
        body: body.to_string().into_bytes(),
        signer: Signer::Sns {
            topic: topic.to_owned(),
            message_id,
        },
        holds: 1,
    })
}

fn event(report: &Report) -> Option<Value> {
    let entry = &report.entry;
    let (to, at) = (entry.recipient.expose(), report.at.to_string());
    let bounce = |kind: &str, sub: &str, status: &str, code: &str| {
        json!({
            "bounceType": kind, "bounceSubType": sub, "timestamp": at, "feedbackId": report.id,
            "bouncedRecipients": [{ "emailAddress": to, "action": "failed", "status": status, "diagnosticCode": code }],
        })
    };
    let agent = json!({ "ipAddress": "203.0.113.8", "timestamp": at, "userAgent": "Mozilla/5.0" });
    let (kind, field, part) = match report.step.event {
        Event::Accepted => ("Send", "send", json!({})),
        Event::Deferred => (
            "DeliveryDelay",
            "deliveryDelay",
            json!({ "delayType": "TransientCommunicationFailure", "timestamp": at, "expirationTime": at,
                "delayedRecipients": [{ "emailAddress": to, "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 try later" }] }),
        ),
        Event::Delivered => (
            "Delivery",
            "delivery",
            json!({ "timestamp": at, "processingTimeMillis": 500, "recipients": [to], "smtpResponse": "250 2.0.0 OK" }),
        ),
        Event::Opened | Event::Read => ("Open", "open", agent),
        Event::Clicked => {
            let mut click = agent;
            click["link"] = json!(report.step.url.as_deref().unwrap_or("https://example.com/"));
            click["linkTags"] = Value::Null;
            ("Click", "click", click)
        }
        Event::BouncedHard => (
            "Bounce",
            "bounce",
            bounce("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown"),
        ),
        Event::BouncedSoft => (
            "Bounce",
            "bounce",
            bounce(
                "Transient",
                "MailboxFull",
                "4.2.2",
                "smtp; 452 4.2.2 mailbox full",
            ),
        ),
        Event::BouncedBlock => (
            "Bounce",
            "bounce",
            bounce("Transient", "ContentRejected", "5.7.1", "smtp; 550 5.7.1 refused"),
        ),
        Event::Complained => (
            "Complaint",
            "complaint",
            json!({ "complainedRecipients": [{ "emailAddress": to }], "timestamp": at, "feedbackId": report.id, "complaintFeedbackType": "abuse" }),
        ),
        Event::Unsubscribed => (
            "Subscription",
            "subscription",
            json!({ "contactList": "stand-in", "timestamp": at, "source": "UnsubscribeHeader",
                "newTopicPreferences": { "unsubscribeAll": true, "topicSubscriptionStatus": [] },
                "oldTopicPreferences": { "unsubscribeAll": false, "topicSubscriptionStatus": [] } }),
        ),
        Event::Failed => ("Reject", "reject", json!({ "reason": "Bad content" })),
        Event::Stop | Event::Replied => return None,
    };
    let mut whole = json!({ "eventType": kind, "mail": mail(report) });
    whole[field] = part;
    Some(whole)
}

fn mail(report: &Report) -> Value {
    let entry = &report.entry;
    debug_assert_eq!(entry.vendor, Vendor::Ses);
    let about = entry.about.expose();
    let mut tags = Map::new();
    for tag in about.get("tags").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(name), Some(value)) = (tag["Name"].as_str(), tag.get("Value")) {
            tags.insert(name.to_owned(), json!([value]));
        }
    }
    json!({
        "timestamp": entry.at.to_string(), "messageId": entry.provider_id, "source": about.get("from"),
        "destination": [entry.recipient.expose()], "tags": tags,
        "commonHeaders": { "subject": about.get("subject"), "messageId": entry.provider_id },
    })
}
