//! SMTP: any server or relay, with pooled connections, STARTTLS or TLS, and DKIM.
//!
//! SMTP has no idempotency and no lookup. What is known of a call follows from where the dialogue ended: before the
//! final dot nothing was taken; between the dot and its reply nobody can know (RFC 1047).

mod compose;
mod dialogue;
pub mod dkim;
mod errors;
mod pool;
mod send;
mod settings;
pub mod verp;

pub(crate) use compose::unsigned_message;
pub use errors::{Stage, classify};
pub use send::SmtpProvider;
pub use settings::{DkimSettings, SmtpCredentials, SmtpSettings, TlsMode};
