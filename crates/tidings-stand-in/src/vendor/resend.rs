//! Resend: `POST /emails` with its idempotency key, `GET /emails/{id}`. `GET /domains` says that the sender's is verified.

use super::{Draft, Handled, Key, Problem, Question, Vendor, bare_address, echo, is_email, text};
use crate::account::Caller;
use crate::chance::sha256;
use crate::http::{Reply, Request};
use crate::ledger::{Copy, Query};
use crate::webhook::{Event, course};
use crate::world::World;
use serde_json::{Map, Value, json};

/// Recipients of a call.
const MOST_RECIPIENTS: usize = 50;
/// Characters of an idempotency key.
const LONGEST_KEY: usize = 256;
/// Characters of a tag's name and value.
const LONGEST_TAG: usize = 256;
/// Bytes of a call, attachments encoded.
const LARGEST: usize = 40 << 20;

/// Name and message of a refusal, with its status.
type Wrong = (u16, &'static str, String);

/// The first path segment is `emails`, or `domains` for whoever asks about the connection.
pub(super) fn handle(request: &Request, world: &World) -> Handled {
    let account = match caller(request, world) {
        Ok(account) => account,
        Err(reply) => return reply.into(),
    };
    match (request.method.as_str(), request.segments().as_slice()) {
        ("POST", ["emails"]) => send(request, account),
        ("GET", ["emails", id]) => find(world, &account, id),
        ("GET", ["domains"]) => domains(world, &account).into(),
        (_, ["emails" | "domains"]) => error(
            405,
            "method_not_allowed",
            "Method is not allowed for the requested path",
        )
        .into(),
        _ => error(404, "not_found", "The requested endpoint does not exist").into(),
    }
}

fn caller(request: &Request, world: &World) -> Result<String, Reply> {
    let Some(key) = request.bearer() else {
        return Err(error(
            401,
            "missing_api_key",
            "Missing API key in the authorization header",
        ));
    };
    match world.accounts().by_api_key(Vendor::Resend, key) {
        Caller::Known(account) if key.starts_with("re_") => Ok(account),
        Caller::Known(_) | Caller::WrongKey => Err(error(403, "invalid_api_key", "API key is invalid")),
    }
}

fn send(request: &Request, account: String) -> Handled {
    let key = request.header("idempotency-key");
    if key.is_some_and(|key| key.is_empty() || key.chars().count() > LONGEST_KEY) {
        return error(
            400,
            "invalid_idempotency_key",
            "The key must be between 1-256 chars",
        )
        .into();
    }
    if request.body.len() > LARGEST {
        return error(413, "validation_error", "The email is too large").into();
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return error(422, "validation_error", "The request body must be valid JSON").into();
    };
    if let Some((status, name, message)) = check(&body) {
        return error(status, name, &message).into();
    }
    let tag = |name: &str| {
        let tags = body["tags"].as_array().into_iter().flatten();
        tags.into_iter()
            .find(|tag| text(tag, "name") == Some(name))
            .and_then(|tag| text(tag, "value"))
            .map(echo::untag)
    };
    // The key is what Resend knows a call by; a sender without one may still tag it.
    let reference = key.map(str::to_owned).or_else(|| tag(echo::REFERENCE));
    let message_id = tag(echo::MESSAGE_ID);
    Handled::Take(Box::new(Draft {
        vendor: Vendor::Resend,
        account,
        copies: recipients(&body, "to")
            .map(|to| Copy {
                reference: reference.clone(),
                message_id: message_id.clone(),
                recipient: bare_address(to).to_owned(),
            })
            .collect(),
        key: key.map(|key| Key {
            text: key.to_owned(),
            bound_to_body: true,
        }),
        body_sha256: sha256(&request.body),
        about: about(&body),
        own_id: None,
        accepted: |taken| limited(Reply::json(200, &json!({ "id": taken.id }))),
    }))
}

fn recipients<'b>(body: &'b Value, field: &str) -> Box<dyn Iterator<Item = &'b str> + 'b> {
    match &body[field] {
        Value::String(one) => Box::new(std::iter::once(one.as_str())),
        Value::Array(list) => Box::new(list.iter().map(|one| one.as_str().unwrap_or_default())),
        _ => Box::new(std::iter::empty()),
    }
}

fn about(body: &Value) -> Map<String, Value> {
    let kept = ["from", "to", "subject", "tags"];
    kept.iter()
        .filter_map(|name| Some(((*name).to_owned(), body.get(*name)?.clone())))
        .collect()
}

