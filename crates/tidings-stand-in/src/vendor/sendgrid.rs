//! SendGrid v3: `POST /v3/mail/send`, `GET /v3/scopes`, and its lists under `GET /v3/suppression`.

use super::lists::{self, Suppressed};
use super::{Draft, Handled, Problem, Question, Vendor, echo, is_email, text};
use crate::account::Caller;
use crate::chance::sha256;
use crate::http::{Reply, Request};
use crate::ledger::Copy;
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Recipients of a call.
const MOST_RECIPIENTS: usize = 1_000;
/// Bytes of a call.
const LARGEST: usize = 30 << 20;
/// Categories of a call, and their length.
const MOST_CATEGORIES: usize = 10;
const LONGEST_CATEGORY: usize = 255;
/// Entries of a page of a list.
const MOST_OF_A_LIST: usize = 500;
/// Calls of a window, as the headers say.
const WINDOW_CALLS: u32 = 600;
/// Seconds of a window.
const WINDOW_S: i64 = 60;
/// Headers that SendGrid sets itself.
const RESERVED: [&str; 11] = [
    "x-sg-id",
    "x-sg-eid",
    "received",
    "dkim-signature",
    "content-type",
    "content-transfer-encoding",
    "to",
    "from",
    "subject",
    "reply-to",
    "cc",
];

/// A problem, and the field it is with.
type Wrong = (String, Option<String>);

pub(super) fn handle(request: &Request, world: &World) -> Handled {
    let now = world.now();
    let account = match caller(request, world) {
        Ok(account) => account,
        Err(reply) => return windowed(reply, now, true).into(),
    };
    match (request.method.as_str(), request.segments().as_slice()) {
        ("GET", ["v3", "scopes"]) => {
            let scopes = json!({ "scopes": ["mail.send", "sender_verification_eligible"] });
            windowed(Reply::json(200, &scopes), now, true).into()
        }
        ("GET", ["v3", "suppression", list]) => suppression(request, world, &account, list),
        ("POST", ["v3", "mail", "send"]) => send(request, account, now),
        (_, ["v3", "mail", "send"]) => {
            windowed(error(405, "POST method allowed only", None), now, true).into()
        }
        _ => windowed(error(404, "not found", None), now, true).into(),
    }
}

fn caller(request: &Request, world: &World) -> Result<String, Reply> {
    let refused = || {
        error(
            401,
            "The provided authorization grant is invalid, expired, or revoked",
            None,
        )
    };
    let key = request
        .bearer()
        .filter(|key| key.starts_with("SG."))
        .ok_or_else(refused)?;
    match world.accounts().by_api_key(Vendor::Sendgrid, key) {
        Caller::Known(account) => Ok(account),
        Caller::WrongKey => Err(refused()),
    }
}

/// A page of a list: newest first, between two instants.
fn suppression(request: &Request, world: &World, account: &str, list: &str) -> Handled {
    let wanted = match list {
        "bounces" => Some(Suppressed::Bounced),
        "spam_reports" => Some(Suppressed::Complained),
        "unsubscribes" => Some(Suppressed::Unsubscribed),
        // Nothing is taken here for an address that cannot be.
        "invalid_emails" | "blocks" => None,
        _ => return windowed(error(404, "not found", None), world.now(), true).into(),
    };
    let number = |name: &str| request.query(name).and_then(|text| text.parse::<i64>().ok());
    let from = number("start_time").unwrap_or(0);
    let to = number("end_time").unwrap_or(i64::MAX);
    let page = |name: &str, usual: usize| {
        number(name)
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usual)
    };
    let mut found: Vec<(String, i64)> = lists::suppressed(world, Vendor::Sendgrid, account)
        .into_iter()
        .filter(|(_, why, at)| Some(*why) == wanted && (from..=to).contains(&at.as_second()))
        .map(|(address, _, at)| (address, at.as_second()))
        .collect();
    found.reverse();
    let rows: Vec<Value> = found
        .into_iter()
        .skip(page("offset", 0))
        .take(page("limit", MOST_OF_A_LIST).clamp(1, MOST_OF_A_LIST))
        .map(|(email, created)| match wanted {
            Some(Suppressed::Bounced) => json!({ "created": created, "email": email, "status": "5.1.1",
                "reason": "550 5.1.1 The email account that you tried to reach does not exist." }),
            Some(Suppressed::Complained) => {
                json!({ "created": created, "email": email, "ip": "203.0.113.8" })
            }
            _ => json!({ "created": created, "email": email }),
        })
        .collect();
    Handled::Ask(Box::new(Question {
        vendor: Vendor::Sendgrid,
        recipient: String::new(),
        about: list.to_owned(),
        reply: windowed(Reply::json(200, &Value::Array(rows)), world.now(), true),
    }))
}

