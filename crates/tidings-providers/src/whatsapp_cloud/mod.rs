//! WhatsApp Cloud API of Meta: text, approved templates and media out; statuses, messages, opt-outs and template reviews in.
//!
//! Meta has no idempotency key and no lookup by our reference, so a call that timed out stays unknown until a status
//! webhook, which echoes the reference (`biz_opaque_callback_data`), resolves it.

mod body;
mod errors;
mod messages;
mod reports;
mod send;
mod settings;
mod webhook;

pub use errors::{classify, classify_code};
pub use send::WhatsappCloudProvider;
pub use settings::{WhatsappCloudCredentials, WhatsappCloudSettings};
