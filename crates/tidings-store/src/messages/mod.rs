//! The path of a message in the database: facts in, messages, deliveries and attempts out.
//!
//! Every function takes a connection inside the caller's transaction, so that a message and its job, or an outcome and
//! the job's completion, are one commit. Batches go in and come out as arrays. Personal data comes sealed.

pub mod batches;
pub mod cancel;
pub mod contacts_by;
pub mod dispatch;
pub mod facts;
pub mod figures;
pub mod idempotency;
pub mod insert;
pub mod outcome;
pub mod pending;
pub mod published;
pub mod read;
pub mod record;
pub mod replay;
pub mod retention;
pub mod routes;
pub mod sandbox;
pub mod stickiness;
pub mod unknown;
pub(crate) mod words;
