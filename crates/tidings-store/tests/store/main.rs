//! The store on a real database: every function, the catalogue, tenancy, sealing, and what goes wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

mod alert_figures;
mod alerts;
mod analytics;
mod api_keys;
mod campaigns;
mod catalogue;
mod connect;
mod connections;
mod consents;
mod contacts;
mod erasure;
mod isolation;
mod limits;
mod logs;
mod models;
mod scratch;
mod sealing;
mod suppressions;
mod templates;
mod tenants;
mod world;