fn send(request: &Request, account: String, now: Timestamp) -> Handled {
    if request.body.len() > LARGEST {
        return Reply::html(413).into();
    }
    if !request.is("application/json") {
        return windowed(
            error(400, "Content-Type should be application/json.", None),
            now,
            true,
        )
        .into();
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return windowed(error(400, "Bad Request", None), now, true).into();
    };
    if let Some((message, field)) = check(&body, now) {
        return windowed(error(400, &message, field.as_deref()), now, true).into();
    }
    if body.pointer("/mail_settings/sandbox_mode/enable") == Some(&Value::Bool(true)) {
        return windowed(Reply::empty(200), now, true).into();
    }
    Handled::Take(Box::new(Draft {
        vendor: Vendor::Sendgrid,
        account,
        copies: copies(&body),
        key: None,
        body_sha256: sha256(&request.body),
        about: about(&body),
        own_id: None,
        accepted: |taken| {
            let reply = Reply::empty(202).with("X-Message-Id", taken.id);
            windowed(reply, taken.now, true)
        },
    }))
}

fn personalizations(body: &Value) -> impl Iterator<Item = &Value> {
    body["personalizations"].as_array().into_iter().flatten()
}

fn copies(body: &Value) -> Vec<Copy> {
    let argument = |of: &Value, name: &str| {
        of.pointer(&format!("/custom_args/{name}"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let own = |personalization: &Value, name: &str| {
        argument(personalization, name).or_else(|| argument(body, name))
    };
    personalizations(body)
        .flat_map(|personalization| {
            let to = personalization["to"].as_array().into_iter().flatten();
            to.map(move |mailbox| Copy {
                reference: own(personalization, echo::REFERENCE),
                message_id: own(personalization, echo::MESSAGE_ID),
                recipient: text(mailbox, "email").unwrap_or_default().to_owned(),
            })
        })
        .collect()
}

/// What events echo: custom arguments and categories.
fn about(body: &Value) -> Map<String, Value> {
    let mut echoed = Map::new();
    for arguments in std::iter::once(body)
        .chain(personalizations(body).take(1))
        .filter_map(|part| part["custom_args"].as_object())
    {
        echoed.extend(arguments.clone());
    }
    let mut about = Map::new();
    about.insert("custom_args".to_owned(), Value::Object(echoed));
    if let Some(categories) = body.get("categories") {
        about.insert("category".to_owned(), categories.clone());
    }
    if let Some(from) = body.pointer("/from/email") {
        about.insert("from".to_owned(), from.clone());
    }
    about
}

fn check(body: &Value, now: Timestamp) -> Option<Wrong> {
    people(body)
        .or_else(|| content(body))
        .or_else(|| attachments(body))
        .or_else(|| extras(body, now))
}

#[expect(clippy::unnecessary_wraps, reason = "what the checks return")]
fn wrong(message: &str, field: impl Into<String>) -> Option<Wrong> {
    Some((message.to_owned(), Some(field.into())))
}

fn people(body: &Value) -> Option<Wrong> {
    let Some(list) = body["personalizations"]
        .as_array()
        .filter(|list| !list.is_empty())
    else {
        return wrong(
            "The personalizations field is required and must have at least one personalization.",
            "personalizations",
        );
    };
    let mut recipients = 0;
    for (at, personalization) in list.iter().enumerate() {
        if personalization["to"].as_array().is_none_or(Vec::is_empty) {
            return wrong(
                "The to array is required for all personalization objects, and must have at least one email object with a valid email address.",
                format!("personalizations.{at}.to"),
            );
        }
        for kind in ["to", "cc", "bcc"] {
            for (nth, mailbox) in personalization[kind].as_array().into_iter().flatten().enumerate() {
                recipients += 1;
                if !text(mailbox, "email").is_some_and(is_email) {
                    return wrong(
                        "Does not contain a valid address.",
                        format!("personalizations.{at}.{kind}.{nth}.email"),
                    );
                }
            }
        }
        let arguments = personalization["custom_args"].as_object().into_iter().flatten();
        if let Some((name, _)) = arguments.clone().find(|(_, value)| !value.is_string()) {
            return wrong(
                "The custom_args value must be a string.",
                format!("personalizations.{at}.custom_args.{name}"),
            );
        }
    }
    if list.len() > MOST_RECIPIENTS || recipients > MOST_RECIPIENTS {
        return wrong(
            "There can be no more than 1000 recipients in a request.",
            "personalizations",
        );
    }
    if !body
        .pointer("/from/email")
        .and_then(Value::as_str)
        .is_some_and(is_email)
    {
        return wrong(
            "The from object must be provided for every email send. It is an object that requires the email parameter, but may also contain a name parameter.",
            "from.email",
        );
    }
    if body.get("reply_to").is_some() && body.get("reply_to_list").is_some() {
        return wrong("Only one of reply_to and reply_to_list may be given.", "reply_to");
    }
    match body.get("reply_to") {
        Some(reply_to) if !text(reply_to, "email").is_some_and(is_email) => wrong(
            "The reply_to email does not contain a valid address.",
            "reply_to.email",
        ),
        _ => None,
    }
}

fn content(body: &Value) -> Option<Wrong> {
    if text(body, "template_id").is_some() {
        return None;
    }
    let subject = text(body, "subject").is_some()
        || personalizations(body).all(|personalization| text(personalization, "subject").is_some());
    if !subject {
        return wrong(
            "The subject is required. You can get around this requirement if you use a template with a subject defined or if every personalization has a subject defined.",
            "subject",
        );
    }
    let Some(parts) = body["content"].as_array().filter(|parts| !parts.is_empty()) else {
        return wrong(
            "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined content block.",
            "content",
        );
    };
    let mut seen_html = false;
    for (at, part) in parts.iter().enumerate() {
        match text(part, "type") {
            None => return wrong("The content type is required.", format!("content.{at}.type")),
            Some("text/plain") if seen_html => {
                return wrong(
                    "If present, text/plain must be first, followed by text/html, followed by any other content.",
                    "content",
                );
            }
            Some(kind) => seen_html |= kind == "text/html",
        }
        if text(part, "value").is_none() {
            return wrong(
                "The content value must be a string at least one character in length.",
                format!("content.{at}.value"),
            );
        }
    }
    None
}

fn attachments(body: &Value) -> Option<Wrong> {
    for (at, file) in body["attachments"].as_array().into_iter().flatten().enumerate() {
        if text(file, "content").is_none_or(|content| STANDARD.decode(content).is_err()) {
            return wrong(
                "The attachment content must be base64 encoded.",
                format!("attachments.{at}.content"),
            );
        }
        if text(file, "filename").is_none() {
            return wrong(
                "The attachment filename is required.",
                format!("attachments.{at}.filename"),
            );
        }
        if text(file, "disposition").is_some_and(|kind| !matches!(kind, "inline" | "attachment")) {
            return wrong(
                "The disposition must be inline or attachment.",
                format!("attachments.{at}.disposition"),
            );
        }
    }
    None
}

fn extras(body: &Value, now: Timestamp) -> Option<Wrong> {
    let headers = body["headers"].as_object().into_iter().flatten();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || lower == "bcc" {
            return wrong(
                "The header is reserved and may not be used.",
                format!("headers.{name}"),
            );
        }
        if value.as_str().is_none_or(|text| text.contains(['\r', '\n'])) {
            return wrong(
                "The header value must be a string without line breaks.",
                format!("headers.{name}"),
            );
        }
    }
    let categories: Vec<&Value> = body["categories"].as_array().into_iter().flatten().collect();
    let long = |category: &&Value| category.as_str().is_none_or(|text| text.len() > LONGEST_CATEGORY);
    if categories.len() > MOST_CATEGORIES || categories.iter().any(long) {
        return wrong(
            "There may be at most 10 categories of at most 255 characters.",
            "categories",
        );
    }
    let latest = now.as_second() + 72 * 3_600;
    if body["send_at"].as_i64().is_some_and(|at| at > latest) {
        return wrong(
            "Scheduling more than 72 hours in advance is forbidden.",
            "send_at",
        );
    }
    None
}

fn error(status: u16, message: &str, field: Option<&str>) -> Reply {
    let body = json!({ "errors": [{ "message": message, "field": field, "help": null }] });
    Reply::json(status, &body)
}

/// With the headers of the rate limit, which every answer has.
fn windowed(reply: Reply, now: Timestamp, calls_left: bool) -> Reply {
    let reset = (now.as_second() / WINDOW_S + 1) * WINDOW_S;
    let left = if calls_left { WINDOW_CALLS - 1 } else { 0 };
    reply
        .with("X-RateLimit-Limit", WINDOW_CALLS.to_string())
        .with("X-RateLimit-Remaining", left.to_string())
        .with("X-RateLimit-Reset", reset.to_string())
}

pub(super) fn problem(problem: Problem, now: Timestamp) -> Reply {
    let reply = match problem {
        Problem::RateLimited { retry_after_s, bare } => {
            let mut reply = error(429, "too many requests", None);
            if let Some(seconds) = retry_after_s {
                reply = reply.with("Retry-After", seconds.to_string());
            }
            return if bare { reply } else { windowed(reply, now, false) };
        }
        Problem::Broken => error(503, "Service Unavailable", None),
        Problem::AuthFailure => error(
            401,
            "The provided authorization grant is invalid, expired, or revoked",
            None,
        ),
        Problem::InvalidInput | Problem::KeyReused | Problem::Concurrent => {
            error(400, "Bad Request", Some("subject"))
        }
        Problem::NoRecipient | Problem::OptedOut => error(
            400,
            "Does not contain a valid address.",
            Some("personalizations.0.to.0.email"),
        ),
    };
    windowed(reply, now, true)
}
