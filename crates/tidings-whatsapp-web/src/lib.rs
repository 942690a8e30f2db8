//! The companion that types messages into WhatsApp Web: a browser session driven by WebDriver, in a process of its own.
//!
//! It knows no engine. Tidings speaks to it over HTTP in the words of [`tidings_providers::whatsapp_web::wire`]; see [`api`].
//! Three promises are kept here and nowhere else: a reference is typed once ([`ledger`]), two messages of the account keep
//! their distance ([`pace`]), and a message from a contact is handed over once, and kept until it is ([`outbox`]).
//!
//! What the page looks like is in [`page::selectors`] alone; how it is read and written to is in [`page`]; the protocol to the
//! browser is [`webdriver`].

pub mod api;
pub mod browser;
pub mod chromedriver;
pub mod companion;
pub mod courier;
pub mod journal;
pub mod ledger;
pub mod outbox;
pub mod pace;
pub mod page;
pub mod poster;
pub mod qr;
pub mod reader;
pub mod risk;
pub mod webdriver;

pub use companion::{BrowserOptions, Companion, CompanionError, Driver, Options, Webhook};
pub use risk::RISK;
