//! WhatsApp Web: texts typed into a browser by a companion process (`tidings whatsapp-web serve`).
//!
//! This folder speaks to the companion over HTTP and knows no browser; [`wire`] is what both sides say. The companion takes
//! a reference once, remembers what became of it, keeps the pace of the account, and reports ticks and messages by webhook.
//! There is no service behind it that promises anything: see `docs/providers/whatsapp-web.md` for the risk.

mod errors;
mod send;
mod settings;
mod webhook;
pub mod wire;

pub use errors::classify;
pub use send::WhatsappWebProvider;
pub use settings::{WhatsappWebCredentials, WhatsappWebSettings};
