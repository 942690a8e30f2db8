//! The stand-in's own interface: the ledger, faults, accounts, and writing as a customer.

use crate::account::Account;
use crate::door::Door;
use crate::fault::Rule;
use crate::http::{Reply, Request};
use crate::ledger::{Entry, Query};
use crate::vendor::Vendor;
use crate::webhook::{Inbound, inbound, make_signing_key};
use crate::world::World;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The longest time in which nobody listens.
const LONGEST_REFUSAL_MS: u64 = 600_000;

/// How long whoever writes as a customer waits for further tries; vendors go on for hours.
const INBOUND_PATIENCE: Duration = Duration::from_secs(10);

/// Both ways in. The one over HTTP is known only once it is open.
#[derive(Debug)]
pub(crate) struct Doors {
    pub http: OnceLock<Door>,
    pub smtp: OnceLock<Door>,
}

impl Doors {
    /// Shuts the vendor's door.
    pub(crate) async fn refuse(&self, vendor: Option<Vendor>, time: Duration) {
        let door = if vendor == Some(Vendor::Smtp) {
            &self.smtp
        } else {
            &self.http
        };
        if let Some(door) = door.get() {
            door.shut_for(time).await;
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    seed: Option<u64>,
    /// Nobody listens for so long.
    #[serde(default)]
    refuse_ms: u64,
    #[serde(default)]
    refuse_smtp_ms: u64,
}

/// Answers what is about the stand-in itself; nothing for calls to a vendor.
pub(crate) async fn handle(world: &Arc<World>, doors: &Doors, request: &Request) -> Option<Reply> {
    let path = request.segments();
    if !path
        .first()
        .is_some_and(|first| first.is_empty() || (first.starts_with('_') && *first != "_media"))
    {
        return None;
    }
    // Browsers name the page that makes them call; none has any business here.
    if request.header("origin").is_some() {
        return Some(error(403, "not for web pages"));
    }
    Some(match (request.method.as_str(), path.as_slice()) {
        ("GET", [""]) => overview(request),
        ("GET", ["_health"]) => Reply::json(200, &json!({ "status": "ok" })),
        ("GET", ["_ledger"]) => ledger(world, request),
        ("GET", ["_ledger", "summary"]) => Reply::json(200, &summary(world)),
        ("DELETE", ["_ledger"]) => match world.ledger.clear().await {
            Ok(()) => Reply::empty(204),
            Err(problem) => error(500, &problem.to_string()),
        },
        ("GET", ["_faults"]) => faults(world),
        ("PUT", ["_faults"]) => put_faults(world, doors, request).await,
        ("DELETE", ["_faults"]) => match world.rules().replace(Vec::new(), None) {
            Ok(()) => Reply::empty(204),
            Err(problem) => error(422, &problem),
        },
        ("PUT", ["_accounts", vendor, account]) => put_account(world, vendor, account, request),
        ("POST", ["_inbound", vendor, account]) => post_inbound(world, vendor, account, request).await,
        _ => error(
            404,
            "there are /_ledger, /_ledger/summary, /_faults, /_accounts/{vendor}/{account}, /_inbound/{vendor}/{account}, /_health",
        ),
    })
}

fn error(status: u16, detail: &str) -> Reply {
    Reply::json(status, &json!({ "error": detail }))
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Reply> {
    serde_json::from_slice(&request.body).map_err(|problem| error(422, &problem.to_string()))
}

fn vendor_of(name: &str) -> Result<Vendor, Reply> {
    Vendor::of_name(name).ok_or_else(|| {
        let names: Vec<&str> = Vendor::ALL.iter().map(|vendor| vendor.name()).collect();
        error(404, &format!("no such vendor; there are {}", names.join(", ")))
    })
}

fn overview(request: &Request) -> Reply {
    let host = request.header("host").unwrap_or("127.0.0.1");
    Reply::json(
        200,
        &json!({
            "settings": settings(&format!("http://{host}")),
            "ledger": "/_ledger", "summary": "/_ledger/summary", "faults": "/_faults",
        }),
    )
}

/// The setting that points at each vendor over HTTP, by the vendor's name.
pub(crate) fn settings(url: &str) -> Value {
    let all = Vendor::ALL.iter().filter_map(|vendor| {
        let (name, value) = vendor.setting(url)?;
        Some((vendor.name().to_owned(), json!({ name: value })))
    });
    Value::Object(all.collect())
}

fn ledger(world: &World, request: &Request) -> Reply {
    let vendor = match request.query("vendor").map(|name| vendor_of(&name)).transpose() {
        Ok(vendor) => vendor,
        Err(reply) => return reply,
    };
    let number = |name: &str| request.query(name).map(|text| text.parse::<u64>()).transpose();
    let (Ok(after), Ok(limit)) = (number("after"), number("limit")) else {
        return error(422, "after and limit must be numbers");
    };
    let query = Query {
        vendor,
        reference: request.query("reference"),
        after: after.unwrap_or(0),
        limit: limit.and_then(|limit| usize::try_from(limit).ok()),
    };
    let entries = world.ledger.entries(&query);
    // A page that is not the last may be short only where entries were filtered, and those were all looked at.
    let next = entries.last().map(|entry| entry.seq);
    let unmasked = request.query("unmasked").as_deref() == Some("true");
    let shown: Vec<Value> = entries.iter().map(|entry| show(entry, unmasked)).collect();
    Reply::json(200, &json!({ "entries": shown, "next": next }))
}

fn show(entry: &Entry, unmasked: bool) -> Value {
    let recipient = entry.recipient.expose();
    let mut shown = json!({
        "seq": entry.seq, "vendor": entry.vendor, "account": entry.account, "reference": entry.reference,
        "message_id": entry.message_id, "provider_id": entry.provider_id, "at": entry.at, "replay": entry.replay,
        "body_sha256": entry.body_sha256, "recipient": if unmasked { recipient.clone() } else { masked(recipient) },
    });
    if unmasked {
        shown["about"] = Value::Object(entry.about.expose().clone());
    }
    shown
}

/// `b***@example.com`, `+1***67`.
fn masked(recipient: &str) -> String {
    let characters: Vec<char> = recipient.chars().collect();
    let take = |range: &[char]| range.iter().collect::<String>();
    match recipient.rsplit_once('@') {
        Some((local, domain)) => format!("{}***@{domain}", take(&local.chars().take(1).collect::<Vec<_>>())),
        None if characters.len() > 6 => format!(
            "{}***{}",
            take(&characters[..2]),
            take(&characters[characters.len() - 2..])
        ),
        None => "***".repeat(usize::from(!characters.is_empty())),
    }
}

/// The count of everything.
pub(crate) fn summary(world: &World) -> Value {
    let mut summary = json!(world.ledger.summary());
    summary["in_flight"] = json!(world.in_flight());
    summary["webhooks"] = json!(*world.outbox.reported().borrow());
    summary
}

fn faults(world: &World) -> Reply {
    Reply::json(200, &json!({ "rules": world.rules().list() }))
}

async fn put_faults(world: &Arc<World>, doors: &Doors, request: &Request) -> Reply {
    let faults: Faults = match read(request) {
        Ok(faults) => faults,
        Err(reply) => return reply,
    };
    if faults.refuse_ms.max(faults.refuse_smtp_ms) > LONGEST_REFUSAL_MS {
        return error(422, &format!("refuse_ms must be at most {LONGEST_REFUSAL_MS}"));
    }
    if let Err(problem) = world.rules().replace(faults.rules, faults.seed) {
        return error(422, &problem);
    }
    for (vendor, time) in [
        (Some(Vendor::Smtp), faults.refuse_smtp_ms),
        (None, faults.refuse_ms),
    ] {
        if time > 0 {
            doors.refuse(vendor, Duration::from_millis(time)).await;
        }
    }
    self::faults(world)
}

fn put_account(world: &World, vendor: &str, name: &str, request: &Request) -> Reply {
    let put = || {
        let vendor = vendor_of(vendor)?;
        let account: Account = read(request)?;
        set_account(world, vendor, name, account).map_err(|problem| error(422, &problem))
    };
    match put() {
        Ok(told) => Reply::json(200, &told),
        Err(reply) => reply,
    }
}

/// Sets an account up; tells what the other side must know of it.
pub(crate) fn set_account(
    world: &World,
    vendor: Vendor,
    name: &str,
    mut account: Account,
) -> Result<Value, String> {
    let mut told = json!({ "vendor": vendor, "account": name });
    if vendor == Vendor::Sendgrid {
        let given = account
            .secrets
            .signing_key
            .as_ref()
            .map(ExposeSecret::expose_secret);
        let (private, public) = make_signing_key(given)?;
        account.secrets.signing_key = Some(private);
        told["webhook_public_key"] = json!(public);
    }
    world.accounts().put(vendor, name, account)?;
    Ok(told)
}

async fn post_inbound(world: &World, vendor: &str, name: &str, request: &Request) -> Reply {
    let (vendor, message): (Vendor, Inbound) =
        match vendor_of(vendor).and_then(|vendor| Ok((vendor, read(request)?))) {
            Ok(read) => read,
            Err(reply) => return reply,
        };
    match write_as_customer(world, vendor, name, &message).await {
        Ok(told) => Reply::json(200, &told),
        Err(problem) => error(422, &problem),
    }
}

/// Brings a customer's message to the account, and tells how that went.
pub(crate) async fn write_as_customer(
    world: &World,
    vendor: Vendor,
    name: &str,
    message: &Inbound,
) -> Result<Value, String> {
    let account = world
        .account(vendor, name)
        .ok_or("the account is not set up: PUT /_accounts/{vendor}/{account} with its webhook_url")?;
    let id = message.id.clone().unwrap_or_else(|| world.make_id(vendor));
    let request = inbound(vendor, name, &account, message, &id, world.now())
        .ok_or("this vendor brings no messages, or the account has no webhook_url")?;
    let tried = world
        .outbox
        .deliver(world, vendor, &account, &request, INBOUND_PATIENCE)
        .await;
    Ok(json!({
        "id": id, "tries": tried.tries, "status": tried.status, "tries_left": tried.tries_left,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_masked() {
        assert_eq!(masked("bob@example.com"), "b***@example.com");
        assert_eq!(masked("+14155552671"), "+1***71");
        assert_eq!(masked("12345"), "***");
        assert_eq!(masked(""), "");
    }
}
