//! What tests need and products do not: a fresh database for each test, a MariaDB, a Redis, a Postfix, a stand-in of AWS, a browser
//! and the phone behind its page, the vendors' own documents as judges, and clocks: one that stands still, and the machine's.
//!
//! Development only; no crate of the product depends on it except under `[dev-dependencies]`.

mod browser;
mod database;
pub mod documents;
mod file;
mod listening;
mod mariadb;
mod moto;
mod mysql;
pub mod phone;
mod postfix;
mod redis;
mod server;

pub use browser::{Browser, browser};
pub use database::{TestDatabase, database};
pub use file::{TemporaryFile, TemporaryFolder};
pub use moto::Moto;
pub use mysql::{MysqlDatabase, mysql_database, mysql_server};
pub use postfix::{Postfix, PostfixJob};
pub use redis::Redis;

use jiff::Timestamp;
use std::sync::Arc;
use tidings_core::clock::{Clock, FixedClock};

/// A clock that stands at 2026-06-16 15:00 UTC: a Tuesday within business hours from Los Angeles (08:00) to Berlin (17:00).
pub fn fixed_clock() -> Arc<FixedClock> {
    let tuesday = Timestamp::from_second(1_781_622_000).unwrap_or(Timestamp::UNIX_EPOCH);
    Arc::new(FixedClock::new(tuesday))
}

/// The machine's clock, for what works beside a process of ours that has no other.
#[derive(Clone, Copy, Debug)]
pub struct MachineClock;

impl Clock for MachineClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process beside it goes by the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::clock::Clock as _;

    #[test]
    fn the_clock_stands_on_the_documented_tuesday() {
        assert_eq!(super::fixed_clock().now().to_string(), "2026-06-16T15:00:00Z");
    }
}
