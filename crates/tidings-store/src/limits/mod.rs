//! Buckets of rate limits, shared by all nodes: in the database, or in a Redis. Which of both keeps them is one row of the
//! database ([`Keeper`]), so that no limit is counted in two places.

mod database;
mod keeper;
mod redis;

pub use database::{refused, take};
pub use keeper::{Handed, Keeper, hand_over, keeper, to_database, to_redis};
pub use redis::{Live, RedisBuckets, RedisFailure, RedisUrlError, Taken};
