//! Webhooks of Meta: the handshake, the signature, and whose each change is.
//!
//! A POST holds up to a thousand changes, of several numbers where they share an app. Only those of this connection's
//! number, or of its business account, are read. Meta repeats anything that is not answered with 200, for days and in any
//! order: the dedupe key of a message is its id, of a status the id and the status.

use super::messages;
use super::reports;
use super::settings::{WhatsappCloudCredentials, WhatsappCloudSettings};
use crate::contract::{WebhookParsed, WebhookRefusal, WebhookRequest, WebhookResponse};
use crate::signature::meta;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::Value;

/// Meta sends three megabytes at most.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The most elements looked at in one webhook; Meta sends up to a thousand.
const MOST_ELEMENTS: usize = 10_000;

/// The longest challenge that is echoed.
const LONGEST_CHALLENGE: usize = 1_024;

/// Verifies and reads.
pub fn read(
    request: &WebhookRequest,
    settings: &WhatsappCloudSettings,
    credentials: &WhatsappCloudCredentials,
) -> Result<WebhookParsed, WebhookRefusal> {
    if request.method == "GET" {
        return handshake(request, credentials);
    }
    verify(request, credentials)?;
    if request.body.len() > MOST_BYTES {
        let limit = format!("it is larger than {MOST_BYTES} bytes");
        return Err(WebhookRefusal::Malformed(limit));
    }
    // The parser's own bound on depth refuses a nested bomb.
    let body: Value = serde_json::from_slice(&request.body)
        .map_err(|_| WebhookRefusal::Malformed("it is not JSON, or nested too deeply".to_owned()))?;
    if body.get("object").and_then(Value::as_str) != Some("whatsapp_business_account") {
        return Err(WebhookRefusal::Malformed(
            "its object is not whatsapp_business_account; subscribe the WhatsApp product only".to_owned(),
        ));
    }
    let mut reading = Reading::of(settings);
    for entry in list(&body, "entry") {
        for change in list(entry, "changes") {
            reading.change(entry, change);
        }
    }
    reading.done()
}

/// Answers `hub.challenge` to whoever knows the verify token.
fn handshake(
    request: &WebhookRequest,
    credentials: &WhatsappCloudCredentials,
) -> Result<WebhookParsed, WebhookRefusal> {
    let token = credentials
        .verify_token
        .as_ref()
        .ok_or_else(|| WebhookRefusal::NotConfigured("set verify_token".to_owned()))?;
    let query = request
        .url
        .split('#')
        .next()
        .and_then(|url| url.split_once('?'))
        .map_or("", |(_, query)| query);
    let challenge = meta::handshake(query, token.expose_secret()).ok_or(WebhookRefusal::SignatureInvalid)?;
    if challenge.len() > LONGEST_CHALLENGE || challenge.chars().any(char::is_control) {
        return Err(WebhookRefusal::Malformed(
            "the challenge is no short line".to_owned(),
        ));
    }
    Ok(WebhookParsed {
        response: WebhookResponse {
            content_type: Some("text/plain; charset=utf-8"),
            body: challenge,
        },
        ..WebhookParsed::default()
    })
}

/// The signature under the app's secret, or under the one before its rotation.
fn verify(request: &WebhookRequest, credentials: &WhatsappCloudCredentials) -> Result<(), WebhookRefusal> {
    let given = request.header("x-hub-signature-256");
    let secrets = credentials
        .app_secret
        .iter()
        .chain(&credentials.previous_app_secret);
    let mut refusal = WebhookRefusal::NotConfigured("set app_secret".to_owned());
    for secret in secrets {
        match meta::verify(given, &request.body, secret.expose_secret()) {
            Ok(()) => return Ok(()),
            Err(why) => refusal = why,
        }
    }
    Err(refusal)
}

/// A webhook being read.
pub(super) struct Reading<'s> {
    settings: &'s WhatsappCloudSettings,
    pub parsed: WebhookParsed,
    ours: usize,
    foreign: usize,
    left: usize,
}

