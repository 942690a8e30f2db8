//! Twilio: `POST /2010-04-01/Accounts/{sid}/Messages.json`, the list by `To` and `DateSent`, one message, the account.

use super::{Draft, Handled, Problem, Question, Vendor, is_e164};
use crate::chance::sha256;
use crate::http::{Reply, Request};
use crate::ledger::{Copy, Entry, Query};
use crate::webhook::{course, twilio};
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

/// Characters of a text.
const LONGEST_TEXT: usize = 1_600;
/// Files of a message.
const MOST_MEDIA: usize = 10;
/// Seconds a message may stay valid.
const LONGEST_VALIDITY: u32 = 36_000;
/// Messages of a page.
const PAGE: usize = 50;
const MOST_OF_A_PAGE: usize = 1_000;

/// Twilio's own magic numbers, as senders and as recipients.
const MAGIC_FROM: &[(&str, u32)] = &[
    ("+15005550001", 21212),
    ("+15005550007", 21606),
    ("+15005550008", 21611),
];
const MAGIC_TO: &[(&str, u32)] = &[
    ("+15005550001", 21211),
    ("+15005550002", 21612),
    ("+15005550003", 21408),
    ("+15005550004", 21610),
    ("+15005550009", 21614),
];

struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(key, _)| key == name).count()
    }
}

pub(super) fn handle(request: &Request, world: &World) -> Handled {
    let segments = request.segments();
    let ["2010-04-01", "Accounts", rest @ ..] = segments.as_slice() else {
        return error(404, 20404, "The requested resource was not found").into();
    };
    let account = rest
        .first()
        .copied()
        .unwrap_or_default()
        .trim_end_matches(".json");
    if rest.is_empty() || !is_sid(account, "AC") || !authorized(request, account, world) {
        return error(401, 20003, "Authenticate").into();
    }
    match (request.method.as_str(), &rest[1..]) {
        ("POST", ["Messages.json"]) => send(request, account),
        ("GET", ["Messages.json"]) => list(request, account, world).into(),
        ("GET", ["Messages", sid]) => one(sid.trim_end_matches(".json"), account, world),
        ("GET", []) => Reply::json(
            200,
            &json!({ "sid": account, "status": "active", "type": "Full", "friendly_name": "stand-in" }),
        )
        .into(),
        (_, ["Messages.json"] | ["Messages", _] | []) => error(405, 20004, "Method not allowed").into(),
        _ => error(404, 20404, "The requested resource was not found").into(),
    }
}

