//! Buckets in a Redis: read, moved on by the rule of `tidings_core::limit`, and written if nobody wrote meanwhile. A Redis
//! that was started again, flushed or answers too late has lost them; whoever sees it says so, and the database takes over.

use super::keeper::Keeper;
use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use tidings_core::ConnectionId;
use tidings_core::limit::{Bucket, Lease, Pace, Wish};

/// How long an answer may take. Slots are taken half a second ahead, so a slower Redis is of no use.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Buckets that nobody asked for so long are full again: longer than the longest window.
const KEPT_MS: i64 = 49 * 3600 * 1000;

/// How often nodes may get in each other's way at one bucket before one of them asks later.
const ROUNDS: u32 = 5;

/// Writes a bucket if it still is what was read, and only while the mark of the epoch is there: -1 without it, 0 when another
/// node was faster.
const WRITE: &str = "
if redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
";

/// An address of a Redis that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a Redis; write it as redis://:PASSWORD@HOST:6379/0, or rediss:// for TLS")]
pub struct RedisUrlError;

/// Why a Redis cannot keep buckets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisFailure {
    /// It does not answer, or not in time.
    #[error("Redis does not answer: {0}")]
    Unreachable(String),
    /// It answers, and has not what was there.
    #[error("Redis has lost the buckets: {0}")]
    Lost(&'static str),
}

impl From<redis::RedisError> for RedisFailure {
    fn from(error: redis::RedisError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// A Redis that may keep buckets.
#[derive(Clone)]
pub struct RedisBuckets(Client);

impl fmt::Debug for RedisBuckets {
    /// The address may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RedisBuckets")
    }
}

/// What [`Live::take`] brought.
#[derive(Debug, Default)]
pub struct Taken {
    /// Slots by connection.
    pub leases: HashMap<ConnectionId, Lease>,
    /// Those whose buckets Redis does not have.
    pub missing: Vec<Wish>,
}

impl RedisBuckets {
    /// By its address; nothing is called yet.
    ///
    /// # Errors
    /// When it is no address.
    pub fn new(url: &SecretString) -> Result<Self, RedisUrlError> {
        // The error is left out: it may repeat the address, and that has a password.
        Client::open(url.expose_secret())
            .map(Self)
            .map_err(|_| RedisUrlError)
    }

    /// Connects. A connection that breaks stays broken, so that a Redis that was started again is noticed.
    ///
    /// # Errors
    /// When nobody answers in time, or somebody who is no Redis.
    pub async fn connect(&self) -> Result<Live, RedisFailure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let connecting = self.0.get_multiplexed_async_connection_with_config(&config);
        let mut conn = tokio::time::timeout(CONNECT_LIMIT, connecting)
            .await
            .map_err(|_| RedisFailure::Unreachable("no connection in time".to_owned()))??;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut conn).await?;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        let run = run.map(str::trim).filter(|run| !run.is_empty());
        match run {
            Some(run) => Ok(Live {
                conn,
                run: run.to_owned(),
            }),
            None => Err(RedisFailure::Unreachable(
                "it does not say which run it is".to_owned(),
            )),
        }
    }
}

/// A connection to one run of a Redis.
#[derive(Clone)]
pub struct Live {
    conn: MultiplexedConnection,
    run: String,
}

impl fmt::Debug for Live {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Live")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

impl Live {
    /// Which run it is.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Sets the mark of an epoch, before anybody is told that this Redis keeps the buckets.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn begin(&self, keeper: &Keeper) -> Result<(), RedisFailure> {
        let mut conn = self.conn.clone();
        let mut set = redis::cmd("SET");
        set.arg(mark(keeper)).arg(1).arg("PX").arg(KEPT_MS);
        let () = set.query_async(&mut conn).await?;
        Ok(())
    }

