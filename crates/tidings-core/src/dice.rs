//! Seeded randomness: jitter, probes and identifiers that a test can repeat.
//!
//! Not for secrets: tokens and keys come from the operating system, in the crates that make them.

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use uuid::Uuid;

/// A seeded source of randomness.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// The same seed gives the same throws.
    pub fn from_seed(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number in `0..bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.0.random_range(0..bound)
        }
    }

    /// A factor in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        self.0.random()
    }

    /// A UUID version 7 that carries `now`.
    pub fn uuid(&mut self, now: Timestamp) -> Uuid {
        let mut random = [0u8; 10];
        self.0.fill_bytes(&mut random);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}
