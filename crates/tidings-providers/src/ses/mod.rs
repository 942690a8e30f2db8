//! Amazon SES through the v2 API, signed here; reports through SNS.
//!
//! SES has no idempotency key and no lookup by our reference. A call that timed out stays unknown until an event,
//! which echoes our reference in a tag, resolves it; tags are echoed only where a configuration set publishes events.
//! The `Message-ID` that recipients see is Amazon's: SES replaces it.

mod content;
mod errors;
mod events;
mod send;
mod settings;
mod sns;
mod suppressions;

pub use errors::classify;
pub use send::SesProvider;
pub use settings::{SesCredentials, SesSettings};
pub(crate) use sns::read_notification;
