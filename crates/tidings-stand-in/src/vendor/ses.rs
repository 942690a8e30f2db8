//! Amazon SES v2: `POST /v2/email/outbound-emails`, `GET /v2/email/account`, `GET /v2/email/suppression/addresses`.

use super::lists::{self, Suppressed};
use super::{Draft, Handled, Problem, Question, Vendor, bare_address, echo, is_email, sigv4, text};
use crate::chance::sha256;
use crate::http::{Reply, Request};
use crate::ledger::Copy;
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Recipients of a message.
const MOST_RECIPIENTS: usize = 50;
/// Headers of a simple message.
const MOST_HEADERS: usize = 15;
/// Characters of a header's name, and of its value.
const LONGEST_HEADER_NAME: usize = 126;
const LONGEST_HEADER: usize = 995;
/// Characters of a file's name.
const LONGEST_FILE_NAME: usize = 255;
/// Characters of a tag's name and value.
const LONGEST_TAG: usize = 256;
/// Bytes of a call.
const LARGEST: usize = 40 << 20;
/// Entries of a page of the list.
const MOST_OF_A_LIST: usize = 1_000;

pub(super) fn handle(request: &Request, world: &World) -> Handled {
    let account = match sigv4::check(request, world) {
        Ok(account) => account,
        Err((kind, message)) => return error(403, kind, &message).into(),
    };
    match (request.method.as_str(), request.segments().as_slice()) {
        ("POST", ["v2", "email", "outbound-emails"]) => send(request, account),
        ("GET", ["v2", "email", "account"]) => about_account(world, &account).into(),
        ("GET", ["v2", "email", "suppression", "addresses"]) => suppression(request, world, &account),
        (_, ["v2", "email", "outbound-emails" | "account"]) => {
            error(405, "MethodNotAllowedException", "Method not allowed").into()
        }
        _ => error(404, "UnknownOperationException", "The operation is not known").into(),
    }
}

fn send(request: &Request, account: String) -> Handled {
    if request.body.len() > LARGEST {
        return error(
            413,
            "RequestEntityTooLargeException",
            "Request size exceeded the limit.",
        )
        .into();
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return error(400, "SerializationException", "The request body is not JSON").into();
    };
    if let Err(message) = check(&body) {
        return error(400, "BadRequestException", &message).into();
    }
    let tag = |name: &str| {
        let mut tags = body["EmailTags"].as_array().into_iter().flatten();
        let found = tags.find(|tag| text(tag, "Name") == Some(name))?;
        text(found, "Value").map(echo::untag)
    };
    let (reference, message_id) = (tag(echo::REFERENCE), tag(echo::MESSAGE_ID));
    Handled::Take(Box::new(Draft {
        vendor: Vendor::Ses,
        account,
        copies: recipients(&body)
            .map(|to| Copy {
                reference: reference.clone(),
                message_id: message_id.clone(),
                recipient: bare_address(to).to_owned(),
            })
            .collect(),
        key: None,
        body_sha256: sha256(&request.body),
        about: about(&body),
        own_id: None,
        accepted: |taken| identified(Reply::json(200, &json!({ "MessageId": taken.id })), taken.id),
    }))
}

fn recipients(body: &Value) -> impl Iterator<Item = &str> {
    ["ToAddresses", "CcAddresses", "BccAddresses"]
        .into_iter()
        .filter_map(|kind| body["Destination"][kind].as_array())
        .flatten()
        .map(|to| to.as_str().unwrap_or_default())
}

