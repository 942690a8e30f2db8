//! The sandbox's own protocol; see `tidings_providers::sandbox`. A reference is taken once.

use super::{Draft, Handled, Key, Problem, Vendor};
use crate::account::DEFAULT;
use crate::chance::sha256;
use crate::http::{Reply, Request};
use crate::ledger::Copy;
use crate::world::World;
use serde::Deserialize;
use serde_json::{Map, json};

#[derive(Deserialize)]
struct Accept {
    reference: String,
    message_id: String,
    to: String,
    channel: String,
}

pub(super) fn handle(request: &Request, world: &World) -> Handled {
    match (request.method.as_str(), request.segments().as_slice()) {
        ("POST", ["accept"]) => match serde_json::from_slice::<Accept>(&request.body) {
            Ok(accept) => Handled::Take(Box::new(draft(accept, &request.body))),
            Err(error) => refusal(422, "invalid", &error.to_string()).into(),
        },
        ("GET", ["lookup", reference]) => {
            let found = world
                .ledger
                .under_key(Vendor::Sandbox, DEFAULT, reference, world.now());
            match found {
                Some(entry) => Reply::json(200, &json!({ "id": entry.provider_id })).into(),
                None => refusal(404, "unknown", "no message came under this reference").into(),
            }
        }
        _ => refusal(405, "method", "POST /accept, GET /lookup/{reference}").into(),
    }
}

fn draft(accept: Accept, body: &[u8]) -> Draft {
    let mut about = Map::new();
    about.insert("channel".to_owned(), accept.channel.into());
    Draft {
        vendor: Vendor::Sandbox,
        account: DEFAULT.to_owned(),
        key: Some(Key {
            text: accept.reference.clone(),
            bound_to_body: false,
        }),
        copies: vec![Copy {
            reference: Some(accept.reference),
            message_id: Some(accept.message_id),
            recipient: accept.to,
        }],
        body_sha256: sha256(body),
        about,
        own_id: None,
        accepted: |taken| Reply::json(200, &json!({ "id": taken.id, "duplicate": taken.replay })),
    }
}

fn refusal(status: u16, code: &str, detail: &str) -> Reply {
    Reply::json(status, &json!({ "code": code, "detail": detail }))
}

pub(super) fn problem(problem: Problem) -> Reply {
    match problem {
        Problem::RateLimited { retry_after_s, .. } => {
            let reply = refusal(429, "rate_limited", "too many messages");
            match retry_after_s {
                Some(seconds) => reply.with("Retry-After", seconds.to_string()),
                None => reply,
            }
        }
        Problem::Broken => refusal(503, "unavailable", "try again later"),
        Problem::AuthFailure => refusal(401, "auth_failure", "the key is not known"),
        Problem::InvalidInput | Problem::KeyReused => refusal(422, "invalid", "the request is wrong"),
        Problem::NoRecipient => Reply::json(
            404,
            &json!({ "code": "no_recipient", "detail": "the recipient does not exist", "effect": "address_bad" }),
        ),
        Problem::OptedOut => Reply::json(
            409,
            &json!({ "code": "opted_out", "detail": "the recipient has opted out", "effect": "opted_out" }),
        ),
        Problem::Concurrent => refusal(503, "concurrent", "this reference is being taken"),
    }
}
