//! Inbound payloads of Resend, signed here with a throwaway secret, and of SES, whose signature the vectors of SNS
//! cover; both read by the providers' own webhook code.

use super::case::{Case, Verdict};
use super::inbound::{NOW_S, URL, judge};
use crate::contract::{WebhookParsed, WebhookRefusal, WebhookRequest};
use crate::resend;
use crate::ses;
use crate::signature::standard;
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::Path;

/// What a webhook that asks nobody says at once.
fn at_once(
    read: impl Future<Output = Result<WebhookParsed, WebhookRefusal>>,
) -> Result<WebhookParsed, WebhookRefusal> {
    read.now_or_never()
        .unwrap_or_else(|| Err(WebhookRefusal::Unavailable("it waits for something".to_owned())))
}

/// Received mails come with what the webhook says of them alone: a vector holds no mail to fetch.
pub fn resend(_: &Path, case: Case<'_>) -> Verdict {
    const SECRET: &str = "whsec_dGlkaW5ncy12ZWN0b3JzLTAxMjM0NTY3";
    let id = case.text("msg_id").unwrap_or("msg_vector");
    let now = Timestamp::from_second(NOW_S).unwrap_or_default();
    let body = case.bytes("body").unwrap_or_default();
    let signature = match standard::sign(id, now, &body, SECRET) {
        Ok(signature) => signature,
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    let domains: Vec<&str> = case
        .get("body_json")
        .and_then(|body| body.pointer("/data/to"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|to| to.as_str()?.trim_end_matches('>').rsplit_once('@'))
        .map(|(_, domain)| domain)
        .collect();
    let settings = json!({ "from_email": "shop@engine.test", "inbound_domains": domains });
    let credentials = json!({ "api_key": "re_vector", "webhook_secret": SECRET });
    let read = serde_json::from_value(settings).and_then(|s| Ok((s, serde_json::from_value(credentials)?)));
    let (settings, credentials) = match read {
        Ok(read) => read,
        Err(error) => return Verdict::Failed(format!("the connection cannot be built: {error}")),
    };
    let request = WebhookRequest {
        method: "POST".to_owned(),
        url: URL.to_owned(),
        headers: vec![
            ("svix-id".to_owned(), id.to_owned()),
            ("svix-timestamp".to_owned(), NOW_S.to_string()),
            ("svix-signature".to_owned(), signature),
        ],
        body: body.into(),
    };
    let fetch = async |_: &str| Ok(resend::Received::default());
    let mut parsed = at_once(resend::read_webhook(
        &request,
        &settings,
        &credentials,
        now,
        fetch,
    ));
    // The file names the key by where it stands.
    if let Ok(parsed) = &mut parsed {
        let events = parsed.events.iter_mut().map(|event| &mut event.dedupe_key);
        let messages = parsed.inbound.iter_mut().map(|message| &mut message.dedupe_key);
        for key in events.chain(messages).filter(|key| *key == id) {
            "svix-id header".clone_into(key);
        }
    }
    judge(case, parsed)
}

/// The text of one SNS notification.
pub fn ses(_: &Path, case: Case<'_>) -> Verdict {
    let id = case.text("sns_message_id").unwrap_or("sns-vector");
    let text = case
        .text("message_text")
        .map(str::to_owned)
        .or_else(|| case.get("message_json").map(Value::to_string));
    match text {
        Some(text) => judge(case, Ok(ses::read_notification(&text, id))),
        None => Verdict::Failed("the case has no message".to_owned()),
    }
}
