//! The queue on a real database, one per test.

#![expect(clippy::unwrap_used, reason = "tests")]

mod claiming;
mod contract;
mod ending;
mod guard;
mod lines;
mod races;
mod rescue;
mod schedules;
mod world;