    /// Takes slots. `handed` are buckets that this Redis did not have when it was asked before. A connection at whose bucket
    /// too many nodes were at once is in neither list: ask later.
    ///
    /// # Errors
    /// When it does not answer or has lost what was there.
    pub async fn take(
        &self,
        keeper: &Keeper,
        wishes: &[Wish],
        handed: &HashMap<ConnectionId, Bucket>,
        now_us: i64,
    ) -> Result<Taken, RedisFailure> {
        let mut open = wishes.to_vec();
        let mut taken = Taken::default();
        for _ in 0..ROUNDS {
            if open.is_empty() {
                break;
            }
            let ids: Vec<ConnectionId> = open.iter().map(|wish| wish.connection).collect();
            let found = self.read(keeper, &ids).await?;
            let mut writes = Vec::with_capacity(open.len());
            for (wish, text) in open.iter().zip(found) {
                let known = text.as_deref().map(decode).transpose()?;
                let Some(mut bucket) = known.or_else(|| handed.get(&wish.connection).copied()) else {
                    taken.missing.push(*wish);
                    continue;
                };
                let lease = bucket.take(wish.pace, now_us, wish.want);
                writes.push((*wish, text.unwrap_or_default(), bucket, lease));
            }
            let written = writes
                .iter()
                .map(|(wish, before, bucket, _)| self.write(keeper, wish.connection, before, *bucket));
            let written = join_all(written).await;
            open.clear();
            for ((wish, _, _, lease), written) in writes.into_iter().zip(written) {
                if written? {
                    taken.leases.insert(wish.connection, lease);
                } else {
                    open.push(wish);
                }
            }
        }
        Ok(taken)
    }

    /// A provider said "too many". A bucket that is not there needs no word: the database hands over what it was told.
    ///
    /// # Errors
    /// When it does not answer or has lost what was there.
    pub async fn refused(
        &self,
        keeper: &Keeper,
        connection: ConnectionId,
        pace: Pace,
        now_us: i64,
        quiet_until_us: i64,
    ) -> Result<(), RedisFailure> {
        for _ in 0..ROUNDS {
            let found = self.read(keeper, &[connection]).await?;
            let Some(before) = found.into_iter().next().flatten() else {
                return Ok(());
            };
            let mut bucket = decode(&before)?;
            bucket.refused(pace, now_us, quiet_until_us);
            if self.write(keeper, connection, &before, bucket).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The buckets as they are written, in the order of the connections.
    async fn read(
        &self,
        keeper: &Keeper,
        connections: &[ConnectionId],
    ) -> Result<Vec<Option<String>>, RedisFailure> {
        let mut ask = redis::cmd("MGET");
        ask.arg(mark(keeper));
        for connection in connections {
            ask.arg(key(keeper, *connection));
        }
        let mut conn = self.conn.clone();
        let mut found: Vec<Option<String>> = ask.query_async(&mut conn).await?;
        if found.len() != connections.len() + 1 || found.remove(0).is_none() {
            return Err(RedisFailure::Lost("the mark of this epoch is gone"));
        }
        Ok(found)
    }

    /// False when another node was faster.
    async fn write(
        &self,
        keeper: &Keeper,
        connection: ConnectionId,
        before: &str,
        bucket: Bucket,
    ) -> Result<bool, RedisFailure> {
        let script = Script::new(WRITE);
        let mut call = script.key(key(keeper, connection));
        call.key(mark(keeper))
            .arg(before)
            .arg(encode(bucket))
            .arg(KEPT_MS);
        let mut conn = self.conn.clone();
        match call.invoke_async::<i64>(&mut conn).await? {
            1 => Ok(true),
            0 => Ok(false),
            _ => Err(RedisFailure::Lost("the mark of this epoch is gone")),
        }
    }
}

/// All keys of an installation lie in one slot of a cluster, for the braces.
fn mark(keeper: &Keeper) -> String {
    format!(
        "tidings:{{{}}}:rates:{}-{}",
        keeper.namespace, keeper.epoch, keeper.since_us
    )
}

fn key(keeper: &Keeper, connection: ConnectionId) -> String {
    format!("{}:{}", mark(keeper), connection.0)
}

fn encode(bucket: Bucket) -> String {
    let Bucket {
        next_us,
        factor,
        shrunk_us,
        paused_us,
    } = bucket;
    format!("{next_us} {factor} {shrunk_us} {paused_us}")
}

fn decode(text: &str) -> Result<Bucket, RedisFailure> {
    let mut numbers = text.split(' ').map(str::parse::<i64>);
    let mut next = || numbers.next()?.ok();
    let bucket = (|| {
        Some(Bucket {
            next_us: next()?,
            factor: next()?,
            shrunk_us: next()?,
            paused_us: next()?,
        })
    })();
    bucket.ok_or(RedisFailure::Lost("a bucket is not what was written"))
}

#[cfg(test)]
mod tests {
    use super::{Bucket, decode, encode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(next_us: i64, factor: i64, shrunk_us: i64, paused_us: i64) {
            let bucket = Bucket { next_us, factor, shrunk_us, paused_us };
            prop_assert_eq!(decode(&encode(bucket)), Ok(bucket));
        }
    }

    #[test]
    fn garbage_is_not_read() {
        for text in [
            "",
            "1 2 3",
            "1 2 3 x",
            "wrong",
            "1  2 3 4",
            "99999999999999999999 1 1 1",
        ] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