fn is_sid(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The account and its token, or any API key, whose secrets are not kept here.
fn authorized(request: &Request, account: &str, world: &World) -> bool {
    let decoded = request
        .header("authorization")
        .and_then(|header| header.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, text)| STANDARD.decode(text.trim()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
        return false;
    };
    let known = world.account(Vendor::Twilio, account);
    match known.as_ref().and_then(|known| known.secrets.auth_token.as_ref()) {
        _ if user.starts_with("SK") => !password.is_empty(),
        Some(token) => user == account && token.expose_secret() == password,
        None => user == account && !password.is_empty(),
    }
}

fn send(request: &Request, account: &str) -> Handled {
    if !request.is("application/x-www-form-urlencoded") {
        return error(
            415,
            20415,
            "Content-Type must be application/x-www-form-urlencoded",
        )
        .into();
    }
    let form = Form(form_urlencoded::parse(&request.body).into_owned().collect());
    if let Err((code, message)) = check(&form) {
        return error(400, code, &message).into();
    }
    let to = form.get("To").unwrap_or_default();
    let callback = form.get("StatusCallback").and_then(|text| Url::parse(text).ok());
    let reference = callback.and_then(|url| {
        let found = url.query_pairs().find(|(name, _)| name == "reference");
        found.map(|(_, value)| value.into_owned())
    });
    let mut about = Map::new();
    for name in [
        "To",
        "From",
        "MessagingServiceSid",
        "Body",
        "StatusCallback",
        "ContentSid",
    ] {
        if let Some(value) = form.get(name) {
            about.insert(name.to_owned(), value.into());
        }
    }
    about.insert("NumMedia".to_owned(), form.count("MediaUrl").to_string().into());
    Handled::Take(Box::new(Draft {
        vendor: Vendor::Twilio,
        account: account.to_owned(),
        copies: vec![Copy {
            reference,
            message_id: None,
            recipient: bare(to).to_owned(),
        }],
        key: None,
        body_sha256: sha256(&request.body),
        own_id: None,
        about,
        accepted: |taken| {
            let service = taken.draft.about.contains_key("MessagingServiceSid");
            let status = if service { "accepted" } else { "queued" };
            Reply::json(
                201,
                &resource(
                    taken.id,
                    &taken.draft.account,
                    &taken.draft.about,
                    status,
                    taken.now,
                ),
            )
        },
    }))
}

fn check(form: &Form) -> Result<(), (u32, String)> {
    let wrong = |code: u32, message: &str| Err((code, message.to_owned()));
    let Some(to) = form.get("To") else {
        return wrong(21604, "A 'To' phone number is required.");
    };
    let number = bare(to);
    if let Some((_, code)) = MAGIC_TO.iter().find(|(magic, _)| *magic == number) {
        return wrong(*code, "The 'To' phone number cannot be reached (magic number)");
    }
    if !is_e164(number) && !to.starts_with("messenger:") {
        return wrong(21211, "Invalid 'To' Phone Number");
    }
    let Some(from) = form.get("From").or_else(|| form.get("MessagingServiceSid")) else {
        return wrong(21603, "A 'From' phone number is required.");
    };
    if let Some((_, code)) = MAGIC_FROM.iter().find(|(magic, _)| *magic == bare(from)) {
        return wrong(*code, "The 'From' phone number cannot be used (magic number)");
    }
    if to.starts_with("whatsapp:") != from.starts_with("whatsapp:") && !from.starts_with("MG") {
        return wrong(
            21910,
            "Invalid From and To pair. From and To should be of the same channel",
        );
    }
    if form
        .get("MessagingServiceSid")
        .is_some_and(|sid| !is_sid(sid, "MG"))
    {
        return wrong(21701, "The Messaging Service does not exist");
    }
    let body = form.get("Body").unwrap_or_default();
    if body.is_empty() && form.count("MediaUrl") == 0 && form.get("ContentSid").is_none() {
        return wrong(21602, "Message body is required.");
    }
    if body.chars().count() > LONGEST_TEXT {
        return wrong(
            21617,
            "The concatenated message body exceeds the 1600 character limit",
        );
    }
    if form.count("MediaUrl") > MOST_MEDIA {
        return wrong(21623, "Number of media files exceeds allowed limit");
    }
    let callback_fine = |text: &str| {
        Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.contains('_'))
        })
    };
    if form
        .get("StatusCallback")
        .is_some_and(|text| !callback_fine(text))
    {
        return wrong(21609, "Invalid 'StatusCallback' URL");
    }
    let validity = form.get("ValidityPeriod").map(str::parse::<u32>);
    if validity.is_some_and(|seconds| !seconds.is_ok_and(|s| (1..=LONGEST_VALIDITY).contains(&s))) {
        return wrong(20001, "ValidityPeriod must be 1 to 36000");
    }
    Ok(())
}

/// Without the channel's prefix.
fn bare(address: &str) -> &str {
    address.split_once(':').map_or(address, |(_, rest)| rest)
}

fn resource(sid: &str, account: &str, about: &Map<String, Value>, status: &str, at: Timestamp) -> Value {
    let field = |name: &str| about.get(name).cloned().unwrap_or(Value::Null);
    let date = date(at);
    let segments = if about.contains_key("MessagingServiceSid") {
        "0"
    } else {
        "1"
    };
    json!({
        "sid": sid, "account_sid": account, "api_version": "2010-04-01", "body": field("Body"), "to": field("To"),
        "from": field("From"), "messaging_service_sid": field("MessagingServiceSid"), "status": status,
        "direction": "outbound-api", "num_media": field("NumMedia"), "num_segments": segments,
        "price": null, "price_unit": "USD", "error_code": null, "error_message": null,
        "date_created": date, "date_updated": date,
        "date_sent": if matches!(status, "queued" | "accepted") { Value::Null } else { date.into() },
        "uri": format!("/2010-04-01/Accounts/{account}/Messages/{sid}.json"),
        "subresource_uris": { "media": format!("/2010-04-01/Accounts/{account}/Messages/{sid}/Media.json") },
    })
}

/// A message as it stands by now.
fn entry_resource(entry: &Entry, world: &World) -> Value {
    let course = course(world, entry);
    let reached = course.iter().rev().find_map(|happened| {
        let (word, usual) = twilio::word(happened.event)?;
        let code = usual.map(|usual| happened.code.unwrap_or(usual));
        Some((word, code, happened.at))
    });
    let (word, code, at) = reached.unwrap_or(("sent", None, entry.at));
    let mut resource = resource(
        &entry.provider_id,
        &entry.account,
        entry.about.expose(),
        word,
        entry.at,
    );
    resource["error_code"] = json!(code);
    resource["date_updated"] = date(at).into();
    resource
}

