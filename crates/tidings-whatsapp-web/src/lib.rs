//! The companion that types messages into WhatsApp Web: a browser session driven by WebDriver, in a process of its own.
//!
//! It knows no engine. Tidings speaks to it over HTTP in the words of [`tidings_providers::whatsapp_web::wire`]; see `api`.
//! Three promises are kept here and nowhere else: a reference is typed once (`ledger`), two messages of the account keep
//! their distance (`pace`), and a message from a contact is handed over once, and kept until it is (`outbox`).
//!
//! What the page looks like is in `page::selectors` alone; how it is read and written to is in `page`; the protocol to the
//! browser is `webdriver`.

mod api;
mod browser;
mod chromedriver;
mod companion;
mod courier;
mod journal;
mod last_message;
mod ledger;
mod outbox;
mod pace;
mod page;
mod poster;
pub mod qr;
mod reader;
mod risk;
mod webdriver;

pub use browser::{BrowserOptions, Driver};
pub use companion::{Companion, CompanionError, Options, Webhook};
pub use journal::JournalError;
pub use page::Limits;
pub use risk::RISK;
