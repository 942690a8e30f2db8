//! PagerDuty Events v2: `POST /v2/enqueue`. Idempotent by `dedup_key` at PagerDuty, so that each event is taken.

use super::{Draft, Handled, Problem, Vendor, text};
use crate::account::Caller;
use crate::chance::sha256;
use crate::http::{Reply, Request};
use crate::ledger::Copy;
use crate::world::World;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Bytes of an event.
const LARGEST: usize = 512 << 10;
const LONGEST_DEDUP_KEY: usize = 255;
const LONGEST_SUMMARY: usize = 1_024;

pub(super) fn handle(request: &Request, world: &World) -> Handled {
    if request.method != "POST" {
        return Reply::empty(405).into();
    }
    if request.body.len() > LARGEST {
        return Reply::empty(413).into();
    }
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return invalid(&["JSON parse error"]).into();
    };
    let wrong = check(&body);
    if !wrong.is_empty() {
        return invalid(&wrong).into();
    }
    let key = text(&body, "routing_key").unwrap_or_default();
    let Caller::Known(account) = world.accounts().by_api_key(Vendor::Pagerduty, key) else {
        return invalid(&["'routing_key' is invalid"]).into();
    };
    let dedup_key = text(&body, "dedup_key").map(str::to_owned);
    let mut about = Map::new();
    about.insert("event_action".to_owned(), body["event_action"].clone());
    if let Some(summary) = body.pointer("/payload/summary") {
        about.insert("summary".to_owned(), summary.clone());
    }
    Handled::Take(Box::new(Draft {
        vendor: Vendor::Pagerduty,
        account,
        copies: vec![Copy {
            // One incident is triggered and resolved under one key: the action tells the two apart.
            reference: dedup_key
                .as_ref()
                .map(|key| format!("{}:{key}", text(&body, "event_action").unwrap_or_default())),
            message_id: None,
            recipient: String::new(),
        }],
        key: None,
        body_sha256: sha256(&request.body),
        about,
        own_id: dedup_key,
        accepted: |taken| {
            Reply::json(
                202,
                &json!({ "status": "success", "message": "Event processed", "dedup_key": taken.id }),
            )
        },
    }))
}

fn check(body: &Value) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let mut want = |holds: bool, message| {
        if !holds {
            wrong.push(message);
        }
    };
    want(
        text(body, "routing_key")
            .is_some_and(|key| key.len() == 32 && key.bytes().all(|b| b.is_ascii_alphanumeric())),
        "'routing_key' is missing or blank",
    );
    let action = text(body, "event_action");
    want(
        action.is_some_and(|action| ["trigger", "acknowledge", "resolve"].contains(&action)),
        "'event_action' must be one of trigger, acknowledge, resolve",
    );
    let dedup_key = text(body, "dedup_key");
    want(
        dedup_key.is_none_or(|key| key.chars().count() <= LONGEST_DEDUP_KEY),
        "'dedup_key' is too long",
    );
    if action == Some("trigger") {
        let payload = &body["payload"];
        want(
            text(payload, "summary").is_some_and(|summary| summary.chars().count() <= LONGEST_SUMMARY),
            "'payload.summary' is missing, blank or too long",
        );
        want(
            text(payload, "source").is_some(),
            "'payload.source' is missing or blank",
        );
        want(
            text(payload, "severity")
                .is_some_and(|word| ["critical", "error", "warning", "info"].contains(&word)),
            "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')",
        );
        want(
            payload
                .get("timestamp")
                .is_none_or(|at| at.as_str().is_some_and(|at| at.parse::<Timestamp>().is_ok())),
            "'payload.timestamp' is not ISO 8601",
        );
    } else {
        want(dedup_key.is_some(), "'dedup_key' is missing or blank");
    }
    wrong
}

fn invalid(errors: &[&str]) -> Reply {
    Reply::json(
        400,
        &json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors }),
    )
}

pub(super) fn problem(problem: Problem) -> Reply {
    match problem {
        Problem::RateLimited { retry_after_s, .. } => {
            let reply = Reply::json(
                429,
                &json!({ "status": "throttle exceeded", "message": "Requests for this service are arriving too quickly." }),
            );
            match retry_after_s {
                Some(seconds) => reply.with("Retry-After", seconds.to_string()),
                None => reply,
            }
        }
        Problem::Broken => Reply::json(
            500,
            &json!({ "status": "error", "message": "Internal Server Error" }),
        ),
        Problem::AuthFailure => invalid(&["'routing_key' is invalid"]),
        Problem::InvalidInput
        | Problem::NoRecipient
        | Problem::OptedOut
        | Problem::Concurrent
        | Problem::KeyReused => invalid(&["'payload.summary' is missing or blank"]),
    }
}
