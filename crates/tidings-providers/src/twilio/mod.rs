//! Twilio's Messages API: SMS out, status callbacks and messages in.
//!
//! Twilio has no idempotency key and no lookup by our reference, so a call that timed out stays unknown until its
//! status callback, whose URL carries the reference, resolves it.

mod errors;
mod report;
mod send;
mod settings;
mod webhook;

pub use errors::{classify, classify_code};
pub use send::TwilioProvider;
pub use settings::{TwilioCredentials, TwilioSettings};
