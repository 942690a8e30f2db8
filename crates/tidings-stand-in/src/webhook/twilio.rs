//! Twilio: a form for each status, to the callback that the call named; a form for each inbound message.

use super::{Event, Inbound, Outgoing, Report, Signer, reply_of};
use crate::account::Account;
use url::form_urlencoded;

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn reports(name: &str, account: &Account, reports: &[Report]) -> Vec<Outgoing> {
    reports
        .iter()
        .filter_map(|report| match reply_of(report) {
            Some(reply) => inbound(name, account, &reply, &format!("SM{}", report.id)),
            None => status(name, account, report),
        })
        .collect()
}

fn signer(account: &Account) -> Signer {
    let secrets = &account.secrets;
    match (&secrets.shared_key_id, &secrets.shared_key, &secrets.auth_token) {
        (Some(id), Some(key), _) => Signer::TwilioShared(id.clone(), key.clone()),
        (_, _, Some(token)) => Signer::TwilioToken(token.clone()),
        _ => Signer::Unsigned,
    }
}

/// Twilio's word for what happened to a message, with its error code.
pub(crate) fn word(event: Event) -> Option<(&'static str, Option<u32>)> {
    Some(match event {
        Event::Accepted => ("sent", None),
        Event::Deferred => ("sending", None),
        Event::Delivered => ("delivered", None),
        Event::Opened | Event::Read => ("read", None),
        Event::BouncedHard => ("undelivered", Some(30005)),
        Event::BouncedSoft => ("undelivered", Some(30003)),
        Event::BouncedBlock => ("undelivered", Some(30007)),
        Event::Failed => ("failed", Some(30008)),
        Event::Clicked | Event::Complained | Event::Unsubscribed | Event::Stop | Event::Replied => {
            return None;
        }
    })
}

fn status(name: &str, account: &Account, report: &Report) -> Option<Outgoing> {
    let (word, code) = word(report.step.event)?;
    let entry = &report.entry;
    let sid = entry.provider_id.as_str();
    let code = report
        .step
        .code
        .filter(|_| code.is_some())
        .or(code)
        .map(|code| code.to_string());
    let mut fields = vec![
        ("MessageSid", sid),
        ("MessageStatus", word),
        ("SmsSid", sid),
        ("SmsStatus", word),
        ("AccountSid", name),
        ("ApiVersion", "2010-04-01"),
        ("To", entry.about("To")?),
    ];
    fields.extend(entry.about("From").map(|from| ("From", from)));
    fields.extend(
        entry
            .about("MessagingServiceSid")
            .map(|sid| ("MessagingServiceSid", sid)),
    );
    fields.extend(code.as_deref().map(|code| ("ErrorCode", code)));
    Some(form(entry.about("StatusCallback")?, account, &fields))
}

fn form(url: &str, account: &Account, fields: &[(&str, &str)]) -> Outgoing {
    Outgoing {
        url: url.to_owned(),
        content_type: FORM,
        body: form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish()
            .into_bytes(),
        signer: signer(account),
        holds: 1,
    }
}

pub(super) fn inbound(name: &str, account: &Account, message: &Inbound, id: &str) -> Option<Outgoing> {
    let whatsapp = message.to.starts_with("whatsapp:");
    let from = if whatsapp && !message.from.starts_with("whatsapp:") {
        format!("whatsapp:{}", message.from)
    } else {
        message.from.clone()
    };
    let mut fields = vec![
        ("MessageSid", id),
        ("SmsSid", id),
        ("SmsMessageSid", id),
        ("AccountSid", name),
        ("ApiVersion", "2010-04-01"),
        ("From", &from),
        ("Body", &message.text),
        ("NumMedia", "0"),
        ("NumSegments", "1"),
    ];
    if message.to.starts_with("MG") {
        // Twilio names the sender's number as well; any will do for a service.
        fields.extend([
            ("MessagingServiceSid", message.to.as_str()),
            ("To", "+15005550006"),
        ]);
    } else {
        fields.push(("To", &message.to));
    }
    fields.extend(message.name.as_deref().map(|name| ("ProfileName", name)));
    fields.extend(
        message
            .in_reply_to
            .as_deref()
            .map(|sid| ("OriginalRepliedMessageSid", sid)),
    );
    Some(form(account.webhook_url.as_deref()?, account, &fields))
}
