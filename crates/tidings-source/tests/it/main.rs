//! Reading tenants' databases, on every kind that is here.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod campaign;
mod cells;
mod faults;
mod foreign;
mod keys;
mod pages;
mod place;
mod schema;
