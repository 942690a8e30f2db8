//! What comes back: webhooks, replies, links, pages; on a real database, with providers' own signatures.
#![expect(clippy::unwrap_used, reason = "tests")]

mod engagement;
mod hooks;
mod keeping;
mod late;
mod links;
mod mail;
mod mirroring;
mod preferences;
mod reconciling;
mod replies;
mod reports;
mod sandbox;
mod together;
mod unsubscribing;
mod whatsapp;
#[expect(dead_code, reason = "shared with the tests of the path")]
#[path = "../path/world.rs"]
mod world;