impl<'s> Reading<'s> {
    fn of(settings: &'s WhatsappCloudSettings) -> Self {
        let response = WebhookResponse {
            // Meta takes 200 for an answer and nothing else.
            content_type: Some("text/plain; charset=utf-8"),
            body: String::new(),
        };
        Self {
            settings,
            parsed: WebhookParsed {
                response,
                ..WebhookParsed::default()
            },
            ours: 0,
            foreign: 0,
            left: MOST_ELEMENTS,
        }
    }

    fn change(&mut self, entry: &Value, change: &Value) {
        let Some(value) = change.get("value") else {
            return self.skip("a change without a value");
        };
        match change.get("field").and_then(Value::as_str) {
            Some("messages") if self.is_our_number(value) => {
                for element in list(value, "messages") {
                    self.element(|parsed| messages::read(element, value, parsed));
                }
                for element in list(value, "statuses") {
                    self.element(|parsed| reports::status(element, parsed));
                }
                for element in list(value, "errors") {
                    let code = element.get("code").and_then(Value::as_i64).unwrap_or_default();
                    self.skip(&format!("an error of the account, code {code}"));
                }
            }
            Some("user_preferences") if self.is_our_number(value) => {
                for element in list(value, "user_preferences") {
                    self.element(|parsed| reports::preference(element, parsed));
                }
            }
            Some("message_template_status_update") if self.is_our_account(entry) => {
                self.element(|parsed| reports::template(entry, value, parsed));
            }
            // Fields that say nothing about messages, contacts or templates, and those not invented yet.
            _ => {}
        }
    }

    /// Reads one element; one that cannot be read costs nobody else.
    fn element(&mut self, read: impl FnOnce(&mut WebhookParsed) -> Result<(), String>) {
        if self.left == 0 {
            return self.skip("one element too many");
        }
        self.left -= 1;
        if let Err(why) = read(&mut self.parsed) {
            self.skip(&why);
        }
    }

    fn is_our_number(&mut self, value: &Value) -> bool {
        let number = value
            .get("metadata")
            .and_then(|metadata| metadata.get("phone_number_id"))
            .and_then(id_text);
        self.is_ours(number.as_deref() == Some(&self.settings.phone_number_id))
    }

    fn is_our_account(&mut self, entry: &Value) -> bool {
        let Some(account) = &self.settings.business_account_id else {
            self.skip("a template's review; set business_account_id to follow it");
            return false;
        };
        let named = entry.get("id").and_then(id_text);
        let ours = named.as_deref() == Some(account);
        self.is_ours(ours)
    }

    fn is_ours(&mut self, ours: bool) -> bool {
        if ours {
            self.ours += 1;
        } else {
            self.foreign += 1;
            self.skip("a change of another number or account");
        }
        ours
    }

    fn skip(&mut self, why: &str) {
        if self.parsed.skipped.len() < 100 {
            self.parsed.skipped.push(why.to_owned());
        }
    }

    fn done(self) -> Result<WebhookParsed, WebhookRefusal> {
        if self.foreign > 0 && self.ours == 0 {
            return Err(WebhookRefusal::WrongAccount);
        }
        Ok(self.parsed)
    }
}

/// The elements of a list; none where there is no list.
pub(super) fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .take(MOST_ELEMENTS)
}

/// A text field that is not empty.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// Seconds since 1970, given as text or as a number.
pub(super) fn instant(value: &Value, name: &str) -> Option<Timestamp> {
    let value = value.get(name)?;
    let seconds = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    Timestamp::from_second(seconds).ok()
}

/// A user's number as contacts are kept: Meta leaves the plus sign out.
pub(super) fn number(digits: &str) -> Option<String> {
    let plain = digits.strip_prefix('+').unwrap_or(digits);
    let known = (4..=20).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_digit());
    known.then(|| format!("+{plain}"))
}

/// A business-scoped user id: a country, a dot, letters and digits.
pub(super) fn user_id(text: &str) -> Option<String> {
    let (country, rest) = text.split_once('.')?;
    let known = country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && (1..=140).contains(&rest.len())
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    known.then(|| text.to_owned())
}

/// An id of the Graph API, given as text or as a number.
fn id_text(value: &Value) -> Option<String> {
    value
        .as_str()
        .map(str::to_owned)
        .or_else(|| value.as_u64().map(|id| id.to_string()))
}
