//! WhatsApp Cloud API: messages, marks and typing, media up and down, the number itself.

use super::{Draft, Handled, Problem, Vendor, is_e164, text};
use crate::account::Caller;
use crate::chance::sha256;
use crate::http::{Reply, Request};
use crate::ledger::Copy;
use crate::multipart;
use crate::world::World;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Characters of a text, and of a caption.
const LONGEST_TEXT: usize = 4_096;
const LONGEST_CAPTION: usize = 1_024;
/// Characters of what is echoed.
const LONGEST_ECHO: usize = 512;
/// Kinds of files.
const MEDIA: [&str; 5] = ["image", "audio", "video", "document", "sticker"];
/// Other kinds that are taken as they are, if their object is there.
const OTHERS: [&str; 4] = ["interactive", "reaction", "location", "contacts"];

/// An uploaded file.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub mime_type: String,
    pub bytes: Bytes,
}

type Wrong = (u32, &'static str, String);

/// `v26.0`.
pub(super) fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| {
            [major, minor]
                .iter()
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        })
}

pub(super) fn handle(request: &Request, world: &World) -> Handled {
    let segments = request.segments();
    let number = segments.get(1).copied().unwrap_or_default();
    if !authorized(request, number, world) {
        return error(401, 190, "Invalid OAuth access token - Cannot parse access token").into();
    }
    match (request.method.as_str(), segments.as_slice()) {
        ("POST", [_, number, "messages"]) if is_id(number) => messages(request, number),
        ("POST", [_, number, "media"]) if is_id(number) => upload(request, world).into(),
        ("GET", ["_media", id]) => match world.media(id) {
            Some(media) => Reply::of(200, &media.mime_type, media.bytes.to_vec()).into(),
            None => error(404, 100, "The file has gone").into(),
        },
        ("GET", [_, id]) if is_id(id) => about(request, id, world).into(),
        _ => error(400, 100, "Unsupported request").into(),
    }
}