fn about(body: &Value) -> Map<String, Value> {
    let mut about = Map::new();
    for (name, field) in [
        ("from", "FromEmailAddress"),
        ("tags", "EmailTags"),
        ("configuration_set", "ConfigurationSetName"),
    ] {
        if let Some(value) = body.get(field) {
            about.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(subject) = body.pointer("/Content/Simple/Subject/Data") {
        about.insert("subject".to_owned(), subject.clone());
    }
    about
}

fn check(body: &Value) -> Result<(), String> {
    let content = &body["Content"];
    let kinds = ["Simple", "Raw", "Template"];
    if kinds.iter().filter(|kind| content.get(**kind).is_some()).count() != 1 {
        return Err("Exactly one of Simple, Raw or Template must be set in Content".to_owned());
    }
    if content.get("Raw").is_none()
        && !text(body, "FromEmailAddress").is_some_and(|from| is_email(bare_address(from)))
    {
        return Err("Missing or illegal FromEmailAddress".to_owned());
    }
    let count = recipients(body).count();
    if count == 0 {
        return Err("Destination must have at least one recipient".to_owned());
    }
    if count > MOST_RECIPIENTS {
        return Err("Recipient count exceeds 50.".to_owned());
    }
    if recipients(body).any(|to| !is_email(bare_address(to))) {
        return Err("Illegal address".to_owned());
    }
    let plain = |part: Option<&str>| {
        part.is_some_and(|part| {
            part.len() <= LONGEST_TAG
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-.@".contains(&b))
        })
    };
    let mut tags = body["EmailTags"].as_array().into_iter().flatten();
    if tags.any(|tag| !plain(text(tag, "Name")) || !plain(text(tag, "Value"))) {
        return Err("Email tags may hold letters, digits, underscores and dashes, at most 256".to_owned());
    }
    if content.get("Simple").is_some() {
        simple(&content["Simple"])
    } else if content.get("Raw").is_some() {
        let data = text(&content["Raw"], "Data").unwrap_or_default();
        match STANDARD.decode(data) {
            Ok(mail) if !mail.is_empty() => Ok(()),
            _ => Err("Raw.Data must be a message in base64".to_owned()),
        }
    } else {
        Ok(())
    }
}

fn simple(simple: &Value) -> Result<(), String> {
    if simple.pointer("/Subject/Data").and_then(Value::as_str).is_none() {
        return Err("Simple.Subject.Data is required".to_owned());
    }
    let bodies = ["/Body/Text/Data", "/Body/Html/Data"];
    if !bodies
        .iter()
        .any(|path| simple.pointer(path).is_some_and(Value::is_string))
    {
        return Err("Simple.Body must have Text or Html".to_owned());
    }
    let headers: Vec<&Value> = simple["Headers"].as_array().into_iter().flatten().collect();
    if headers.len() > MOST_HEADERS {
        return Err("There may be at most 15 headers".to_owned());
    }
    let fine = |header: &&Value| {
        let within = |part: &str, most| (1..=most).contains(&part.len());
        text(header, "Name").is_some_and(|name| {
            within(name, LONGEST_HEADER_NAME) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
        }) && text(header, "Value").is_some_and(|value| {
            within(value, LONGEST_HEADER) && value.bytes().all(|b| matches!(b, b' '..=b'~'))
        })
    };
    if !headers.iter().all(fine) {
        return Err("A header has an illegal name or value".to_owned());
    }
    let mut files = simple["Attachments"].as_array().into_iter().flatten();
    let one_of = |file: &Value, name: &str, words: &[&str]| {
        file.get(name)
            .is_none_or(|word| words.iter().any(|known| word == known))
    };
    if !files.all(|file| {
        text(file, "FileName").is_some_and(|name| name.chars().count() <= LONGEST_FILE_NAME)
            && text(file, "RawContent").is_some_and(|data| STANDARD.decode(data).is_ok())
            && one_of(file, "ContentDisposition", &["ATTACHMENT", "INLINE"])
            && one_of(
                file,
                "ContentTransferEncoding",
                &["BASE64", "QUOTED_PRINTABLE", "SEVEN_BIT"],
            )
    }) {
        return Err(
            "An attachment needs FileName, RawContent in base64, and known words beside them".to_owned(),
        );
    }
    Ok(())
}

fn about_account(world: &World, account: &str) -> Reply {
    let sent = world.ledger.page(&crate::ledger::Query {
        vendor: Some(Vendor::Ses),
        ..Default::default()
    });
    let sent = sent.iter().filter(|entry| entry.account == account).count();
    identified(
        Reply::json(
            200,
            &json!({
                "DedicatedIpAutoWarmupEnabled": false, "EnforcementStatus": "HEALTHY",
                "ProductionAccessEnabled": true, "SendingEnabled": true,
                "SendQuota": { "Max24HourSend": 50_000.0, "MaxSendRate": 200.0, "SentLast24Hours": sent as f64 },
                "SuppressionAttributes": { "SuppressedReasons": ["BOUNCE", "COMPLAINT"] },
            }),
        ),
        account,
    )
}

/// A page of the account's list; its token is the place of the first entry.
fn suppression(request: &Request, world: &World, account: &str) -> Handled {
    let question = |reply| {
        Handled::Ask(Box::new(Question {
            vendor: Vendor::Ses,
            recipient: String::new(),
            about: "suppression".to_owned(),
            reply,
        }))
    };
    let bound = |name: &str| match request.query(name) {
        None => Ok(None),
        Some(text) => text.parse::<Timestamp>().map(Some),
    };
    let (Ok(from), Ok(to)) = (bound("StartDate"), bound("EndDate")) else {
        return question(error(400, "BadRequestException", "Invalid date"));
    };
    let number = |name: &str| request.query(name).map(|text| text.parse::<usize>()).transpose();
    let (Ok(first), Ok(size)) = (number("NextToken"), number("PageSize")) else {
        return question(error(400, "BadRequestException", "Invalid NextToken or PageSize"));
    };
    let (first, size) = (first.unwrap_or(0), size.unwrap_or(100).clamp(1, MOST_OF_A_LIST));
    let found: Vec<_> = lists::suppressed(world, Vendor::Ses, account)
        .into_iter()
        .filter(|(_, why, at)| {
            *why != Suppressed::Unsubscribed
                && from.is_none_or(|from| *at >= from)
                && to.is_none_or(|to| *at <= to)
        })
        .collect();
    let rows: Vec<Value> = found
        .iter()
        .skip(first)
        .take(size)
        .map(|(address, why, at)| {
            let reason = if *why == Suppressed::Complained { "COMPLAINT" } else { "BOUNCE" };
            json!({ "EmailAddress": address, "Reason": reason, "LastUpdateTime": at.as_millisecond() as f64 / 1_000.0 })
        })
        .collect();
    let next = (found.len() > first + size).then(|| (first + size).to_string());
    let mut page = json!({ "SuppressedDestinationSummaries": rows });
    // The last page has none; null would be no token either.
    if let Some(next) = next {
        page["NextToken"] = json!(next);
    }
    question(identified(Reply::json(200, &page), account))
}

fn identified(reply: Reply, about: &str) -> Reply {
    let hash = sha256(about.as_bytes());
    reply.with("x-amzn-RequestId", super::uuid_form(&hash[..32]))
}

fn error(status: u16, kind: &str, message: &str) -> Reply {
    let reply = Reply::json(status, &json!({ "message": message })).with("x-amzn-ErrorType", kind);
    identified(reply, message)
}

pub(super) fn problem(problem: Problem) -> Reply {
    match problem {
        // Amazon sends neither Retry-After nor rate headers; one that is asked for is added nevertheless.
        Problem::RateLimited { retry_after_s, .. } => {
            let reply = error(429, "TooManyRequestsException", "Maximum sending rate exceeded.");
            match retry_after_s {
                Some(seconds) => reply.with("Retry-After", seconds.to_string()),
                None => reply,
            }
        }
        Problem::Broken => error(503, "ServiceUnavailable", "The service is unavailable"),
        Problem::AuthFailure => error(
            403,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        Problem::InvalidInput | Problem::KeyReused | Problem::Concurrent => {
            error(400, "BadRequestException", "The request is wrong")
        }
        Problem::NoRecipient | Problem::OptedOut => {
            error(400, "MessageRejected", "Address is on the suppression list.")
        }
    }
}
