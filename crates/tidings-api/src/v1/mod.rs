//! The operations under `/v1`, one file a group.

pub mod api_keys;
pub mod connections;
pub mod contacts;
pub mod dead_letters;
pub mod history;
pub mod messages;
pub mod queue;
pub mod sandbox;
pub mod suppressions;
pub mod templates;
pub mod tenants;