fn is_id(text: &str) -> bool {
    (5..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A number that was set up wants its own token; otherwise any of those that were set up, or any at all.
fn authorized(request: &Request, number: &str, world: &World) -> bool {
    use secrecy::ExposeSecret as _;
    let Some(token) = request.bearer() else {
        return false;
    };
    let account = world.account(Vendor::WhatsappCloud, number);
    match account
        .as_ref()
        .and_then(|account| account.secrets.api_key.as_ref())
    {
        Some(right) => right.expose_secret() == token,
        None => matches!(
            world.accounts().by_api_key(Vendor::WhatsappCloud, token),
            Caller::Known(_)
        ),
    }
}

fn messages(request: &Request, number: &str) -> Handled {
    if !request.is("application/json") {
        return error(400, 100, "The content type must be application/json").into();
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return error(400, 100, "Invalid JSON").into();
    };
    if text(&body, "messaging_product") != Some("whatsapp") {
        return error(400, 100, "The parameter messaging_product is required.").into();
    }
    if body.get("status").is_some() {
        return mark(&body).into();
    }
    if let Err((code, title, details)) = check(&body) {
        return detailed(400, code, title, &details).into();
    }
    let to = text(&body, "to")
        .or_else(|| text(&body, "recipient"))
        .unwrap_or_default();
    let mut about = Map::new();
    for name in ["to", "type", "biz_opaque_callback_data"] {
        if let Some(value) = body.get(name) {
            about.insert(name.to_owned(), value.clone());
        }
    }
    Handled::Take(Box::new(Draft {
        vendor: Vendor::WhatsappCloud,
        account: number.to_owned(),
        copies: vec![Copy {
            reference: text(&body, "biz_opaque_callback_data").map(str::to_owned),
            message_id: None,
            recipient: to.to_owned(),
        }],
        key: None,
        body_sha256: sha256(&request.body),
        about,
        own_id: None,
        accepted: |taken| {
            let input = &taken.draft.copies[0].recipient;
            let body = json!({
                "messaging_product": "whatsapp",
                "contacts": [{ "input": input, "wa_id": input.trim_start_matches('+') }],
                "messages": [{ "id": taken.id, "message_status": "accepted" }],
            });
            Reply::json(200, &body)
        },
    }))
}

/// Read marks, and typing with them.
fn mark(body: &Value) -> Reply {
    let id = text(body, "message_id").is_some_and(|id| id.starts_with("wamid.") && id.len() <= 256);
    let typing = body
        .get("typing_indicator")
        .is_none_or(|typing| text(typing, "type") == Some("text"));
    if text(body, "status") == Some("read") && id && typing {
        Reply::json(200, &json!({ "success": true }))
    } else {
        error(400, 100, "Invalid parameter")
    }
}

fn check(body: &Value) -> Result<(), Wrong> {
    let wrong = |code, title, details: &str| Err((code, title, details.to_owned()));
    let invalid = "Parameter value is not valid";
    match (text(body, "to"), text(body, "recipient")) {
        (None, None) => return wrong(100, "Invalid parameter", "The parameter to is required."),
        (Some(to), _) if !is_e164(&format!("+{}", to.trim_start_matches('+'))) => {
            return wrong(131_009, invalid, "to is not a phone number");
        }
        _ => {}
    }
    if text(body, "biz_opaque_callback_data").is_some_and(|echo| echo.chars().count() > LONGEST_ECHO) {
        return wrong(
            131_009,
            invalid,
            "biz_opaque_callback_data must be at most 512 characters",
        );
    }
    let kind = text(body, "type").unwrap_or("text");
    let part = &body[kind];
    if !part.is_object() && !part.is_array() {
        return wrong(
            131_008,
            "Required parameter is missing",
            &format!("the object {kind} is required"),
        );
    }
    match kind {
        "text" => match part["body"].as_str().map(|text| text.chars().count()) {
            Some(1..=LONGEST_TEXT) => Ok(()),
            _ => wrong(131_009, invalid, "text.body must be 1 to 4096 characters"),
        },
        "template" => template(part),
        kind if MEDIA.contains(&kind) => media(part),
        kind if OTHERS.contains(&kind) => Ok(()),
        _ => wrong(131_051, "Unsupported message type", "the type is not known"),
    }
}

fn template(part: &Value) -> Result<(), Wrong> {
    let plain = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if !text(part, "name").is_some_and(|name| name.len() <= 512 && plain(name)) {
        return Err((
            132_001,
            "Template name does not exist in the translation",
            "template.name is not a name".to_owned(),
        ));
    }
    if !part.pointer("/language/code").is_some_and(Value::is_string) {
        return Err((
            131_008,
            "Required parameter is missing",
            "template.language.code is required".to_owned(),
        ));
    }
    let parameters = part["components"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|component| component["parameters"].as_array())
        .flatten();
    for parameter in parameters {
        let value = text(parameter, "text").unwrap_or_default();
        if value.contains(['\n', '\t']) || value.contains("     ") {
            let details = "a parameter must not hold line breaks, tabs or more than four blanks in a row";
            return Err((132_012, "Template parameter format mismatch", details.to_owned()));
        }
    }
    Ok(())
}

fn media(part: &Value) -> Result<(), Wrong> {
    let invalid = |details: &str| Err((131_009, "Parameter value is not valid", details.to_owned()));
    if text(part, "id").is_some() == text(part, "link").is_some() {
        return invalid("exactly one of id and link is required");
    }
    if text(part, "caption").is_some_and(|caption| caption.chars().count() > LONGEST_CAPTION) {
        return invalid("the caption must be at most 1024 characters");
    }
    Ok(())
}

fn upload(request: &Request, world: &World) -> Reply {
    let Some(parts) = multipart::read(request.header("content-type").unwrap_or_default(), &request.body)
    else {
        return error(400, 100, "The body must be multipart/form-data");
    };
    let part = |name: &str| parts.iter().find(|part| part.name == name);
    if part("messaging_product").is_none_or(|part| part.body != b"whatsapp".as_slice()) {
        return error(400, 100, "The parameter messaging_product is required.");
    }
    let Some(file) = part("file").filter(|file| !file.body.is_empty()) else {
        return error(400, 100, "The parameter file is required.");
    };
    let given = part("type").map(|part| String::from_utf8_lossy(&part.body).into_owned());
    let mime_type = given
        .or_else(|| file.content_type.clone())
        .unwrap_or_else(|| "application/octet-stream".to_owned());
    let id = world.keep_media(Media {
        mime_type,
        bytes: Bytes::copy_from_slice(&file.body),
    });
    match id {
        Some(id) => Reply::json(200, &json!({ "id": id })),
        None => error(
            400,
            131_053,
            "Media upload error: the file is too large to be kept here",
        ),
    }
}

/// A file, or the number that a connection is about.
fn about(request: &Request, id: &str, world: &World) -> Reply {
    let Some(media) = world.media(id) else {
        return Reply::json(
            200,
            &json!({
                "id": id, "display_phone_number": "+1 555-000-0000", "verified_name": "Stand-in",
                "quality_rating": "GREEN", "code_verification_status": "VERIFIED", "platform_type": "CLOUD_API",
            }),
        );
    };
    let host = request.header("host").unwrap_or_default();
    Reply::json(
        200,
        &json!({
            "messaging_product": "whatsapp", "id": id, "url": format!("http://{host}/_media/{id}"),
            "mime_type": media.mime_type, "sha256": sha256(&media.bytes), "file_size": media.bytes.len(),
        }),
    )
}

fn error(status: u16, code: u32, message: &str) -> Reply {
    detailed(status, code, message, message)
}

fn detailed(status: u16, code: u32, title: &str, details: &str) -> Reply {
    let body = json!({ "error": {
        "message": format!("(#{code}) {title}"), "type": "OAuthException", "code": code,
        "error_data": { "messaging_product": "whatsapp", "details": details }, "fbtrace_id": "AstandinTrace",
    }});
    Reply::json(status, &body)
}

pub(super) fn problem(problem: Problem) -> Reply {
    match problem {
        // Meta sends no Retry-After; one that is asked for is added nevertheless.
        Problem::RateLimited { retry_after_s, bare } => {
            let mut reply = error(429, 130_429, "Rate limit hit");
            if !bare {
                let usage =
                    r#"{"0":[{"type":"whatsapp","call_count":100,"estimated_time_to_regain_access":1}]}"#;
                reply = reply.with("x-business-use-case-usage", usage);
            }
            match retry_after_s {
                Some(seconds) => reply.with("Retry-After", seconds.to_string()),
                None => reply,
            }
        }
        Problem::Broken => error(503, 131_016, "Service unavailable"),
        Problem::AuthFailure => error(401, 190, "Error validating access token"),
        Problem::InvalidInput | Problem::KeyReused | Problem::Concurrent => {
            error(400, 131_009, "Parameter value is not valid")
        }
        Problem::NoRecipient => error(400, 131_026, "Message undeliverable"),
        Problem::OptedOut => error(400, 131_050, "User has stopped marketing messages"),
    }
}
