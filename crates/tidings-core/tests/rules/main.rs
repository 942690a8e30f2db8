//! Tables and properties of the rules outside the decision.
#![expect(clippy::unwrap_used, reason = "tests")]

mod alert;
mod breaker;
mod delivery;
mod idempotency;
mod job;
mod keyword;
mod retry;
mod route;
mod sms;
mod soft_bounce;
mod status;
mod traffic;
mod unknown;

use jiff::Timestamp;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    at("2026-06-17T12:00:00Z")
}
