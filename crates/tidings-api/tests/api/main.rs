//! The API in process, on a real database: every operation, every refusal, and who may do what.
#![expect(clippy::unwrap_used, reason = "tests")]

mod alerts;
mod analytics;
mod authorisation;
mod bad_input;
mod campaigns;
mod contacts;
mod document;
mod keys;
mod messages;
mod pages;
mod public;
mod queue;
mod sandbox;
mod settings;
mod support;
