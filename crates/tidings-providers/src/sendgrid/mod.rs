//! SendGrid v3: mail out, the signed event webhook and the signed inbound parse in.
//!
//! SendGrid has no idempotency key and no lookup by our reference; a call that timed out stays unknown until an
//! event, which echoes the reference in a custom argument, resolves it.

mod errors;
mod events;
mod inbound;
mod send;
mod settings;
mod suppressions;
mod webhook;

pub use errors::classify;
pub use send::SendgridProvider;
pub use settings::{Region, SendgridCredentials, SendgridSettings};