fn check(body: &Value) -> Option<Wrong> {
    let missing = |field: &str| Some((422, "missing_required_field", format!("Missing `{field}` field.")));
    let wrong = |message: String| Some((422, "validation_error", message));
    let Some(from) = text(body, "from") else {
        return missing("from");
    };
    if !is_email(bare_address(from)) {
        return wrong("Invalid `from` field. The email address needs to follow the `email@example.com` or `Name <email@example.com>` format.".to_owned());
    }
    if recipients(body, "to").next().is_none() {
        return missing("to");
    }
    for field in ["to", "cc", "bcc", "reply_to"] {
        if recipients(body, field).any(|to| !is_email(bare_address(to))) {
            return wrong(format!(
                "Invalid `{field}` field. The email address needs to follow the `email@example.com` or `Name <email@example.com>` format."
            ));
        }
        if recipients(body, field).count() > MOST_RECIPIENTS {
            return wrong(format!(
                "The `{field}` field must have at most {MOST_RECIPIENTS} items."
            ));
        }
    }
    let template = body.get("template").is_some();
    if text(body, "subject").is_none() && !template {
        return missing("subject");
    }
    if text(body, "html").is_none() && text(body, "text").is_none() && !template {
        return wrong("Missing `html` or `text` field.".to_owned());
    }
    let fine = |part: Option<&str>| {
        part.is_some_and(|part| {
            part.len() <= LONGEST_TAG
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        })
    };
    let mut tags = body["tags"].as_array().into_iter().flatten();
    if tags.any(|tag| !fine(text(tag, "name")) || !fine(text(tag, "value"))) {
        return wrong("Tags should only contain ASCII letters, numbers, underscores, or dashes.".to_owned());
    }
    let mut files = body["attachments"].as_array().into_iter().flatten();
    if files.any(|file| text(file, "content").is_none() && text(file, "path").is_none()) {
        return Some((
            422,
            "invalid_attachment",
            "Attachment must have either a `content` or `path`".to_owned(),
        ));
    }
    None
}

fn find(world: &World, account: &str, id: &str) -> Handled {
    let mine = |entry: &crate::Entry| entry.account == account && entry.provider_id == id && !entry.replay;
    let found = world.find(
        &Query {
            vendor: Some(Vendor::Resend),
            ..Query::default()
        },
        mine,
    );
    let (recipient, reply) = match found {
        Some(entry) => (entry.recipient.expose().clone(), mail(world, &entry)),
        None => (String::new(), error(404, "not_found", "Email not found")),
    };
    Handled::Ask(Box::new(Question {
        vendor: Vendor::Resend,
        recipient,
        about: id.to_owned(),
        reply,
    }))
}

/// A mail as it stands by now.
fn mail(world: &World, entry: &crate::Entry) -> Reply {
    let course = course(world, entry);
    let reached = course
        .iter()
        .rev()
        .find_map(|happened| last_event(happened.event));
    let about = entry.about.expose();
    let field = |name: &str| about.get(name).cloned().unwrap_or(Value::Null);
    limited(Reply::json(
        200,
        &json!({
            "object": "email", "id": entry.provider_id, "to": field("to"), "from": field("from"), "subject": field("subject"),
            "created_at": entry.at.to_string(), "html": null, "text": null, "bcc": [], "cc": [], "reply_to": [],
            "tags": field("tags"), "last_event": reached.unwrap_or("sent"), "scheduled_at": null,
        }),
    ))
}

fn last_event(event: Event) -> Option<&'static str> {
    Some(match event {
        Event::Accepted => "sent",
        Event::Deferred => "delivery_delayed",
        Event::Delivered => "delivered",
        Event::Opened | Event::Read => "opened",
        Event::Clicked => "clicked",
        Event::BouncedHard | Event::BouncedSoft | Event::BouncedBlock => "bounced",
        Event::Complained => "complained",
        Event::Failed => "failed",
        Event::Unsubscribed | Event::Stop | Event::Replied => return None,
    })
}

/// The domains that were sent from count as verified; before the first message there is none to name.
fn domains(world: &World, account: &str) -> Reply {
    let mut names: Vec<String> = world
        .ledger
        .page(&Query {
            vendor: Some(Vendor::Resend),
            ..Query::default()
        })
        .iter()
        .filter(|entry| entry.account == account)
        .filter_map(|entry| Some(bare_address(entry.about("from")?).rsplit_once('@')?.1.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    let data: Vec<Value> = names
        .iter()
        .map(|name| json!({ "id": sha256(name.as_bytes())[..32], "name": name, "status": "verified", "region": "us-east-1" }))
        .collect();
    limited(Reply::json(200, &json!({ "data": data })))
}

/// With the headers of the rate limit: two calls a second.
fn limited(reply: Reply) -> Reply {
    reply
        .with("ratelimit-limit", "2")
        .with("ratelimit-remaining", "1")
        .with("ratelimit-reset", "1")
}

fn error(status: u16, name: &str, message: &str) -> Reply {
    let body = json!({ "statusCode": status, "name": name, "message": message });
    limited(Reply::json(status, &body))
}

pub(super) fn problem(problem: Problem) -> Reply {
    match problem {
        Problem::RateLimited { retry_after_s, bare } => {
            let message = "Too many requests. You can only make 2 requests per second.";
            let body = json!({ "statusCode": 429, "name": "rate_limit_exceeded", "message": message });
            let mut reply = Reply::json(429, &body);
            if !bare {
                reply = reply
                    .with("ratelimit-limit", "2")
                    .with("ratelimit-remaining", "0")
                    .with("ratelimit-reset", retry_after_s.unwrap_or(1).to_string());
            }
            match retry_after_s {
                Some(seconds) => reply.with("retry-after", seconds.to_string()),
                None => reply,
            }
        }
        Problem::Broken => error(503, "service_unavailable", "Service temporarily unavailable"),
        Problem::AuthFailure => error(403, "invalid_api_key", "API key is invalid"),
        Problem::InvalidInput => error(422, "validation_error", "Invalid `subject` field."),
        Problem::NoRecipient | Problem::OptedOut => error(422, "validation_error", "Invalid `to` field."),
        Problem::Concurrent => error(
            409,
            "concurrent_idempotent_requests",
            "Same idempotency key used while original request is still in progress",
        ),
        Problem::KeyReused => error(
            409,
            "invalid_idempotent_request",
            "Same idempotency key used with a different request payload",
        ),
    }
}
