//! Resend: mail out under an idempotency key, signed webhooks and received mail in.
//!
//! The only mail API with an idempotency key: our reference is the key, so a call whose answer was lost is repeated
//! under it, and Resend takes it once. It keeps keys for 24 hours; after that a repetition would be a second mail.
//! It cannot be asked by our reference, only by its own id, which is what a lost answer would have told.

mod errors;
mod events;
mod received;
mod report;
mod send;
mod settings;
mod webhook;

pub use errors::classify;
pub(crate) use received::Received;
pub use send::ResendProvider;
pub use settings::{ResendCredentials, ResendSettings};
pub(crate) use webhook::read as read_webhook;