fn date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// Newest first, by `To`, `From` and the day or the bounds of `DateSent`.
fn list(request: &Request, account: &str, world: &World) -> Reply {
    let size = request
        .query("PageSize")
        .and_then(|size| size.parse().ok())
        .unwrap_or(PAGE)
        .clamp(1, MOST_OF_A_PAGE);
    let page: usize = request
        .query("Page")
        .and_then(|page| page.parse().ok())
        .unwrap_or(0);
    let matches = |entry: &Entry| {
        let field = |name: &str| {
            request
                .query(name)
                .is_none_or(|wanted| entry.about(name) == Some(wanted.as_str()))
        };
        entry.account == account && field("To") && field("From") && sent_when(request, entry.at)
    };
    let mut found = world.all(
        &Query {
            vendor: Some(Vendor::Twilio),
            ..Query::default()
        },
        matches,
    );
    found.reverse();
    let more = found.len() > (page + 1) * size;
    let messages: Vec<Value> = found
        .iter()
        .skip(page * size)
        .take(size)
        .map(|entry| entry_resource(entry, world))
        .collect();
    let path = format!("/2010-04-01/Accounts/{account}/Messages.json");
    let at = |page: usize| format!("{path}?{}", with_page(&request.query, page, size));
    Reply::json(
        200,
        &json!({
            "messages": messages, "page": page, "page_size": size, "start": page * size,
            "end": (page * size + messages.len()).saturating_sub(1), "uri": at(page), "first_page_uri": at(0),
            "next_page_uri": more.then(|| at(page + 1)),
            "previous_page_uri": page.checked_sub(1).map(at),
        }),
    )
}

fn with_page(query: &str, page: usize, size: usize) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !matches!(name.as_ref(), "Page" | "PageSize" | "PageToken") {
            pairs.append_pair(&name, &value);
        }
    }
    pairs.append_pair("PageSize", &size.to_string());
    pairs.append_pair("Page", &page.to_string());
    pairs.finish()
}

/// `DateSent` is a day; `DateSent>` and `DateSent<` (as names, before the `=`) are bounds, of a day or an instant.
fn sent_when(request: &Request, at: Timestamp) -> bool {
    let day = at.to_zoned(TimeZone::UTC).date();
    let of_day = request
        .query("DateSent")
        .is_none_or(|text| text.get(..10) == Some(day.to_string().as_str()));
    let bound = |name: &str, holds: fn(&Timestamp, &Timestamp) -> bool, end: bool| {
        request.query(name).is_none_or(|text| match instant(&text, end) {
            Some(limit) => holds(&at, &limit),
            None => false,
        })
    };
    of_day && bound("DateSent>", Timestamp::ge, false) && bound("DateSent<", Timestamp::le, true)
}

fn instant(text: &str, end_of_day: bool) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let day: jiff::civil::Date = text.parse().ok()?;
    let at = if end_of_day {
        day.at(23, 59, 59, 999_999_999)
    } else {
        day.at(0, 0, 0, 0)
    };
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn one(sid: &str, account: &str, world: &World) -> Handled {
    let mine = |entry: &Entry| entry.account == account && entry.provider_id == sid;
    let found = world.find(
        &Query {
            vendor: Some(Vendor::Twilio),
            ..Query::default()
        },
        mine,
    );
    let (recipient, reply) = match found {
        Some(entry) => (
            entry.recipient.expose().clone(),
            Reply::json(200, &entry_resource(&entry, world)),
        ),
        None => (
            String::new(),
            error(404, 20404, "The requested resource was not found"),
        ),
    };
    Handled::Ask(Box::new(Question {
        vendor: Vendor::Twilio,
        recipient,
        about: sid.to_owned(),
        reply,
    }))
}

fn error(status: u16, code: u32, message: &str) -> Reply {
    let body = json!({
        "code": code, "message": message, "more_info": format!("https://www.twilio.com/docs/errors/{code}"), "status": status,
    });
    Reply::json(status, &body)
}

pub(super) fn problem(problem: Problem) -> Reply {
    match problem {
        // Twilio documents no rate headers; a Retry-After only where it is asked for.
        Problem::RateLimited { retry_after_s, .. } => {
            let reply = error(429, 20429, "Too Many Requests");
            match retry_after_s {
                Some(seconds) => reply.with("Retry-After", seconds.to_string()),
                None => reply,
            }
        }
        Problem::Broken => error(503, 20503, "Service is unavailable"),
        Problem::AuthFailure => error(401, 20003, "Authenticate"),
        Problem::InvalidInput | Problem::KeyReused | Problem::Concurrent => {
            error(400, 21602, "Message body is required.")
        }
        Problem::NoRecipient => error(400, 21614, "'To' number is not a valid mobile number"),
        Problem::OptedOut => error(400, 21610, "Attempt to send to unsubscribed recipient"),
    }
}
