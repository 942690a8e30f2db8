//! The companion in a real browser, before a page that behaves as WhatsApp's does.
#![expect(clippy::unwrap_used, reason = "tests")]

mod arriving;
mod sending;
mod session;
mod world;
