//! Slack incoming webhooks: `POST /services/T.../B.../...`; the account is the three parts of the path.

use super::{Draft, Handled, Problem, Vendor, text};
use crate::chance::sha256;
use crate::http::{Reply, Request};
use crate::ledger::Copy;
use crate::world::World;
use serde_json::{Map, Value};
use url::form_urlencoded;

/// Characters of a text; Slack cuts beyond, which a sender should know.
const LONGEST_TEXT: usize = 40_000;
const MOST_BLOCKS: usize = 50;
const MOST_ATTACHMENTS: usize = 100;

pub(super) fn handle(request: &Request, _world: &World) -> Handled {
    let ["services", team, hook, token] = request.segments()[..] else {
        return said(404, "no_service").into();
    };
    if request.method != "POST" {
        return said(405, "invalid_method").into();
    }
    if !team.starts_with('T') {
        return said(404, "no_team").into();
    }
    if !hook.starts_with('B') {
        return said(404, "no_service_id").into();
    }
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return said(403, "invalid_token").into();
    }
    let body = match body_of(request) {
        Ok(body) => body,
        Err(reply) => return reply.into(),
    };
    let list = |name: &str| body[name].as_array().map_or(0, Vec::len);
    if list("attachments") > MOST_ATTACHMENTS {
        return said(400, "too_many_attachments").into();
    }
    if list("blocks") > MOST_BLOCKS || body.get("blocks").is_some_and(|blocks| !blocks.is_array()) {
        return said(400, "invalid_blocks").into();
    }
    match text(&body, "text") {
        None if list("blocks") == 0 && list("attachments") == 0 => return said(400, "no_text").into(),
        Some(text) if text.chars().count() > LONGEST_TEXT => return said(400, "msg_too_long").into(),
        _ => {}
    }
    let mut about = Map::new();
    if let Some(text) = body.get("text") {
        about.insert("text".to_owned(), text.clone());
    }
    Handled::Take(Box::new(Draft {
        vendor: Vendor::Slack,
        account: format!("{team}/{hook}"),
        copies: vec![Copy::default()],
        key: None,
        body_sha256: sha256(&request.body),
        about,
        own_id: None,
        accepted: |_| said(200, "ok"),
    }))
}

/// JSON, or the older form with a field `payload`.
fn body_of(request: &Request) -> Result<Value, Reply> {
    let json = if request.is("application/x-www-form-urlencoded") {
        form_urlencoded::parse(&request.body)
            .find(|(name, _)| name == "payload")
            .map(|(_, value)| value.into_owned().into_bytes())
            .unwrap_or_default()
    } else {
        request.body.to_vec()
    };
    serde_json::from_slice::<Value>(&json)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| said(400, "invalid_payload"))
}

fn said(status: u16, word: &str) -> Reply {
    Reply::of(status, "text/html", word)
}

pub(super) fn problem(problem: Problem) -> Reply {
    match problem {
        Problem::RateLimited { retry_after_s, .. } => {
            let reply = said(429, "rate_limited");
            match retry_after_s {
                Some(seconds) => reply.with("Retry-After", seconds.to_string()),
                None => reply,
            }
        }
        Problem::Broken => said(500, "rollup_error"),
        Problem::AuthFailure => said(403, "invalid_token"),
        Problem::NoRecipient | Problem::OptedOut => said(404, "channel_not_found"),
        Problem::InvalidInput | Problem::Concurrent | Problem::KeyReused => said(400, "invalid_payload"),
    }
}
