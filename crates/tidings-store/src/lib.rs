//! Everything Tidings keeps, on PostgreSQL: all SQL outside the queue, the migrations, row-level security and the sealing of
//! personal data.
//!
//! [`Store::connect`] opens two pools: the API's, whose role sees one tenant a transaction, and the workers', whose role sees
//! all because batches span tenants. [`Store::tenant`] is the only way to a tenant's tables for the API, so forgetting the
//! tenant does not compile. Functions that take a [`TenantTx`] act for one tenant; those that take a `&mut PgConnection` act
//! on a batch and want the workers' pool.

pub mod alerts;
pub mod analytics;
pub mod api_keys;
pub mod audit;
pub mod bound;
pub mod campaigns;
pub mod columns;
pub mod connections;
pub mod consents;
pub mod contacts;
pub mod db;
pub mod erasure;
pub mod error;
pub mod events;
pub mod export;
pub mod health;
pub mod limits;
mod listener;
mod mail_addresses;
pub mod messages;
pub mod models;
pub mod schema;
pub mod scratch;
pub mod seal;
pub mod sources;
pub mod statistics;
pub mod suppressions;
pub mod templates;
pub mod tenants;
pub mod tracking;
pub mod whatsapp;
mod worker_tx;

pub use columns::Page;
pub use db::{Store, StoreOptions, TenantStore, TenantTx};
pub use error::StoreError;
pub use listener::Listener;
pub use schema::MIGRATOR;
pub use seal::{BlindIndex, ContactKey, Keyring, MasterKey, Place, SealError, TenantKey, TokenKey};
pub use worker_tx::{Conn, WorkerConn, WorkerTx};

/// What functions of this crate return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
